//! The model: configuration, weights and the one forward pass.
