//! Integration tests of the public Rust surface, one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod monte_carlo;
mod oracle;
mod soundness;
mod speed;
