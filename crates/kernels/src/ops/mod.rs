//! The operations of a forward pass.

pub mod add;
pub mod attention;
pub mod glu;
pub mod kv;
pub mod norm;
pub mod rope;
pub mod vocab;

pub use add::{add, add_bias};
pub use attention::{AttentionParams, AttentionRow, AttentionScratch, attention};
pub use glu::swiglu;
pub use kv::{KvFormat, KvShape, KvSlot, KvStorage, PAGE_LEN, kv_write};
pub use norm::{rms_norm, rms_norm_heads};
pub use rope::{RopeAngles, RopeError, RopeScaling, RopeStyle, RopeTable, rope};
pub use vocab::argmax;
