//! Qwen3 (dense): a norm on each head of q and k, no biases unless asked for; windows as in Qwen2.

use super::{Family, Switches, qwen2};
use limpid_kernels::ops::RopeStyle;

pub(super) const FAMILY: Family = Family {
    gguf: Some("qwen3"),
    hf: "qwen3",
    from_gguf: |keys| {
        let decoder = keys.decoder(RopeStyle::HalfSplit)?;
        let switches = Switches { qk_norm: true, ..keys.switches(&decoder)? };
        Ok(decoder.into_config(switches))
    },
    from_hf: |fields| {
        let decoder = fields.decoder()?;
        let bias = fields.bool("attention_bias")?.unwrap_or(false);
        let switches = Switches {
            windows: qwen2::windows(fields, decoder.n_layers)?,
            qkv_bias: bias,
            o_bias: bias,
            ffn_bias: false,
            qk_norm: true,
        };
        Ok(decoder.into_config(switches))
    },
};
