//! `--explain`: how each token was chosen, as text that needs no colour. It looks on through the engine's trace.

mod tree;

use super::args::AttentionHead;
use super::generate::Generation;
use crate::cli::stages::{Stage, Style};
use crate::texts::Text;
use limpid_engine::TokenId;
use limpid_engine::tokenizer::Tokenizer;
use limpid_engine::trace::{BeamNode, Candidate, Recorder, What};
use std::collections::BTreeMap;
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
    prompt: &'a [TokenId],
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
    looked: Option<Attention>,
}

/// What is attended to.
struct Attention {
    asked: AttentionHead,
    /// Of the rows of the step at hand: the weights by position, added up over `n_heads`.
    rows: BTreeMap<usize, (usize, Vec<f64>)>,
    /// The row whose choice is at hand.
    row: usize,
}

impl<'a> Explain<'a> {
    /// `n_drawn`: how many texts are drawn.
    pub(crate) fn new(
        tokenizer: &'a Tokenizer,
        prompt: &'a [TokenId],
        n_drawn: usize,
        attention: Option<AttentionHead>,
    ) -> Self {
        Self {
            tokenizer,
            prompt,
            eos: tokenizer.special().eos_ids().map(|id| id.0).collect(),
            has_choices: n_drawn > 1,
            out: String::new(),
            choice: 0,
            stages: Vec::new(),
            eos_chances: Vec::new(),
            drawn: Vec::new(),
            tree: Tree::default(),
            looked: attention.map(|asked| Attention { asked, rows: BTreeMap::new(), row: 0 }),
        }
    }

    /// What the step that is over has to say.
    pub(crate) fn end_step(&mut self) -> String {
        self.tree.end_step();
        self.looked.iter_mut().for_each(|looked| looked.rows.clear());
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

impl Attention {
    /// The positions that the row at hand attends to most, of equal ones the earlier first.
    fn text(&self, token_at: impl Fn(usize) -> TokenId, style: Style<'_>) -> String {
        let Some((n_heads, sums)) = self.rows.get(&self.row) else { return String::new() };
        let mut weights: Vec<(usize, f64)> =
            sums.iter().map(|sum| sum / *n_heads as f64).enumerate().collect();
        weights.sort_by(|a, b| b.1.total_cmp(&a.1));
        let AttentionHead { layer, head } = self.asked;
        let heads = head.map_or_else(|| "the mean over heads".to_owned(), |head| format!("head {head}"));
        let mut text = format!("attention of layer {layer}, {heads}, by position\n");
        for (position, weight) in weights.into_iter().take(MOST) {
            text += &format!("{position:>7}  {weight:.6}  {}\n", style.token(token_at(position)));
        }
        text
    }
}

impl Recorder for Explain<'_> {
    fn wants(&self, what: What) -> bool {
        match what {
            What::Stages | What::Beams => true,
            What::Attention { layer } => {
                self.looked.as_ref().is_some_and(|looked| looked.asked.layer == layer)
            }
            _ => false,
        }
    }

    fn attention(&mut self, row: usize, _layer: usize, head: usize, weights: &[f64]) {
        let Some(looked) = &mut self.looked else { return };
        if looked.asked.head.is_some_and(|asked| asked != head) {
            return;
        }
        let (n_heads, sums) = looked.rows.entry(row).or_default();
        *n_heads += 1;
        sums.resize(weights.len(), 0.0);
        sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += weight);
    }

    fn choice(&mut self, row: usize, choice: usize) {
        self.looked.iter_mut().for_each(|looked| looked.row = row);
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
        if let Some(looked) = &self.looked {
            let drawn = &self.drawn[choice];
            let token_at = |i: usize| *self.prompt.get(i).unwrap_or_else(|| &drawn[i - self.prompt.len()]);
            self.out += &looked.text(token_at, self.style());
        }
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
