//! The stages of the sampling chain: what the sampler tells of them, and how people see it.

use crate::units;
use limpid_engine::TokenId;
use limpid_engine::tokenizer::Tokenizer;
use limpid_engine::trace::Candidate;
use std::fmt::Write;

/// What a stage made of the one before.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    /// Id and probability of the tokens in play, likeliest first, equal ones by id.
    pub(crate) probs: Vec<(u32, f64)>,
    /// What the stage before had and this one has not, likeliest first.
    pub(crate) removed: Vec<u32>,
}

impl Stage {
    /// `candidates` come by ascending id.
    pub(crate) fn new(
        name: &'static str,
        candidates: &mut dyn Iterator<Item = Candidate>,
        before: Option<&Stage>,
    ) -> Self {
        let mut kept: Vec<_> = candidates.collect();
        let is_kept = |id: &u32| kept.binary_search_by_key(id, |candidate| candidate.id.0).is_ok();
        let all = before.map_or(&[][..], |before| &before.probs);
        let removed = all.iter().map(|&(id, _)| id).filter(|id| !is_kept(id)).collect();
        // Adding 0 makes 0 of -0: they are equal.
        let order = |a: &Candidate, b: &Candidate| (b.logit + 0.0).total_cmp(&(a.logit + 0.0));
        kept.sort_by(|a, b| order(a, b).then(a.id.cmp(&b.id)));
        let probs = kept.into_iter().map(|candidate| (candidate.id.0, candidate.p)).collect();
        Self { name, probs, removed }
    }

    /// The probability that one of `ids` is drawn after this stage.
    pub(crate) fn p_of(&self, ids: &[u32]) -> f64 {
        self.probs.iter().filter(|(id, _)| ids.contains(id)).map(|&(_, p)| p).sum()
    }
}

/// How tokens are shown.
#[derive(Clone, Copy)]
pub(crate) struct Style<'a> {
    /// Their text beside their ids, if there is a tokenizer.
    pub(crate) tokenizer: Option<&'a Tokenizer>,
    /// Of a list no more than these.
    pub(crate) most: usize,
}

impl Style<'_> {
    /// How many tokens a stage left, what it removed, and the likeliest that are left.
    pub(crate) fn stage(&self, stage: &Stage) -> String {
        let mut text = format!("{}: {} left", stage.name, units::count(stage.probs.len()));
        if !stage.removed.is_empty() {
            let likeliest: Vec<_> =
                stage.removed.iter().take(self.most).map(|&id| self.token(TokenId(id))).collect();
            let more = if stage.removed.len() > self.most { ", ..." } else { "" };
            let n_removed = units::count(stage.removed.len());
            write!(text, ", removed {n_removed}: {}{more}", likeliest.join(", ")).expect(NEVER_FULL);
        }
        text + "\n" + &self.probs(&stage.probs)
    }

    /// A line for each of the first tokens.
    pub(crate) fn probs(&self, probs: &[(u32, f64)]) -> String {
        let mut text = String::new();
        for &(id, p) in probs.iter().take(self.most) {
            let piece = self.tokenizer.map(|tokenizer| format!("  {:?}", tokenizer.piece(TokenId(id))));
            writeln!(text, "{id:>7}  {p:.6}{}", piece.unwrap_or_default()).expect(NEVER_FULL);
        }
        if let Some(n_more) = probs.len().checked_sub(self.most + 1) {
            writeln!(text, "    and {} more", units::count(n_more + 1)).expect(NEVER_FULL);
        }
        text
    }

    /// `12`, or `12 " is"`.
    pub(crate) fn token(&self, id: TokenId) -> String {
        match self.tokenizer {
            Some(tokenizer) => format!("{} {:?}", id.0, tokenizer.piece(id)),
            None => id.0.to_string(),
        }
    }
}

/// Writing to a string cannot fail.
pub(crate) const NEVER_FULL: &str = "a string takes all";

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(probs: &[(u32, f32)], before: Option<&Stage>) -> Stage {
        let candidate = |&(id, logit)| Candidate { id: TokenId(id), logit, p: f64::from(logit) / 10.0 };
        Stage::new("s", &mut probs.iter().map(candidate), before)
    }

    #[test]
    fn zero_and_minus_zero_are_equal() {
        let stage = stage(&[(0, -0.0), (1, 0.0), (2, -0.0), (3, 1.0)], None);
        assert_eq!(stage.probs.iter().map(|of| of.0).collect::<Vec<_>>(), [3, 0, 1, 2]);
    }

    #[test]
    fn the_likeliest_come_first_among_the_kept_and_the_removed() {
        let before = stage(&[(0, 1.0), (1, 5.0), (2, 1.5), (3, 2.5)], None);
        let after = stage(&[(2, 1.5)], Some(&before));
        assert_eq!(before.probs.iter().map(|of| of.0).collect::<Vec<_>>(), [1, 3, 2, 0]);
        assert_eq!((after.removed.as_slice(), after.p_of(&[1, 2])), (&[1, 3, 0][..], 0.15));
        let style = Style { tokenizer: None, most: 2 };
        assert_eq!(style.stage(&after), "s: 1 left, removed 3: 1, 3, ...\n      2  0.150000\n");
        assert!(style.stage(&before).ends_with("      3  0.250000\n    and 2 more\n"));
    }
}
