//! Integration tests of the public Rust surface.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(feature = "torch")]
mod checkpoint;
#[cfg(feature = "torch")]
mod members;
#[cfg(feature = "torch")]
mod models;
#[cfg(feature = "torch")]
mod support;
