//! `--explain`: how each token was chosen, as text that needs no colour. It looks on through the engine's trace.

mod tree;

use super::generate::Generation;
use crate::cli::stages::{Stage, Style};
use crate::texts::Text;
use limpid_engine::TokenId;
use limpid_engine::tokenizer::Tokenizer;
use limpid_engine::trace::{BeamNode, Candidate, Recorder, What};
use tree::Tree;

/// Tokens shown of each list.
const MOST: usize = 5;

/// The probability that a step ended the text.
#[derive(Clone, Copy, Default, Debug)]
struct EosChance {
    /// By the model's own logits, and after all stages.
    of_model: f64,
    after_stages: f64,
}

/// See the module.
pub(crate) struct Explain<'a> {
    tokenizer: &'a Tokenizer,
    eos: Vec<u32>,
    /// Texts are numbered where there are several.
    has_choices: bool,
    /// What was not written yet.
    out: String,
    /// The text, or the beam, that the stages are for.
    choice: usize,
    stages: Vec<Stage>,
    /// By text or beam, of the last step.
    eos_chances: Vec<EosChance>,
    /// The texts that were drawn so far, by choice.
    drawn: Vec<Vec<TokenId>>,
    tree: Tree,
}

impl<'a> Explain<'a> {
    /// `n_drawn`: how many texts are drawn.
    pub(crate) fn new(tokenizer: &'a Tokenizer, n_drawn: usize) -> Self {
        Self {
            tokenizer,
            eos: tokenizer.special().eos_ids().map(|id| id.0).collect(),
            has_choices: n_drawn > 1,
            out: String::new(),
            choice: 0,
            stages: Vec::new(),
            eos_chances: Vec::new(),
            drawn: Vec::new(),
            tree: Tree::default(),
        }
    }

    /// What the step that is over has to say.
    pub(crate) fn end_step(&mut self) -> String {
        self.tree.end_step();
        std::mem::take(&mut self.out)
    }

    /// What came of it all: of beams the tree; the texts, and why they ended.
    pub(crate) fn end(&self, generation: &Generation) -> String {
        let texts = generation.texts.iter().enumerate();
        let endings = texts.map(|(i, text)| {
            let name = if generation.texts.len() > 1 { format!("text {}", i + 1) } else { "text".to_owned() };
            format!("{name}: {:?}\n{}", text.text, self.ending(text, generation))
        });
        self.tree.text(self.tokenizer) + &endings.collect::<String>()
    }

    fn ending(&self, text: &Text, generation: &Generation) -> String {
        let reason = text.reason.as_ref().unwrap_or(&generation.finished.reason);
        let n_tokens = crate::units::counted(text.token_ids.len(), "token");
        let mut ending = format!("  ended after {n_tokens}: {reason}\n");
        if let Some(score) = text.score {
            ending += &format!("  score: {score:.6}\n");
        }
        let is_drawn = |drawn: &&Vec<TokenId>| **drawn == text.token_ids;
        let of_drawn = || Some(self.eos_chances[self.drawn.iter().position(|drawn| is_drawn(&drawn))?]);
        match self.tree.eos_chance(&text.token_ids).or_else(of_drawn) {
            _ if self.eos.is_empty() => ending += "  the model has no EOS\n",
            Some(EosChance { of_model, after_stages }) => {
                let (of_model, after_stages) = (probability(of_model), probability(after_stages));
                ending += &format!(
                    "  EOS at the last step: p {of_model} by the model, {after_stages} after all stages\n"
                );
            }
            None => {}
        }
        ending
    }

    fn style(&self) -> Style<'a> {
        Style { tokenizer: Some(self.tokenizer), most: MOST }
    }

    /// The stages that changed something.
    fn show_stages(&mut self) {
        let style = self.style();
        let mut before: Option<&Stage> = None;
        for stage in &self.stages {
            if before.is_none_or(|before| before.probs != stage.probs) {
                self.out += &style.stage(stage);
            }
            before = Some(stage);
        }
    }
}

impl Recorder for Explain<'_> {
    fn wants(&self, what: What) -> bool {
        matches!(what, What::Stages | What::Beams)
    }

    fn choice(&mut self, _row: usize, choice: usize) {
        self.choice = choice;
        self.stages.clear();
        let n = self.eos_chances.len().max(choice + 1);
        self.eos_chances.resize(n, EosChance::default());
    }

    fn stage(&mut self, name: &'static str, candidates: &mut dyn Iterator<Item = Candidate>) {
        let stage = Stage::new(name, candidates, self.stages.last());
        let chance = &mut self.eos_chances[self.choice];
        chance.after_stages = stage.p_of(&self.eos);
        if self.stages.is_empty() {
            chance.of_model = chance.after_stages;
        }
        self.stages.push(stage);
    }

    fn chosen(&mut self, id: TokenId, u: Option<f64>) {
        let choice = self.choice;
        if self.drawn.len() <= choice {
            self.drawn.resize(choice + 1, Vec::new());
        }
        let number = self.drawn[choice].len() + 1;
        let text = if self.has_choices { format!(" of text {}", choice + 1) } else { String::new() };
        self.out += &format!("token {number}{text}\n");
        self.show_stages();
        let token = self.style().token(id);
        self.out += &match u {
            Some(u) => format!("draw: u = {u:.6} gives {token}\n\n"),
            None => format!("greedy: the likeliest is {token}\n\n"),
        };
        self.drawn[choice].push(id);
    }

    fn beam(&mut self, node: BeamNode) {
        let chance = self.eos_chances[node.beam];
        self.out += &self.tree.add(node, chance, self.tokenizer);
    }
}

/// A small one is not shown as none.
fn probability(p: f64) -> String {
    match p {
        0.0 => "0".to_owned(),
        p if p < 1e-6 => format!("{p:.1e}"),
        p => format!("{p:.6}"),
    }
}
