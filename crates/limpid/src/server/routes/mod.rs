//! The endpoints.

pub(super) mod completions;
pub(super) mod health;
pub(super) mod metrics;
pub(super) mod models;
pub(super) mod openapi;
pub(super) mod page;
pub(super) mod tokenize;
