//! The layer groups of a model: layers whose keys and values are alike share one.

use super::config::{MixerConfig, ModelConfig};
use crate::kv::{KvGroupLayout, KvLayout};
use limpid_kernels::ops::{KvFormat, KvShape};

pub fn kv_layout(config: &ModelConfig, format: KvFormat) -> KvLayout {
    let mut groups: Vec<KvGroupLayout> = Vec::new();
    for (i, layer) in config.layers.iter().enumerate() {
        let MixerConfig::Attention(a) = &layer.mixer;
        let shape = KvShape { n_layers: 1, n_kv_heads: a.n_kv_heads, head_dim: a.head_dim, format };
        let alike = |group: &&mut KvGroupLayout| {
            group.window == a.window && KvShape { n_layers: 1, ..group.shape } == shape
        };
        match groups.iter_mut().find(alike) {
            Some(group) => {
                group.layers.push(i);
                group.shape.n_layers += 1;
            }
            None => groups.push(KvGroupLayout { shape, layers: vec![i], window: a.window }),
        }
    }
    KvLayout { groups }
}
