//! farrier: a sampling profiler for Python web workers that never stops, signals
//! or writes to what it reads.
//!
//! Data flows one way:
//!
//! ```text
//! process ─► python ─► state, endpoint ─► sampler ─► Sink ─┬─► recording ─► (replay) ─┐
//!                                                          └─► profile ◄──────────────┘
//!                                                                 └─► analysis ─► report
//! ```

pub mod analysis;
pub mod cli;
pub mod endpoint;
pub mod model;
pub mod process;
pub mod profile;
pub mod python;
pub mod recording;
pub mod report;
pub mod sampler;
pub mod server;
pub mod state;
pub mod units;
