//! The matcher against a naive search.
