//! Weight matrices, repacked at load.
