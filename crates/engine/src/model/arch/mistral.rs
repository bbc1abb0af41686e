//! Mistral 7B and its like: Llama with, in the first version, a sliding window in all layers.

use super::{Family, Switches};

pub(super) const FAMILY: Family = Family {
    gguf: None, // converters write "llama"
    hf: "mistral",
    from_gguf: super::llama::FAMILY.from_gguf,
    from_hf: |fields| {
        let decoder = fields.decoder()?;
        let switches = Switches {
            // As in transformers' `MistralConfig`: only an explicit null means that there is none.
            windows: vec![fields.window_or("sliding_window", 4096)?; decoder.n_layers],
            qkv_bias: false,
            o_bias: false,
            ffn_bias: false,
            qk_norm: false,
        };
        Ok(decoder.into_config(switches))
    },
};
