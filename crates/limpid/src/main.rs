//! The command line of Limpid.

fn main() {}
