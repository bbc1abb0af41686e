//! The matcher against a naive search over all ends, and its rules one by one.

use proptest::prelude::*;

use super::*;

fn matcher(stop: &[&str], include_stop: bool, min_tokens: u32) -> StopMatcher {
    let stop = StopParams {
        stop: stop.iter().map(|s| s.to_string()).collect(),
        stop_token_ids: vec![TokenId(7)],
        include_stop,
    };
    let sampling = SamplingParams { min_tokens, ..SamplingParams::greedy() };
    StopMatcher::new(&stop, &sampling, &[TokenId(2), TokenId(3)], 100).expect("valid")
}

/// Feeds pieces, one a token; gives what was released by then and the reason.
fn feed(matcher: &mut StopMatcher, pieces: &[&str]) -> (String, Option<FinishReason>) {
    let mut out = String::new();
    for piece in pieces {
        assert_eq!(matcher.token(TokenId(50)), None);
        if let Some(reason) = matcher.text(piece, &mut out) {
            return (out, Some(reason));
        }
    }
    (out, None)
}

fn at(index: usize, text: &str, at: usize) -> Option<FinishReason> {
    Some(FinishReason::StopString { index, text: text.to_owned(), at })
}

#[test]
fn a_stop_string_is_found_across_tokens() {
    let mut m = matcher(&["END"], false, 0);
    assert_eq!(feed(&mut m, &["one ", "two E", "N", "D three"]), ("one two ".to_owned(), at(0, "END", 8)));
    let mut m = matcher(&["END"], true, 0);
    assert_eq!(feed(&mut m, &["one ", "two E", "N", "D three"]), ("one two END".to_owned(), at(0, "END", 8)));
}

#[test]
fn only_what_could_still_become_a_stop_string_is_held() {
    let mut m = matcher(&["abac"], false, 0);
    let mut out = String::new();
    for (piece, released) in [("xab", "x"), ("a", "x"), ("b", "xab"), ("ad", "xababad"), ("a", "xababad")] {
        m.token(TokenId(50));
        assert_eq!(m.text(piece, &mut out), None);
        assert_eq!(out, released, "after {piece:?}");
    }
    m.finish(&mut out);
    assert_eq!(out, "xababada", "what is held at the end is released");
}

#[test]
fn the_first_end_wins_then_the_longest_then_the_first_given() {
    assert_eq!(feed(&mut matcher(&["bcd", "c"], false, 0), &["abcd"]), ("ab".to_owned(), at(1, "c", 2)));
    assert_eq!(
        feed(&mut matcher(&["c", "bc", "abc"], false, 0), &["zabc"]),
        ("z".to_owned(), at(2, "abc", 1))
    );
    assert_eq!(feed(&mut matcher(&["c", "c"], false, 0), &["abc"]), ("ab".to_owned(), at(0, "c", 2)));
}

#[test]
fn characters_are_never_cut() {
    // 'é' is C3 A9 and 'è' is C3 A8: the first byte alone is no beginning that text could be cut at.
    let mut m = matcher(&["é!"], false, 0);
    assert_eq!(feed(&mut m, &["caf", "è", "é", "?"]).0, "cafèé?");
    let mut m = matcher(&["→ü"], false, 0);
    assert_eq!(feed(&mut m, &["a→", "→", "ü"]), ("a→".to_owned(), at(0, "→ü", 4)));
}

#[test]
fn min_tokens_text_is_not_searched_and_not_held() {
    let mut m = matcher(&["ab"], false, 2);
    let mut out = String::new();
    for (piece, released) in [("ab", "ab"), ("xa", "abxa"), ("b", "abxab"), ("a", "abxab")] {
        m.token(TokenId(50));
        assert_eq!(m.text(piece, &mut out), None);
        assert_eq!(out, released, "after {piece:?}");
    }
    m.token(TokenId(50));
    assert_eq!(m.text("b", &mut out), at(0, "ab", 5));
}

#[test]
fn ids_end_a_sequence_once_min_tokens_are_there() {
    let mut m = matcher(&[], false, 1);
    assert_eq!(m.token(TokenId(2)), None);
    assert_eq!(m.token(TokenId(50)), None);
    assert_eq!(m.token(TokenId(3)), Some(FinishReason::Eos { id: TokenId(3) }));
    assert_eq!(m.token(TokenId(7)), Some(FinishReason::StopId { id: TokenId(7) }));
}

#[test]
fn ignored_eos_ends_nothing() {
    for ignore_eos in [IgnoreEos::GenerateThrough, IgnoreEos::Forbid] {
        let sampling = SamplingParams { ignore_eos, ..SamplingParams::greedy() };
        let stop = StopParams { stop_token_ids: vec![TokenId(3)], ..StopParams::default() };
        let mut m = StopMatcher::new(&stop, &sampling, &[TokenId(2), TokenId(3)], 100).expect("valid");
        assert_eq!(m.token(TokenId(2)), None);
        assert_eq!(m.token(TokenId(3)), Some(FinishReason::StopId { id: TokenId(3) }), "asked for by id");
    }
}

#[test]
fn bad_stops_are_refused_by_name() {
    let refused = |stop: StopParams| stop.validate(100).expect_err("refused").to_string();
    let strings = |n: usize| StopParams { stop: vec!["x".to_owned(); n], ..StopParams::default() };
    assert_eq!(strings(16).validate(100), Ok(()));
    assert_eq!(refused(strings(17)), "stop is 17 strings, allowed is at most 16 strings");
    let empty = StopParams { stop: vec!["a".to_owned(), String::new()], ..StopParams::default() };
    assert_eq!(refused(empty), "stop is an empty string, allowed is strings of one character or more");
    let id = StopParams { stop_token_ids: vec![TokenId(99), TokenId(100)], ..StopParams::default() };
    assert_eq!(refused(id), "stop_token_ids is 100, allowed is from 0 to 99");
}

/// The first end in `text` of any stop, then the longest, then the first: (index, start).
fn naive(stops: &[String], text: &str) -> Option<(usize, usize)> {
    (1..=text.len()).find_map(|end| {
        let ending = (0..stops.len()).filter(|&i| text.as_bytes()[..end].ends_with(stops[i].as_bytes()));
        let best = ending.min_by_key(|&i| (std::cmp::Reverse(stops[i].len()), i))?;
        Some((best, end - stops[best].len()))
    })
}

/// How many last bytes of `text` are a proper beginning of a stop.
fn naive_held(stops: &[String], text: &str) -> usize {
    let beginnings = stops.iter().flat_map(|s| (0..s.len()).map(move |n| &s.as_bytes()[..n]));
    beginnings.filter(|b| text.as_bytes().ends_with(b)).map(<[u8]>::len).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn the_matcher_equals_a_naive_search(
        stops in prop::collection::vec("[abé]{1,5}", 0..6),
        pieces in prop::collection::vec("[abé]{0,4}", 0..12),
        include_stop in any::<bool>(),
        min_tokens in 0usize..4,
    ) {
        let strings: Vec<&str> = stops.iter().map(String::as_str).collect();
        let mut m = matcher(&strings, include_stop, min_tokens as u32);
        let n_early = min_tokens.min(pieces.len());
        let early = pieces[..n_early].concat();
        let (mut searched, mut out) = (String::new(), String::new());
        for (i, piece) in pieces.iter().enumerate() {
            prop_assert_eq!(m.token(TokenId(50)), None);
            let reason = m.text(piece, &mut out);
            if i < n_early {
                prop_assert_eq!(reason, None);
                prop_assert_eq!(&out, &pieces[..=i].concat());
                continue;
            }
            searched.push_str(piece);
            match naive(&stops, &searched) {
                Some((index, start)) => {
                    let end = if include_stop { start + stops[index].len() } else { start };
                    prop_assert_eq!(reason, at(index, &stops[index], early.len() + start));
                    prop_assert_eq!(out, early + &searched[..end]);
                    return Ok(());
                }
                None => {
                    let released = searched.len() - naive_held(&stops, &searched);
                    prop_assert_eq!(reason, None);
                    prop_assert_eq!(&out, &(early.clone() + &searched[..released]));
                }
            }
        }
        m.finish(&mut out);
        prop_assert_eq!(out, early + &searched);
    }
}
