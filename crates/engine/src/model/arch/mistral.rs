//! Mistral 7B and its like: Llama with, in the first version, a sliding window in all layers.

use super::{Family, Switches};
use crate::model::ModelError;

pub(super) const FAMILY: Family = Family {
    gguf: None, // converters write "llama"
    hf: "mistral",
    from_gguf: super::llama::FAMILY.from_gguf,
    from_hf: |fields| {
        let decoder = fields.decoder()?;
        let window = match fields.usize("sliding_window")? {
            Some(window) => {
                let window = u32::try_from(window).ok().filter(|&window| window > 0);
                Some(window.ok_or_else(|| fields.error("sliding_window", "an integer above 0"))?)
            }
            None => None,
        };
        let switches = Switches {
            windows: vec![window; decoder.n_layers],
            qkv_bias: false,
            o_bias: false,
            ffn_bias: false,
            qk_norm: false,
        };
        Ok::<_, ModelError>(decoder.into_config(switches))
    },
};
