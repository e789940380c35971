//! Integration tests of the public Rust surface, one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attack;
#[cfg(feature = "torch")]
mod checkpoint;
mod ledger;
#[cfg(feature = "torch")]
mod members;
#[cfg(feature = "torch")]
mod models;
mod monte_carlo;
mod oracle;
mod partition;
mod properties;
mod soundness;
mod speed;
#[cfg(feature = "torch")]
mod stacks;
mod statements;
#[cfg(feature = "torch")]
mod support;
