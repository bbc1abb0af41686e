//! The GGUF container (v2, v3, split files).
