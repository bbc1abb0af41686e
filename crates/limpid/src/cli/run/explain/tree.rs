//! The tree of a beam search: each node is a token that a beam was continued by.

use super::EosChance;
use limpid_engine::TokenId;
use limpid_engine::tokenizer::Tokenizer;
use limpid_engine::trace::{BeamFate, BeamNode};

/// See the module. What was dropped at once is shown, but not kept.
#[derive(Default)]
pub(super) struct Tree {
    /// Parents come before their children.
    nodes: Vec<Node>,
    /// The nodes of the running beams, by rank, and of those of the next step.
    running: Vec<usize>,
    next: Vec<usize>,
    n_steps: usize,
    is_in_step: bool,
}

struct Node {
    parent: Option<usize>,
    id: TokenId,
    total: f64,
    /// The score, if the text ends here.
    score: Option<f64>,
    /// Of the step that made this token.
    eos: EosChance,
}

impl Tree {
    /// Takes a node of the step at hand, and says what became of it.
    pub(super) fn add(&mut self, node: BeamNode, eos: EosChance, tokenizer: &Tokenizer) -> String {
        let BeamNode { beam, id, logprob, total, fate } = node;
        let mut text = String::new();
        if !self.is_in_step {
            self.n_steps += 1;
            self.is_in_step = true;
            text += &format!("step {}\n", self.n_steps);
        }
        let parent = self.running.get(beam).copied();
        let score = if let BeamFate::Finished { score } = fate { Some(score) } else { None };
        let fate = match fate {
            BeamFate::RunsAs { rank } => {
                self.next.push(self.nodes.len());
                format!("beam {}", rank + 1)
            }
            BeamFate::Finished { score } => format!("finished, score {score:.6}"),
            BeamFate::Dropped => "would end, dropped".to_owned(),
        };
        if node.fate != BeamFate::Dropped {
            self.nodes.push(Node { parent, id, total, score, eos });
        }
        let before = if parent.is_some() { format!("beam {}", beam + 1) } else { "prompt".to_owned() };
        let piece = tokenizer.piece(id);
        text += &format!(
            "  {before:<7}  ln p {logprob:>10.6}  sum {total:>11.6}  {:>7} {piece:?}: {fate}\n",
            id.0
        );
        text
    }

    pub(super) fn end_step(&mut self) {
        if self.is_in_step {
            self.running = std::mem::take(&mut self.next);
            self.is_in_step = false;
        }
    }

    /// What the step that ended this text said of EOS.
    pub(super) fn eos_chance(&self, tokens: &[TokenId]) -> Option<EosChance> {
        let node = (0..self.nodes.len()).find(|&node| self.is_text(node, tokens))?;
        Some(self.nodes[node].eos)
    }

    /// Whether the text that ends at a node is `tokens`.
    fn is_text(&self, node: usize, tokens: &[TokenId]) -> bool {
        let mut node = Some(node);
        for &token in tokens.iter().rev() {
            let Some(at) = node.filter(|&at| self.nodes[at].id == token) else { return false };
            node = self.nodes[at].parent;
        }
        node.is_none()
    }

    /// All of it: a line for each run of tokens that no beam left, its children further to the right.
    pub(super) fn text(&self, tokenizer: &Tokenizer) -> String {
        let mut children = vec![Vec::new(); self.nodes.len()];
        let mut roots = Vec::new();
        for (i, node) in self.nodes.iter().enumerate() {
            node.parent.map_or(&mut roots, |parent| &mut children[parent]).push(i);
        }
        if roots.is_empty() {
            return String::new();
        }
        let mut text = "\ntree, with the sum of ln p\n".to_owned();
        // Depth first; the next one to show comes last.
        let mut open: Vec<(usize, usize)> = roots.into_iter().rev().map(|root| (1, root)).collect();
        while let Some((depth, first)) = open.pop() {
            let (mut last, mut ids) = (first, vec![self.nodes[first].id]);
            while let [only] = children[last][..] {
                ids.push(self.nodes[only].id);
                last = only;
            }
            let Node { total, score, .. } = self.nodes[last];
            let end = match score {
                Some(score) => format!(", finished, score {score:.6}"),
                None if self.running.contains(&last) => ", running at the end".to_owned(),
                None if children[last].is_empty() => ", given up".to_owned(),
                None => String::new(),
            };
            let bytes: Vec<u8> = ids.iter().flat_map(|&id| tokenizer.piece_bytes(id)).copied().collect();
            let run = String::from_utf8_lossy(&bytes);
            text += &format!("{}{total:.6} {run:?}{end}\n", "  ".repeat(depth));
            open.extend(children[last].iter().rev().map(|&child| (depth + 1, child)));
        }
        text + "\n"
    }
}
