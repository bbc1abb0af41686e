//! Ways of decoding that fork, extend and drop sequences.
