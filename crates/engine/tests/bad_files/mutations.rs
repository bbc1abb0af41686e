//! Some thousand damaged copies of sound models: opening one succeeds or fails, and does nothing worse.

use std::fs;
use std::path::Path;

use super::random::Random;
use super::{cases, outcome};

/// Numbers that lengths, counts and offsets go wrong at.
const EDGES: [u64; 14] = [
    0,
    1,
    7,
    31,
    32,
    255,
    0xffff,
    1 << 20,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 40,
    (1 << 61) - 1,
    i64::MAX as u64,
    u64::MAX,
];

/// Damages a copy in one to three places.
fn mutate(sound: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = sound.to_vec();
    for _ in 0..1 + random.below(3) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len());
        match random.below(7) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes.truncate(at),
            3 => overwrite(&mut bytes, at, &random.pick(&EDGES).to_le_bytes()),
            4 => overwrite(&mut bytes, at, &(random.pick(&EDGES) as u32).to_le_bytes()),
            5 => {
                let end = (at + random.below(40)).min(bytes.len());
                bytes.drain(at..end);
            }
            _ => {
                let from = random.below(bytes.len());
                let piece = bytes[from..(from + random.below(40)).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    let n = with.len().min(bytes.len() - at);
    bytes[at..at + n].copy_from_slice(&with[..n]);
}

/// Opens `n` copies of the model `entry`, of which each has one damaged file out of `files`.
fn replay(entry: &str, files: &[&str], n: usize) {
    let folder = tempfile::tempdir().unwrap();
    let sound: Vec<_> = cases::sound()
        .into_iter()
        .filter(|(name, _)| name.starts_with(entry) || files.contains(&&name[..]))
        .collect();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // ext4 waits for the disk when a file is overwritten, but not when it is made anew.
        let _ = fs::remove_file(&path);
        fs::write(path, bytes).unwrap();
    };
    sound.iter().for_each(|(name, bytes)| write(name, bytes));
    let mut n_refused = 0;
    for seed in 0..n as u64 {
        let mut random = Random(seed);
        let damaged = files[random.below(files.len())];
        let (_, bytes) = sound.iter().find(|(name, _)| name == damaged).unwrap();
        write(damaged, &mutate(bytes, &mut random));
        let opened = std::panic::catch_unwind(|| outcome(&folder.path().join(entry)));
        let opened = opened.unwrap_or_else(|_| panic!("{damaged} damaged with seed {seed}"));
        n_refused += usize::from(!opened.starts_with("opened"));
        write(damaged, bytes);
    }
    // Damage that changes nothing but a weight or a name is not seen; most is.
    assert!(n_refused > n / 3 && n_refused < n, "{n_refused} of {n} refused");
}

#[test]
fn damaged_gguf_files() {
    replay("small.gguf", &["small.gguf"], 4000);
}

#[test]
fn damaged_split_gguf_files() {
    replay("split-00001-of-00002.gguf", &["split-00001-of-00002.gguf", "split-00002-of-00002.gguf"], 1000);
}

#[test]
fn damaged_safetensors_files() {
    replay("single", &["single/model.safetensors", "single/config.json"], 2000);
}

#[test]
fn damaged_shards() {
    let files = ["shards/model.safetensors.index.json", "shards/a.safetensors", "shards/b.safetensors"];
    replay("shards", &files, 1000);
}

/// A file that says it is large, with counts to match: what a header may take is limited too.
#[test]
fn a_large_sparse_file_with_absurd_counts() {
    let folder = tempfile::tempdir().unwrap();
    let header = |n_tensors: u64, n_keys: u64| {
        [b"GGUF\x03\x00\x00\x00".as_slice(), &n_tensors.to_le_bytes(), &n_keys.to_le_bytes()].concat()
    };
    let array = |element_type: u8, len: u64| {
        let key = [1, 0, 0, 0, 0, 0, 0, 0, b'k', 9, 0, 0, 0, element_type, 0, 0, 0];
        [&header(0, 1)[..], &key, &len.to_le_bytes()].concat()
    };
    let files = [
        ("tensors", header(1 << 31, 0)),
        ("keys", header(0, 1 << 31)),
        ("more_tensors_than_the_limit", header(1 << 20, 0)),
        ("more_keys_than_the_limit", header(0, 1 << 20)),
        ("bytes", array(0, 1 << 34)),
        ("numbers", array(10, 1 << 31)),
        ("strings", array(8, 1 << 31)),
    ];
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        extend(&path, 1 << 33);
        let outcome = outcome(&path);
        assert!(outcome.contains("at most"), "{name}: {outcome}");
    }
}

#[test]
fn large_sparse_files_in_a_folder() {
    let header_len = [&(1u64 << 30).to_le_bytes()[..], b"{"].concat();
    for (name, start) in
        [("config.json", &b"{"[..]), ("model.safetensors", &header_len), ("tokenizer.json", b"{")]
    {
        let folder = tempfile::tempdir().unwrap();
        for (file, bytes) in cases::sound() {
            if let Some(file) = file.strip_prefix("single/") {
                fs::write(folder.path().join(file), bytes).unwrap();
            }
        }
        let path = folder.path().join(name);
        fs::write(&path, start).unwrap();
        extend(&path, 1 << 33);
        let outcome = outcome(folder.path());
        assert!(outcome.contains(name) && outcome.contains("at most"), "{name}: {outcome}");
    }
}

/// Makes a file this long without writing: it takes no disk.
fn extend(path: &Path, len: u64) {
    fs::File::options().write(true).open(path).unwrap().set_len(len).unwrap();
}
