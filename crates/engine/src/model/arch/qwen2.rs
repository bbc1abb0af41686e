//! Qwen2 and Qwen2.5: biases on q, k and v; a sliding window in some layers, where it is switched on.

use super::hf::Fields;
use super::{Family, Switches};
use crate::model::ModelError;
use limpid_kernels::ops::RopeStyle;

pub(super) const FAMILY: Family = Family {
    gguf: Some("qwen2"),
    hf: "qwen2",
    from_gguf: |keys| {
        let decoder = keys.decoder(RopeStyle::HalfSplit)?;
        let switches = keys.switches(&decoder)?;
        Ok(decoder.into_config(switches))
    },
    from_hf: |fields| {
        let decoder = fields.decoder()?;
        let switches = Switches {
            windows: windows(fields, decoder.n_layers)?,
            qkv_bias: true,
            o_bias: false,
            ffn_bias: false,
            qk_norm: false,
        };
        Ok(decoder.into_config(switches))
    },
};

/// The window of each layer. `layer_types` says it outright; without it the layers from `max_window_layers` on have
/// the window (transformers' `Qwen2Config`). Nothing counts unless `use_sliding_window` is true.
pub(super) fn windows(fields: &Fields<'_>, n_layers: usize) -> Result<Vec<Option<u32>>, ModelError> {
    if !fields.bool("use_sliding_window")?.unwrap_or(false) {
        return Ok(vec![None; n_layers]);
    }
    let Some(window) = fields.usize("sliding_window")? else { return Ok(vec![None; n_layers]) };
    let window = u32::try_from(window).ok().filter(|&window| window > 0);
    let window = window.ok_or_else(|| fields.error("sliding_window", "an integer above 0"))?;
    let Some(types) = fields.get("layer_types") else {
        let first = fields.usize("max_window_layers")?.unwrap_or(28);
        return Ok((0..n_layers).map(|layer| (layer >= first).then_some(window)).collect());
    };
    let expected =
        || fields.error("layer_types", format!("{n_layers} of full_attention or sliding_attention"));
    let types = types.as_array().filter(|types| types.len() == n_layers).ok_or_else(expected)?;
    types
        .iter()
        .map(|kind| match kind.as_str() {
            Some("full_attention") => Ok(None),
            Some("sliding_attention") => Ok(Some(window)),
            _ => Err(expected()),
        })
        .collect::<Result<_, _>>()
}
