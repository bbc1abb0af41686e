//! GPT-2's printable alphabet for bytes, in which byte-level BPE vocabularies are written.
//!
//! A byte that is a printable character of Latin-1 stands for itself; the other 68 are moved to U+0100 and up, in
//! order (`Ġ` is the space, `Ċ` the newline). Source: `bytes_to_unicode` in GPT-2's encoder.py.

use std::sync::LazyLock;

/// U+0100 + 68: one beyond the last letter of the alphabet.
const ALPHABET_END: usize = 0x144;

static BYTE_OF_CHAR: LazyLock<[Option<u8>; ALPHABET_END]> = LazyLock::new(|| {
    let mut table = [None; ALPHABET_END];
    let mut next_moved = 0x100;
    for byte in 0..=255u8 {
        let shown = matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
        if shown {
            table[byte as usize] = Some(byte);
        } else {
            table[next_moved] = Some(byte);
            next_moved += 1;
        }
    }
    table
});

/// The bytes that a token of a byte-level vocabulary stands for. A character outside the alphabet (there is none in
/// a well-formed vocabulary) stands for its own UTF-8.
pub(super) fn decode(token: &str, out: &mut Vec<u8>) {
    for c in token.chars() {
        match BYTE_OF_CHAR.get(c as usize).copied().flatten() {
            Some(byte) => out.push(byte),
            None => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}
