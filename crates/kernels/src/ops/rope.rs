//! Rotary position embedding (Su et al. 2021): pairs of elements of a head are turned by an angle that grows with the
//! position. Computed as Hugging Face transformers does, so that positions up to the longest contexts agree with it:
//! the frequencies are f32, an angle is the f32 product of position and frequency, and the cosine and sine of that
//! angle are rounded to f32 (here by way of f64 and `libm`, the same on every system).
//!
//! ```text
//! inv_freq[i] = 1 / theta^(2i / rotary_dim)     i in 0..rotary_dim / 2, changed by the scaling
//! angle       = position * inv_freq[i]
//! (a, b)      = (fnma(b, sin, a * cos), fma(a, sin, b * cos))
//! ```

use crate::Cpu;
use crate::buffer::{AllocError, Rows, SharedRows};
use crate::simd::{self, Kernel, LANES, Simd};

/// Which elements of a head form pair i.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RopeStyle {
    /// 2i and 2i + 1: Meta's order, and that of the Llama family in GGUF files.
    Interleaved,
    /// i and i + rotary_dim / 2: the order of Hugging Face checkpoints, and of most families in GGUF files.
    HalfSplit,
}

/// How the frequencies are changed for contexts longer than those of the first training. All of these hold for every
/// position alike; the names are those of `rope_type` in a config.json.
#[derive(Clone, PartialEq, Debug)]
pub enum RopeScaling {
    None,
    /// All frequencies divided by `factor`.
    Linear {
        factor: f32,
    },
    /// Wavelengths longer than `original_context / low_freq_factor` divided by `factor`, those shorter than
    /// `original_context / high_freq_factor` kept, those between mixed.
    Llama3 {
        factor: f32,
        low_freq_factor: f32,
        high_freq_factor: f32,
        original_context: u32,
    },
    /// Frequency i divided by factor i: the tensor `rope_freqs.weight` of a GGUF file. One a pair.
    Factors(Vec<f32>),
}

#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum RopeError {
    #[error("rotary dimension {0}: must be even and at least 2")]
    RotaryDim(usize),
    #[error("rope theta {0}: must be a positive number")]
    Theta(f32),
    #[error("rope scaling: {name} is {value}: must be {allowed}")]
    Scaling { name: &'static str, value: f32, allowed: &'static str },
    #[error("rope scaling: {found} factors for {expected} pairs")]
    FactorCount { found: usize, expected: usize },
}

/// The frequencies of a model (or of the layers that share them).
#[derive(Clone, PartialEq, Debug)]
pub struct RopeTable {
    style: RopeStyle,
    /// One a pair: `rotary_dim / 2`.
    inv_freq: Vec<f32>,
}

impl RopeTable {
    /// `rotary_dim` counts the elements at the start of each head that are turned; the others stay as they are.
    pub fn new(
        rotary_dim: usize,
        theta: f32,
        style: RopeStyle,
        scaling: &RopeScaling,
    ) -> Result<Self, RopeError> {
        if rotary_dim == 0 || !rotary_dim.is_multiple_of(2) {
            return Err(RopeError::RotaryDim(rotary_dim));
        }
        if !is_positive(theta) {
            return Err(RopeError::Theta(theta));
        }
        let mut inv_freq: Vec<f32> = (0..rotary_dim / 2)
            .map(|i| {
                let exponent = (2 * i) as f32 / rotary_dim as f32;
                1.0 / libm::pow(f64::from(theta), f64::from(exponent)) as f32
            })
            .collect();
        scale(&mut inv_freq, scaling)?;
        Ok(Self { style, inv_freq })
    }

    pub fn style(&self) -> RopeStyle {
        self.style
    }

    pub fn rotary_dim(&self) -> usize {
        2 * self.inv_freq.len()
    }

    /// Radians per position, one a pair.
    pub fn inv_freq(&self) -> &[f32] {
        &self.inv_freq
    }
}

fn is_positive(x: f32) -> bool {
    x > 0.0 && x.is_finite()
}

/// In f32 and in this order, as transformers' `modeling_rope_utils.py` does.
fn scale(inv_freq: &mut [f32], scaling: &RopeScaling) -> Result<(), RopeError> {
    let positive = |name, value| match is_positive(value) {
        true => Ok(()),
        false => Err(RopeError::Scaling { name, value, allowed: "a positive number" }),
    };
    match *scaling {
        RopeScaling::None => {}
        RopeScaling::Linear { factor } => {
            positive("factor", factor)?;
            inv_freq.iter_mut().for_each(|f| *f /= factor);
        }
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
            positive("factor", factor)?;
            positive("low_freq_factor", low_freq_factor)?;
            positive("high_freq_factor", high_freq_factor)?;
            let context = original_context as f32;
            positive("original_max_position_embeddings", context)?;
            if high_freq_factor <= low_freq_factor {
                let allowed = "more than low_freq_factor";
                return Err(RopeError::Scaling {
                    name: "high_freq_factor",
                    value: high_freq_factor,
                    allowed,
                });
            }
            for f in inv_freq {
                let wavelength = std::f32::consts::TAU / *f;
                if wavelength > context / low_freq_factor {
                    *f /= factor;
                } else if wavelength >= context / high_freq_factor {
                    let smooth =
                        (context / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
                    *f = (1.0 - smooth) * *f / factor + smooth * *f;
                }
            }
        }
        RopeScaling::Factors(ref factors) => {
            if factors.len() != inv_freq.len() {
                return Err(RopeError::FactorCount { found: factors.len(), expected: inv_freq.len() });
            }
            for (f, &factor) in inv_freq.iter_mut().zip(factors) {
                positive("a factor", factor)?;
                *f /= factor;
            }
        }
    }
    Ok(())
}

/// The cosines and sines of a batch's positions: computed once, used by all layers, for queries and keys.
pub struct RopeAngles {
    style: RopeStyle,
    /// `[n_rows, rotary_dim / 2]` each.
    cos: Rows,
    sin: Rows,
}

impl RopeAngles {
    pub fn new(max_rows: usize, table: &RopeTable) -> Result<Self, AllocError> {
        let n_pairs = table.inv_freq.len();
        Ok(Self {
            style: table.style,
            cos: Rows::new(max_rows, n_pairs)?,
            sin: Rows::new(max_rows, n_pairs)?,
        })
    }

    pub fn bytes(&self) -> usize {
        self.cos.bytes() + self.sin.bytes()
    }

    /// Row i for `positions[i]`. `table` has as many pairs as the one in `new`.
    pub fn fill(&mut self, cpu: &Cpu, table: &RopeTable, positions: &[u32]) {
        assert_eq!(self.cos.width(), table.inv_freq.len());
        self.style = table.style;
        self.cos.set_n_rows(positions.len());
        self.sin.set_n_rows(positions.len());
        let (cos, sin) = (self.cos.shared(), self.sin.shared());
        cpu.pool.for_each(positions.len(), &|i| {
            // SAFETY: each item takes its own row.
            let (cos, sin) = unsafe { (cos.row(i), sin.row(i)) };
            for (p, &inv_freq) in table.inv_freq.iter().enumerate() {
                let (y, x) = libm::sincos(f64::from(positions[i] as f32 * inv_freq));
                (cos[p], sin[p]) = (x as f32, y as f32);
            }
        });
    }
}

/// Turns the first `rotary_dim` elements of each head of `head_dim`, in place: `x` is `[n_rows, n_heads * head_dim]`,
/// queries or keys, and row i stands at the position of row i of `angles`.
pub fn rope(cpu: &Cpu, x: &mut Rows, head_dim: usize, angles: &RopeAngles) {
    assert_eq!(x.n_rows(), angles.cos.n_rows());
    assert!(2 * angles.cos.width() <= head_dim && x.width().is_multiple_of(head_dim));
    let (n_rows, width) = (x.n_rows(), x.width());
    let x: SharedRows<'_> = x.shared();
    cpu.pool.for_each(n_rows, &|i| {
        // SAFETY: each item takes its own row.
        let x = unsafe { x.part(i, 0, width) };
        let turn = Turn { x, head_dim, cos: angles.cos.row(i), sin: angles.sin.row(i) };
        match angles.style {
            RopeStyle::Interleaved => simd::run(cpu.isa, Interleaved(turn)),
            RopeStyle::HalfSplit => simd::run(cpu.isa, HalfSplit(turn)),
        }
    });
}

/// One row and its angles.
struct Turn<'a> {
    x: &'a mut [f32],
    head_dim: usize,
    cos: &'a [f32],
    sin: &'a [f32],
}

struct Interleaved<'a>(Turn<'a>);

impl Kernel for Interleaved<'_> {
    type Output = ();

    /// Pairs are neighbours, so plain arithmetic, which the compiler makes into vectors as it sees fit: no sums.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Turn { x, head_dim, cos, sin } = self.0;
        for head in x.chunks_exact_mut(head_dim) {
            let (pairs, _) = head.as_chunks_mut::<2>();
            for ((pair, &cos), &sin) in pairs.iter_mut().zip(cos).zip(sin) {
                let [a, b] = *pair;
                *pair = [(-b).mul_add(sin, a * cos), a.mul_add(sin, b * cos)];
            }
        }
    }
}

struct HalfSplit<'a>(Turn<'a>);

impl Kernel for HalfSplit<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Turn { x, head_dim, cos, sin } = self.0;
        let n_pairs = cos.len();
        let turn = |a: S::F, b: S::F, cos: S::F, sin: S::F| {
            (s.fnma(b, sin, s.mul(a, cos)), s.fma(a, sin, s.mul(b, cos)))
        };
        let (cos, cos_tail) = cos.as_chunks::<LANES>();
        let (sin, sin_tail) = sin.as_chunks::<LANES>();
        for head in x.chunks_exact_mut(head_dim) {
            let (first, second) = head.split_at_mut(n_pairs);
            let (first, first_tail) = first.as_chunks_mut::<LANES>();
            let (second, second_tail) = second[..n_pairs].as_chunks_mut::<LANES>();
            for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                let (x, y) = turn(s.load(a), s.load(b), s.load(cos), s.load(sin));
                s.store(x, a);
                s.store(y, b);
            }
            if !cos_tail.is_empty() {
                let (a, b) = (s.load_partial(first_tail), s.load_partial(second_tail));
                let (x, y) = turn(a, b, s.load_partial(cos_tail), s.load_partial(sin_tail));
                s.store_partial(x, first_tail);
                s.store_partial(y, second_tail);
            }
        }
    }
}
