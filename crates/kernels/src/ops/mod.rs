//! The operations of a forward pass.
