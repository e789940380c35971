//! Integration tests of the public Rust surface, one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod oracle;
mod soundness;
