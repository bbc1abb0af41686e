//! `n` and `best_of`: several texts of one prompt, each with random numbers of its own.

use crate::sampling::ParamError;

/// How many texts are made and how many are wanted.
///
/// Choice i draws with the choice index i as part of its key, so that the first one is the text of a request with
/// `n` 1. With more made than wanted, those with the largest mean log-probability of their tokens are given, the best
/// first, and nothing is known of them before all have ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Choices {
    pub n: usize,
    pub best_of: usize,
}

impl Default for Choices {
    fn default() -> Self {
        Choices { n: 1, best_of: 1 }
    }
}

impl Choices {
    pub fn validate(&self) -> Result<(), ParamError> {
        let &Choices { n, best_of } = self;
        if n == 0 {
            return Err(ParamError::new("n", n, "1 or more"));
        }
        if best_of < n {
            return Err(ParamError::new("best_of", best_of, &format!("n ({n}) or more")));
        }
        Ok(())
    }

    /// Whether texts are compared before any is given.
    pub fn are_ranked(&self) -> bool {
        self.best_of > self.n
    }
}
