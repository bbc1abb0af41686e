//! Llama 2 and 3, and what is built like them: SmolLM2, TinyLlama, Mistral in GGUF files.

use super::{Family, Switches};
use limpid_kernels::ops::RopeStyle;

pub(super) const FAMILY: Family = Family {
    gguf: Some("llama"),
    hf: "llama",
    from_gguf: |keys| {
        // Converters reorder the rows of q and k so that the two of a pair are neighbours.
        let decoder = keys.decoder(RopeStyle::Interleaved)?;
        let switches = keys.switches(&decoder)?;
        Ok(decoder.into_config(switches))
    },
    from_hf: |fields| {
        let decoder = fields.decoder()?;
        let bias = fields.bool("attention_bias")?.unwrap_or(false);
        let switches = Switches {
            windows: vec![None; decoder.n_layers],
            qkv_bias: bias,
            o_bias: bias,
            ffn_bias: fields.bool("mlp_bias")?.unwrap_or(false),
            qk_norm: false,
        };
        Ok(decoder.into_config(switches))
    },
};
