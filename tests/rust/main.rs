//! Integration tests of the public Rust surface.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ledger;
