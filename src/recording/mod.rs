//! The saved run, `.farrier`: written as it goes, readable up to its last whole
//! block, replayed into the same [`Sink`](crate::model::Sink) that live samples go to.
//!
//! ```text
//! "\x89FARRIER"  version: u32         little endian throughout
//! block*                              one or two for each second of recording
//!   kind: u32         1 session, 2 table entries, 3 events, 4 end; others are skipped
//!   stored: u32       bytes of payload that follow
//!   inflated: u32     its length once inflated
//!   check: u32        CRC-32 of the twelve bytes above and the payload
//!   payload           a protobuf message (`v1.rs`), deflated (RFC 1951)
//! ```
//!
//! Table entries come in the order of their handles and before the first event that
//! names them. A file without its end block is a recording that was cut short.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

mod block;
mod columns;
mod handles;
mod read;
mod v1;
mod write;

pub use read::{Error, Replayed, replay};
pub use write::Writer;

/// The newest format version that this build reads, and the one that it writes.
pub const VERSION: u32 = 1;

/// The first byte is not text and not UTF-8, so that nothing takes a recording for
/// either.
const MAGIC: [u8; 8] = *b"\x89FARRIER";

#[cfg(test)]
mod tests;
