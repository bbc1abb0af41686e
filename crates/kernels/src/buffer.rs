//! Aligned memory.
