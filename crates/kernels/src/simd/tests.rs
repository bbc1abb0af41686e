//! Every implementation against the portable one.
