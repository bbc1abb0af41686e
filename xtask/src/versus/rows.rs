//! What is compared: models, rows, and the ratio and share of the machine's limit that each row must reach.

use crate::synth::{Recipe, ShapeName};

/// One line of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(super) enum Row {
    /// Prompt tokens a second
    Prefill,
    /// Decoded tokens a second, one sequence, one thread
    #[value(name = "decode-1")]
    Decode1,
    /// The same, two threads, as all other rows
    #[value(name = "decode-2")]
    Decode2,
    /// Decode behind 2,048 tokens
    #[value(name = "depth-2048")]
    Depth2048,
    /// Decode behind 8,192 tokens
    #[value(name = "depth-8192")]
    Depth8192,
    /// 8 sequences decoding together, tokens of all
    #[value(name = "sequences-8")]
    Sequences8,
    /// 16 sequences decoding together
    #[value(name = "sequences-16")]
    Sequences16,
    /// From the start of the process to the first token of a prompt of 16 tokens, the file warm
    Start,
    /// The most resident memory of that run
    Memory,
}

/// What kind of work a row is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Work {
    Prefill,
    Decode { depth: usize, sequences: usize },
    Start,
    Memory,
}

impl Row {
    pub(super) fn work(self) -> Work {
        let decode = |depth, sequences| Work::Decode { depth, sequences };
        match self {
            Row::Prefill => Work::Prefill,
            Row::Decode1 | Row::Decode2 => decode(0, 1),
            Row::Depth2048 => decode(2048, 1),
            Row::Depth8192 => decode(8192, 1),
            Row::Sequences8 => decode(0, 8),
            Row::Sequences16 => decode(0, 16),
            Row::Start => Work::Start,
            Row::Memory => Work::Memory,
        }
    }

    pub(super) fn n_threads(self) -> usize {
        if self == Row::Decode1 { 1 } else { 2 }
    }

    pub(super) fn unit(self) -> &'static str {
        match self.work() {
            Work::Prefill | Work::Decode { .. } => "tok/s",
            Work::Start => "ms",
            Work::Memory => "MB",
        }
    }

    /// Times and memory: Limpid's number may be so many times the other's.
    pub(super) fn less_is_better(self) -> bool {
        matches!(self.work(), Work::Start | Work::Memory)
    }
}

/// A model of synthetic weights and its rows.
pub(super) struct Model {
    pub shape: ShapeName,
    pub recipe: Recipe,
    pub rows: &'static [Row],
}

use Row::{Decode1, Decode2, Depth2048, Depth8192, Memory, Prefill, Sequences8, Sequences16, Start};

pub(super) const MODELS: &[Model] = &[
    Model {
        shape: ShapeName::Llama32_1b,
        recipe: Recipe::Q4KM,
        rows: &[Prefill, Decode1, Decode2, Depth2048, Depth8192, Sequences8, Sequences16, Start, Memory],
    },
    Model {
        shape: ShapeName::Llama32_1b,
        recipe: Recipe::Q4_0,
        rows: &[Prefill, Decode1, Decode2, Start, Memory],
    },
    Model {
        shape: ShapeName::Llama32_1b,
        recipe: Recipe::Q8_0,
        rows: &[Prefill, Decode1, Decode2, Depth2048, Sequences8, Sequences16, Start, Memory],
    },
    Model {
        shape: ShapeName::Llama32_1b,
        recipe: Recipe::Bf16,
        rows: &[Prefill, Decode1, Decode2, Start, Memory],
    },
    Model { shape: ShapeName::Qwen3_06b, recipe: Recipe::Q4KM, rows: &[Prefill, Decode1, Decode2] },
    Model { shape: ShapeName::Qwen3_06b, recipe: Recipe::Q8_0, rows: &[Prefill, Decode1, Decode2] },
];

/// Which of the machine's limits, as `limpid bench` measures them, a rate is held against.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Limit {
    Read,
    Int4,
    Int8,
    Bf16,
    F32,
}

impl Limit {
    /// Its field among the limits of a row of `limpid bench --json`.
    pub(super) fn key(self) -> &'static str {
        match self {
            Limit::Read => "read_gb_per_s",
            Limit::Int4 => "int4_gop_per_s",
            Limit::Int8 => "int8_gop_per_s",
            Limit::Bf16 => "bf16_gop_per_s",
            Limit::F32 => "f32_gop_per_s",
        }
    }
}

/// The two kinds of machine, by the instruction set that Limpid takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Machine {
    Avx512Vnni,
    Avx2,
}

impl Machine {
    pub(super) fn of_isa(isa: &str) -> Self {
        if ["avx512vnni", "avx512bf16"].contains(&isa) { Machine::Avx512Vnni } else { Machine::Avx2 }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Machine::Avx512Vnni => "AVX-512 VNNI",
            Machine::Avx2 => "AVX2",
        }
    }
}

/// What a row must reach: ratios to the others, and a share of the limit. Nothing where no bar is set.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Bar {
    pub llama_cpp: Option<f64>,
    pub ik: Option<f64>,
    pub share: Option<f64>,
    /// The ratios or the share are enough: bandwidth drifts.
    pub either: bool,
}

/// The bar of a row for a model in this format.
pub(super) fn bar(machine: Machine, row: Row, recipe: Option<Recipe>) -> Bar {
    let bar = |llama_cpp, ik, share, either| Bar { llama_cpp: Some(llama_cpp), ik, share, either };
    let vnni = machine == Machine::Avx512Vnni;
    match (row, recipe) {
        (_, None) => Bar::default(),
        (Prefill, Some(Recipe::Q4KM | Recipe::Q4_0)) if vnni => bar(2.5, Some(1.7), Some(0.60), false),
        (Prefill, Some(Recipe::Q8_0)) if vnni => bar(3.5, Some(1.7), Some(0.62), false),
        (Prefill, Some(Recipe::Bf16)) if vnni => bar(1.3, Some(1.2), Some(0.60), false),
        (Prefill, Some(Recipe::Q4KM | Recipe::Q4_0)) => bar(2.3, Some(1.4), Some(0.50), false),
        (Prefill, Some(Recipe::Q8_0)) => bar(2.0, Some(1.3), Some(0.65), false),
        (Prefill, Some(Recipe::Bf16)) => bar(1.2, Some(1.2), Some(0.70), false),
        (Prefill, Some(_)) => Bar::default(),
        (Decode1, _) if vnni => bar(1.35, Some(1.35), Some(0.90), true),
        (Decode1, _) => bar(1.25, Some(1.25), Some(0.85), true),
        (Decode2, _) => bar(1.25, Some(1.25), Some(0.90), true),
        (Depth2048 | Depth8192, _) if vnni => bar(1.4, Some(1.4), Some(0.85), true),
        (Depth2048 | Depth8192, _) => bar(2.0, Some(1.3), Some(0.80), true),
        (Sequences8, _) => bar(if vnni { 2.2 } else { 2.5 }, None, None, true),
        (Sequences16, _) if vnni => bar(2.7, None, Some(0.52), true),
        (Sequences16, _) => bar(2.8, None, Some(0.35), true),
        (Start, Some(Recipe::Bf16)) => Bar::default(),
        (Start | Memory, _) => bar(1.2, None, None, false),
    }
}

/// What the share of a row is a share of; nothing for times and memory, and for the arithmetic of an unknown format.
pub(super) fn limit(machine: Machine, row: Row, recipe: Option<Recipe>) -> Option<Limit> {
    let arithmetic = recipe.map(|recipe| match (recipe, machine) {
        (Recipe::Bf16, Machine::Avx512Vnni) => Limit::Bf16,
        (Recipe::Bf16 | Recipe::F16 | Recipe::F32, _) => Limit::F32,
        (_, Machine::Avx512Vnni) => Limit::Int8,
        (Recipe::Q8_0 | Recipe::Q6K, Machine::Avx2) if row == Prefill => Limit::Int8,
        (_, Machine::Avx2) => Limit::Int4,
    });
    match row.work() {
        Work::Prefill => arithmetic,
        Work::Decode { sequences: 1, .. } => Some(Limit::Read),
        Work::Decode { .. } => arithmetic,
        Work::Start | Work::Memory => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_and_limits_depend_on_the_machine_and_the_format() {
        let shares = |row, recipe| {
            [Machine::Avx512Vnni, Machine::Avx2].map(|machine| {
                let bar = bar(machine, row, Some(recipe));
                (bar.llama_cpp, bar.share, limit(machine, row, Some(recipe)))
            })
        };
        let [vnni, avx2] = shares(Prefill, Recipe::Q8_0);
        assert_eq!(vnni, (Some(3.5), Some(0.62), Some(Limit::Int8)));
        assert_eq!(avx2, (Some(2.0), Some(0.65), Some(Limit::Int8)));
        let [vnni, avx2] = shares(Sequences16, Recipe::Q8_0);
        assert_eq!(vnni, (Some(2.7), Some(0.52), Some(Limit::Int8)));
        assert_eq!(avx2, (Some(2.8), Some(0.35), Some(Limit::Int4)));
        let [vnni, avx2] = shares(Prefill, Recipe::Bf16);
        assert_eq!((vnni.2, avx2.2), (Some(Limit::Bf16), Some(Limit::F32)));
        assert_eq!(shares(Depth8192, Recipe::Q4KM)[1], (Some(2.0), Some(0.80), Some(Limit::Read)));
        assert_eq!(bar(Machine::Avx2, Start, Some(Recipe::Bf16)), Bar::default(), "reported only");
        assert_eq!(bar(Machine::Avx2, Prefill, None), Bar::default());
        assert_eq!(limit(Machine::Avx2, Decode1, None), Some(Limit::Read));
    }
}
