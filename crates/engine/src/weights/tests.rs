//! Tests of opening models.
