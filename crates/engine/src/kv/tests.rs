//! The books of pages: sharing, copy-on-write, windows, running out.

use super::*;
use limpid_kernels::ops::KvFormat;
use proptest::prelude::*;

const PAGE: usize = PAGE_LEN;

fn cache(windows: &[Option<u32>], n_pages: usize) -> KvCache {
    let shape = KvShape { n_layers: 1, n_kv_heads: 1, head_dim: 1, format: KvFormat::F32 };
    let group = |(i, &window)| KvGroupLayout { shape, layers: vec![i], window };
    let layout = KvLayout { groups: windows.iter().enumerate().map(group).collect() };
    KvCache::new(layout, n_pages).unwrap()
}

fn n_used(kv: &KvCache) -> usize {
    kv.stats().n_used_pages
}

#[test]
fn pages_are_taken_as_needed_and_given_back() {
    let mut kv = cache(&[None, None], 4);
    let seq = kv.create(4 * PAGE);
    kv.extend(seq, 1).unwrap();
    assert_eq!(n_used(&kv), 2, "one page in each group");
    kv.extend(seq, PAGE - 1).unwrap();
    assert_eq!(n_used(&kv), 2);
    kv.extend(seq, 1).unwrap();
    assert_eq!((n_used(&kv), kv.len(seq)), (4, PAGE + 1));
    kv.truncate(seq, PAGE);
    assert_eq!(n_used(&kv), 2);
    kv.release(seq);
    assert_eq!(n_used(&kv), 0);
    kv.check_integrity().unwrap();
}

#[test]
fn every_position_has_its_own_slot() {
    let mut kv = cache(&[None], 4);
    let seq = kv.create(3 * PAGE);
    kv.extend(seq, 3 * PAGE).unwrap();
    for position in 0..3 * PAGE {
        let page = kv.page_table(seq, 0)[position / PAGE];
        assert_eq!(kv.slot(seq, 0, position), KvSlot { page, offset: (position % PAGE) as u32 });
    }
}

#[test]
fn used_pages_are_taken_again_before_fresh_ones() {
    let mut kv = cache(&[None], 8);
    for _ in 0..5 {
        let seq = kv.create(2 * PAGE);
        kv.extend(seq, 2 * PAGE).unwrap();
        kv.release(seq);
    }
    let stats = kv.stats();
    assert_eq!(stats.touched_bytes, stats.reserved_bytes / 4, "2 of 8 pages");
    assert_eq!((stats.n_pages, stats.n_used_pages, stats.used_bytes), (8, 0, 0));
}

#[test]
fn a_fork_shares_pages_and_copies_the_one_it_writes_into() {
    let mut kv = cache(&[None], 8);
    let first = kv.create(4 * PAGE);
    kv.extend(first, PAGE + 3).unwrap();
    let shared = kv.page_table(first, 0).to_vec();
    let second = kv.fork(first, 4 * PAGE);
    assert_eq!((n_used(&kv), kv.len(second)), (2, PAGE + 3));
    assert_eq!(kv.page_table(second, 0), shared);

    kv.extend(second, 1).unwrap();
    assert_eq!(n_used(&kv), 3, "the last page was copied");
    assert_eq!(kv.page_table(first, 0), shared, "the other sequence keeps its own");
    assert_eq!(kv.page_table(second, 0)[0], shared[0]);
    assert_ne!(kv.page_table(second, 0)[1], shared[1]);

    kv.extend(first, 1).unwrap();
    assert_eq!(
        (n_used(&kv), kv.page_table(first, 0)),
        (3, &shared[..]),
        "nobody shares it any more: no copy"
    );
    kv.check_integrity().unwrap();
    kv.release(first);
    assert_eq!(n_used(&kv), 2);
    kv.release(second);
    assert_eq!(n_used(&kv), 0);
}

#[test]
fn a_full_shared_page_is_not_copied() {
    let mut kv = cache(&[None], 8);
    let first = kv.create(2 * PAGE);
    kv.extend(first, PAGE).unwrap();
    let second = kv.fork(first, 2 * PAGE);
    kv.extend(first, 1).unwrap();
    kv.extend(second, 1).unwrap();
    assert_eq!(n_used(&kv), 3);
    assert_eq!(kv.page_table(first, 0)[0], kv.page_table(second, 0)[0]);
}

#[test]
fn out_of_pages_changes_nothing() {
    // The first group has a window and pages to give back, the second one has not enough: both stay as they are.
    let mut kv = cache(&[Some(1), None], 3);
    let seq = kv.create(8 * PAGE);
    kv.extend(seq, 2 * PAGE).unwrap();
    let tables = [kv.page_table(seq, 0).to_vec(), kv.page_table(seq, 1).to_vec()];
    let error = kv.extend(seq, 2 * PAGE).unwrap_err();
    assert_eq!(error, OutOfPages { group: 1, n_needed: 2, n_available: 1 });
    assert_eq!(tables, [kv.page_table(seq, 0), kv.page_table(seq, 1)]);
    assert_eq!(kv.len(seq), 2 * PAGE);
    kv.check_integrity().unwrap();
    kv.extend(seq, PAGE).unwrap();
}

#[test]
fn the_copy_counts_as_a_needed_page() {
    let mut kv = cache(&[None], 1);
    let first = kv.create(PAGE);
    kv.extend(first, 1).unwrap();
    let second = kv.fork(first, PAGE);
    assert_eq!(kv.extend(second, 1), Err(OutOfPages { group: 0, n_needed: 1, n_available: 0 }));
    kv.release(first);
    kv.extend(second, 1).unwrap();
}

#[test]
fn a_window_gives_back_the_pages_that_no_later_row_reads() {
    let window = 10;
    let mut kv = cache(&[Some(window as u32)], 8);
    let seq = kv.create(8 * PAGE);
    kv.extend(seq, 3 * PAGE).unwrap();
    assert_eq!(n_used(&kv), 3, "its own rows still read all of them");
    // The next row, at position 3 * PAGE, reads from 3 * PAGE - 9 on: the third page and the new one.
    kv.extend(seq, 1).unwrap();
    assert_eq!(kv.page_table(seq, 0)[..2], [NO_PAGE, NO_PAGE]);
    assert_eq!(n_used(&kv), 2);
    // The row at 3 * PAGE + 8 is the last to read position 3 * PAGE - 1.
    kv.extend(seq, window - 2).unwrap();
    assert_eq!(n_used(&kv), 2);
    kv.extend(seq, 1).unwrap();
    assert_eq!(n_used(&kv), 1);
    kv.check_integrity().unwrap();
}

#[test]
fn drafts_in_a_window_can_be_taken_back() {
    let mut kv = cache(&[Some(1)], 8);
    let seq = kv.create(8 * PAGE);
    kv.extend(seq, PAGE).unwrap();
    kv.extend(seq, 3 * PAGE).unwrap();
    kv.truncate(seq, PAGE + 1);
    kv.extend(seq, 1).unwrap();
    kv.check_integrity().unwrap();
}

#[test]
#[should_panic(expected = "cannot shorten a sequence to 3 positions")]
fn what_a_window_gave_back_cannot_be_had_again() {
    let mut kv = cache(&[Some(1)], 8);
    let seq = kv.create(8 * PAGE);
    kv.extend(seq, 2 * PAGE).unwrap();
    kv.extend(seq, 1).unwrap();
    kv.truncate(seq, 3);
}

#[test]
fn integrity_finds_a_wrong_count() {
    let mut kv = cache(&[None], 4);
    let first = kv.create(PAGE);
    kv.extend(first, 1).unwrap();
    kv.fork(first, PAGE);
    kv.lens[0] = None;
    assert!(kv.check_integrity().unwrap_err().contains("slot 0"));
}

#[derive(Clone, Debug)]
enum Op {
    Create,
    Fork(usize),
    Extend(usize, usize),
    Truncate(usize, usize),
    Release(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let seq = 0..8_usize;
    prop_oneof![
        1 => Just(Op::Create),
        2 => seq.clone().prop_map(Op::Fork),
        6 => (seq.clone(), 0..3 * PAGE).prop_map(|(seq, n)| Op::Extend(seq, n)),
        2 => (seq.clone(), 0..3 * PAGE).prop_map(|(seq, n)| Op::Truncate(seq, n)),
        2 => seq.prop_map(Op::Release),
    ]
}

/// Does `op` to the cache and to `lens`, the sequences as they should be.
fn apply(kv: &mut KvCache, live: &mut Vec<(SeqId, usize)>, op: &Op) {
    let pick = |seq: usize| if live.is_empty() { None } else { Some(seq % live.len()) };
    match *op {
        Op::Create => live.push((kv.create(4 * PAGE), 0)),
        Op::Fork(seq) => {
            if let Some(i) = pick(seq) {
                live.push((kv.fork(live[i].0, 4 * PAGE), live[i].1));
            }
        }
        Op::Extend(seq, n) => {
            if let Some(i) = pick(seq)
                && kv.extend(live[i].0, n).is_ok()
            {
                live[i].1 += n;
            }
        }
        Op::Truncate(seq, len) => {
            if let Some(i) = pick(seq) {
                live[i].1 = live[i].1.min(len);
                kv.truncate(live[i].0, live[i].1);
            }
        }
        Op::Release(seq) => {
            if let Some(i) = pick(seq) {
                kv.release(live.swap_remove(i).0);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_history_keeps_the_books(ops in proptest::collection::vec(op(), 1..60), n_pages in 1..20_usize) {
        // No windows: any truncation is allowed.
        let mut kv = cache(&[None, None], n_pages);
        let mut live = Vec::new();
        for op in &ops {
            apply(&mut kv, &mut live, op);
            kv.check_integrity().map_err(TestCaseError::fail)?;
            for &(seq, len) in &live {
                prop_assert_eq!(kv.len(seq), len);
            }
        }
        for (seq, _) in live {
            kv.release(seq);
        }
        prop_assert_eq!(n_used(&kv), 0);
    }

    #[test]
    fn a_window_never_holds_more_than_pages_needed(
        window in 1..200_u32,
        steps in proptest::collection::vec(1..150_usize, 1..30),
    ) {
        let mut kv = cache(&[Some(window)], 100);
        let seq = kv.create(30 * 150);
        let total = steps.iter().sum();
        let n_new_max = *steps.iter().max().unwrap();
        let bound = kv.layout().groups[0].pages_needed(total, n_new_max);
        for n_new in steps {
            let len = kv.len(seq);
            kv.extend(seq, n_new).unwrap();
            prop_assert!(n_used(&kv) <= bound);
            // Every key that one of the new rows reads is there.
            let first = (len + 1).saturating_sub(window as usize);
            for position in first..len + n_new {
                prop_assert_ne!(kv.page_table(seq, 0)[position / PAGE], NO_PAGE);
            }
        }
        kv.check_integrity().map_err(TestCaseError::fail)?;
    }
}
