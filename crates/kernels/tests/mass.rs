//! Integer masses: the lanes against the scalar definition, on every instruction set.

mod support;

use limpid_kernels::isa::Isa;
use limpid_kernels::ops::mass;
use support::Random;

#[test]
fn sums_of_masses_are_those_of_the_definition() {
    let mut random = Random(1);
    for n in [0, 1, 15, 16, 17, 4095, 4096, 4097, 9001] {
        let mut x = random.floats(n, 12.0);
        if n > 20 {
            (x[3], x[4], x[5]) = (f32::NEG_INFINITY, -100.0, -87.3);
        }
        let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut first: Option<(Vec<u32>, u64)> = None;
        for isa in Isa::available() {
            let mut p = vec![9.0; n];
            let sum = mass::weigh(isa, &x, max, &mut p);
            for (&p, &x) in p.iter().zip(&x) {
                let exact = f64::from(x - max).exp();
                assert!((f64::from(p) - exact).abs() <= exact * 2e-7 + 1e-37, "e^{} is {p}", x - max);
            }
            assert_eq!(sum, p.iter().map(|&p| mass::of(p)).sum(), "{isa:?} {n}");
            assert_eq!(sum, mass::sum(isa, &p));
            for cut in [f32::NEG_INFINITY, max - 10.0, max - 0.3, max, max + 1.0] {
                let expected = x.iter().zip(&p).filter(|(x, _)| **x >= cut).map(|(_, &p)| mass::of(p)).sum();
                assert_eq!(mass::sum_from(isa, &x, &p, cut), expected, "{isa:?} {n} {cut}");
            }
            let bits = p.iter().map(|p| p.to_bits()).collect();
            assert_eq!(*first.get_or_insert((bits, sum)), (p.iter().map(|p| p.to_bits()).collect(), sum));
        }
    }
}

#[test]
fn a_mass_is_rounded_down() {
    let unit = 1.0 / (1u64 << 40) as f32;
    for (p, expected) in [
        (1.0, 1 << 40),
        (0.5, 1 << 39),
        (0.0, 0),
        (unit, 1),
        (unit * 0.999, 0),
        (unit * 1.999, 1),
        (unit * 8191.5, 8191),
        (unit * 4096.5, 4096),
        (f32::from_bits(0x3f7f_ffff), (1 << 40) - (1 << 16)),
    ] {
        assert_eq!(mass::of(p), expected, "{p}");
        for isa in Isa::available() {
            assert_eq!(mass::sum(isa, &[p]), expected, "{isa:?} {p}");
            assert_eq!(mass::sum(isa, &vec![p; 5000]), 5000 * expected, "{isa:?} {p}");
        }
    }
}
