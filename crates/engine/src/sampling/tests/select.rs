//! Partial selection against a sort, on vocabularies large enough for all of it.

use limpid_kernels::isa::Isa;
use limpid_kernels::ops::mass;
use proptest::prelude::*;

use crate::sampling::select::{self, Cut};

/// Keys of a given spread with ties, a few far away, and the p of a softmax at some temperature.
fn keys() -> impl Strategy<Value = (Vec<f32>, Vec<f32>)> {
    let spread = prop_oneof![Just(0.0f32), Just(0.001), Just(0.02), Just(0.1), Just(3e4)];
    (spread, 1usize..9000, any::<u64>()).prop_map(|(spread, n, seed)| {
        let mut state = seed | 1;
        let mut draw = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) % 1000
        };
        let mut keys: Vec<f32> = (0..n).map(|_| draw() as f32 * spread - 20.0).collect();
        (keys[0], keys[n / 2]) = (-1e30, 12.0);
        let max = keys.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut p = vec![0.0; n];
        mass::weigh(Isa::Portable, &keys, max, &mut p);
        (keys, p)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_cut_is_that_of_a_sort((keys, p) in keys(), share in 0.0f64..=1.0, counted in any::<bool>()) {
        let of = |i: usize| if counted { 1 } else { mass::of(p[i]) };
        let total: u64 = (0..keys.len()).map(of).sum();
        let target = ((share * total as f64) as u64).clamp(1, total);
        let mut order: Vec<usize> = (0..keys.len()).collect();
        order.sort_by(|&a, &b| keys[b].total_cmp(&keys[a]));
        let mut sum = 0;
        let reached = order.iter().find(|&&i| {
            sum += of(i);
            sum >= target
        });
        let key = keys[*reached.expect("the target is within reach")];
        let above = (0..keys.len()).filter(|&i| keys[i] > key).map(of).sum();
        let p = (!counted).then_some(&*p);
        for isa in Isa::available() {
            prop_assert_eq!(select::cut(isa, &keys, p, target, &mut Vec::new()), Cut { key, above });
        }
    }
}
