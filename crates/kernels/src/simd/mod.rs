//! The virtual vector of 16 lanes.
