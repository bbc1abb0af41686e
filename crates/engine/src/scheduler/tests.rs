//! How a step's rows are shared out.

use super::*;

fn share(max_sequences: usize, prefill_chunk: usize, n_pending: &[usize]) -> Vec<usize> {
    let mut step = Budget { max_sequences, prefill_chunk, extra_logit_rows: 0 }.begin_step();
    n_pending.iter().map(|&n_pending| step.take(n_pending, false)).collect()
}

#[test]
fn every_decode_row_and_a_chunk_of_prefill() {
    assert_eq!(share(4, 8, &[1, 20, 1]), [1, 8, 1]);
    assert_eq!(
        share(4, 8, &[1, 5, 20, 1]),
        [1, 5, 3, 1],
        "the oldest prompt first, the next one takes the rest"
    );
    assert_eq!(share(4, 8, &[8, 2, 1]), [8, 0, 1], "decode goes on while prompts wait");
    assert_eq!(share(1, 1, &[3]), [1]);
}

#[test]
fn no_share_is_larger_than_max_rows() {
    for n_pending in [vec![100, 1, 1], vec![1, 1, 1], vec![2, 1, 50], vec![100, 100, 100]] {
        for prefill_chunk in 1..6 {
            let n_rows: usize = share(3, prefill_chunk, &n_pending).iter().sum();
            assert!(n_rows <= Budget { max_sequences: 3, prefill_chunk, extra_logit_rows: 0 }.max_rows());
        }
    }
}

#[test]
fn prompts_whose_rows_all_want_logits_share_what_room_there_is() {
    let mut step = Budget { max_sequences: 4, prefill_chunk: 20, extra_logit_rows: 5 }.begin_step();
    let shares = [(10, true), (10, true), (10, false), (1, true)].map(|(n, all)| step.take(n, all));
    assert_eq!(shares, [6, 1, 10, 1], "one row of each is always within the limit");
}

#[test]
fn pages_are_reserved_in_all_groups_or_none() {
    let mut pages = FreePages::new(vec![4, 2]);
    assert!(pages.reserve(&[2, 1]));
    assert!(!pages.reserve(&[1, 2]), "the second group has one left");
    assert!(pages.reserve(&[2, 1]), "and the refusal took nothing of the first");
    pages.give_back(&[2, 1]);
    assert!(pages.reserve(&[1, 1]));
}
