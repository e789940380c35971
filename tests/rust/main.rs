//! Integration tests of the public Rust surface.
