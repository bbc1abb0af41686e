//! Formulas with worked numbers, properties against a plain restatement with full sorts, and the draw.

mod draw;
mod formulas;
mod params;
mod properties;
mod restated;
mod select;
mod stages;

use super::{Candidates, History, IgnoreEos, SampleError, Sampler, SamplingParams};
use crate::TokenId;
use crate::trace::{Candidate, Recorder, What};
use limpid_kernels::isa::Isa;

/// The six logits of the worked examples; two are equal.
///
/// exp: 20.0855, 7.3891, 2.7183, 1.6487, 1.6487, 0.3679; their sum 33.8582. So p = 0.5932, 0.2182, 0.0803,
/// 0.0487, 0.0487, 0.0109.
const LOGITS: [f32; 6] = [3.0, 2.0, 1.0, 0.5, 0.5, -1.0];

/// Temperature 1 and nothing else.
fn plain() -> SamplingParams {
    SamplingParams { temperature: 1.0, ..SamplingParams::greedy() }
}

fn ids(ids: &[u32]) -> Vec<TokenId> {
    ids.iter().map(|&id| TokenId(id)).collect()
}

fn history(prompt: &[u32], output: &[u32]) -> History {
    let mut history = History::new(&ids(prompt), output.len(), 1000);
    output.iter().for_each(|&id| history.push(TokenId(id)));
    history
}

/// On the best instruction set that there is.
fn scratch(vocab_size: usize) -> Candidates {
    Candidates::new(vocab_size, Isa::available().last().expect("portable"))
}

/// Everything that the stages report.
#[derive(Default)]
struct Stages(Vec<(&'static str, Vec<Candidate>)>);

impl Recorder for Stages {
    fn wants(&self, what: What) -> bool {
        what == What::Stages
    }

    fn stage(&mut self, name: &'static str, candidates: &mut dyn Iterator<Item = Candidate>) {
        let mut candidates: Vec<_> = candidates.collect();
        candidates.sort_by_key(|c| c.id);
        self.0.push((name, candidates));
    }
}

impl Stages {
    /// Without what the chain begins with.
    fn names(&self) -> Vec<&'static str> {
        assert_eq!(self.0[0].0, "logits");
        self.0[1..].iter().map(|(name, _)| *name).collect()
    }

    fn last(&self) -> &[Candidate] {
        &self.0.last().expect("a stage").1
    }

    /// The ids that are left at the end.
    fn kept(&self) -> Vec<u32> {
        self.last().iter().map(|c| c.id.0).collect()
    }

    fn logits(&self) -> Vec<f32> {
        self.last().iter().map(|c| c.logit).collect()
    }
}

/// Runs the chain on `logits` with EOS 0 and stop id 1.
fn run(params: &SamplingParams, logits: &[f32], history: &History) -> (Stages, Result<TokenId, SampleError>) {
    let sampler = Sampler::new(params, &ids(&[0]), &ids(&[1]), logits.len()).expect("valid parameters");
    let mut stages = Stages::default();
    let token = sampler.sample(logits, &mut history.clone(), &mut scratch(logits.len()), &mut stages);
    (stages, token)
}

/// The chain on the six logits, at the start of an output.
fn stages(params: SamplingParams) -> Stages {
    run(&params, &LOGITS, &history(&[], &[])).0
}
