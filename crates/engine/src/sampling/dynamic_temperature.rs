//! Dynamic temperature: l <- l / T with T = T_min + (T_max - T_min) * (H / H_max)^exponent, where H is the entropy of
//! the tokens in play and H_max = ln(their number) (kalomaze 2023; llama.cpp's `dynatemp`). A sure model is sharpened,
//! an unsure one flattened. With one token in play T = T_min.

use super::candidates::Candidates;
use super::chain::{LogitsProcessor, Step};

#[derive(Debug)]
pub(super) struct DynamicTemperature {
    pub(super) min: f32,
    pub(super) max: f32,
    pub(super) exponent: f32,
}

impl LogitsProcessor for DynamicTemperature {
    fn name(&self) -> &'static str {
        "dynatemp"
    }

    fn apply(&self, candidates: &mut Candidates, _: &Step<'_>) {
        let n = candidates.len();
        if n == 0 {
            return;
        }
        // Rounding may take an entropy a little beyond either end.
        let share = match n {
            1 => 0.0,
            n => (candidates.moments().entropy() / libm::log(n as f64)).clamp(0.0, 1.0),
        };
        let (min, max) = (f64::from(self.min), f64::from(self.max));
        let temperature = min + (max - min) * libm::pow(share, f64::from(self.exponent));
        candidates.divide(temperature as f32);
    }
}
