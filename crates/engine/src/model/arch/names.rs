//! What each tensor of a decoder is called, in GGUF files and in Hugging Face's.

use crate::weights::Metadata;

/// What a tensor is for. Layers are numbered from 0; those that are not in a layer ignore the number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    Embed,
    RopeFactors,
    AttnNorm,
    Q,
    K,
    V,
    O,
    QBias,
    KBias,
    VBias,
    OBias,
    QNorm,
    KNorm,
    FfnNorm,
    Gate,
    Up,
    Down,
    GateBias,
    UpBias,
    DownBias,
    OutputNorm,
    LmHead,
}

impl Role {
    pub fn name(self, metadata: &Metadata, layer: usize) -> String {
        match metadata {
            Metadata::Gguf(_) => self.gguf(layer),
            Metadata::HuggingFace(_) => self.hf(layer),
        }
    }

    pub fn gguf(self, layer: usize) -> String {
        let in_layer = match self {
            Role::Embed => return "token_embd.weight".to_owned(),
            Role::RopeFactors => return "rope_freqs.weight".to_owned(),
            Role::OutputNorm => return "output_norm.weight".to_owned(),
            Role::LmHead => return "output.weight".to_owned(),
            Role::AttnNorm => "attn_norm.weight",
            Role::Q => "attn_q.weight",
            Role::K => "attn_k.weight",
            Role::V => "attn_v.weight",
            Role::O => "attn_output.weight",
            Role::QBias => "attn_q.bias",
            Role::KBias => "attn_k.bias",
            Role::VBias => "attn_v.bias",
            Role::OBias => "attn_output.bias",
            Role::QNorm => "attn_q_norm.weight",
            Role::KNorm => "attn_k_norm.weight",
            Role::FfnNorm => "ffn_norm.weight",
            Role::Gate => "ffn_gate.weight",
            Role::Up => "ffn_up.weight",
            Role::Down => "ffn_down.weight",
            Role::GateBias => "ffn_gate.bias",
            Role::UpBias => "ffn_up.bias",
            Role::DownBias => "ffn_down.bias",
        };
        format!("blk.{layer}.{in_layer}")
    }

    fn hf(self, layer: usize) -> String {
        let in_layer = match self {
            Role::Embed => return "model.embed_tokens.weight".to_owned(),
            Role::RopeFactors => return "model.rotary_emb.factors".to_owned(),
            Role::OutputNorm => return "model.norm.weight".to_owned(),
            Role::LmHead => return "lm_head.weight".to_owned(),
            Role::AttnNorm => "input_layernorm.weight",
            Role::Q => "self_attn.q_proj.weight",
            Role::K => "self_attn.k_proj.weight",
            Role::V => "self_attn.v_proj.weight",
            Role::O => "self_attn.o_proj.weight",
            Role::QBias => "self_attn.q_proj.bias",
            Role::KBias => "self_attn.k_proj.bias",
            Role::VBias => "self_attn.v_proj.bias",
            Role::OBias => "self_attn.o_proj.bias",
            Role::QNorm => "self_attn.q_norm.weight",
            Role::KNorm => "self_attn.k_norm.weight",
            Role::FfnNorm => "post_attention_layernorm.weight",
            Role::Gate => "mlp.gate_proj.weight",
            Role::Up => "mlp.up_proj.weight",
            Role::Down => "mlp.down_proj.weight",
            Role::GateBias => "mlp.gate_proj.bias",
            Role::UpBias => "mlp.up_proj.bias",
            Role::DownBias => "mlp.down_proj.bias",
        };
        format!("model.layers.{layer}.{in_layer}")
    }

    /// Tensors that old checkpoints carry along and no model reads: RoPE's frequencies are computed from the settings.
    pub fn is_leftover(name: &str) -> bool {
        name.ends_with(".rotary_emb.inv_freq")
    }
}
