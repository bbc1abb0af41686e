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
/// the window (transformers' `Qwen2Config`). There are none unless `use_sliding_window` is true.
pub(super) fn windows(fields: &Fields<'_>, n_layers: usize) -> Result<Vec<Option<u32>>, ModelError> {
    let slides = match layer_types(fields, n_layers)? {
        Some(slides) => slides,
        None => {
            let first = fields.usize("max_window_layers")?.unwrap_or(28);
            (0..n_layers).map(|layer| layer >= first).collect()
        }
    };
    if !fields.bool("use_sliding_window")?.unwrap_or(false) {
        return Ok(vec![None; n_layers]);
    }
    let window = fields.window_or("sliding_window", 4096)?;
    Ok(slides.into_iter().map(|slides| window.filter(|_| slides)).collect())
}

/// `layer_types`, if it is there: whether each layer has a sliding window.
fn layer_types(fields: &Fields<'_>, n_layers: usize) -> Result<Option<Vec<bool>>, ModelError> {
    const KEY: &str = "layer_types";
    let Some(types) = fields.get(KEY) else { return Ok(None) };
    let types = types.as_array().filter(|types| types.len() == n_layers);
    let types =
        types.ok_or_else(|| fields.error(KEY, format!("a list of {n_layers}, one for each layer")))?;
    let slides = |kind: &serde_json::Value| match kind.as_str() {
        Some("full_attention") => Ok(false),
        Some("sliding_attention") => Ok(true),
        _ => Err(fields.unsupported(KEY, "\"full_attention\" or \"sliding_attention\" for each layer")),
    };
    types.iter().map(slides).collect::<Result<_, _>>().map(Some)
}
