//! The naive version of every operation, in f64.
