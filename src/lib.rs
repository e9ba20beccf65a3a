//! farrier: a sampling profiler for Python web workers that never stops, signals
//! or writes to what it reads.
//!
//! Data flows one way, and each stage can be used alone:
//!
//! ```text
//! process ─► python ─► state, endpoint ─► sampler ─► Sink ─┬─► recording ─► (replay) ─┐
//!                                                          └─► profile ◄──────────────┘
//!                                                                 └─► analysis ─► report
//! ```
//!
//! | module | |
//! |---|---|
//! | [`units`] | PIDs, addresses, nanoseconds |
//! | [`model`] | samples, the tables they point into, and the [`model::Sink`] they go to |
//! | [`process`] | the edge to the operating system: memory, `/proc`, ELF files |
//! | [`server`] | who serves: arbiters, their workers, coming and going |
//! | [`python`] | the interpreter: threads, stacks, the GIL, objects |
//! | [`state`] | what a thread is doing, judged from evidence |
//! | [`endpoint`] | which request a thread serves, and under which route |
//! | [`statement`] | what a database is being asked, without values |
//! | [`sampler`] | live sampling: ticks into a sink |
//! | [`profile`] | what samples add up to |
//! | [`recording`] | samples in a file, and out of it again |
//! | [`analysis`] | a profile in numbers |
//! | [`report`] | a profile as a flame graph, text, JSON, folded stacks |
//! | [`live`] | what runs now, at once |
//! | [`cli`] | the command line |
//!
//! A recording, drawn:
//!
//! ```no_run
//! # use farrier::{profile::Builder, recording::replay, report::{FlameGraph, Report}};
//! let mut builder = Builder::new();
//! let replayed = replay(std::fs::File::open("run.farrier")?, &mut builder)?;
//! FlameGraph::default().write(&builder.finish(replayed.tables), &mut std::io::stdout())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod analysis;
pub mod cli;
pub mod endpoint;
pub mod live;
pub mod model;
pub mod process;
pub mod profile;
pub mod python;
pub mod recording;
pub mod report;
pub mod sampler;
pub mod server;
pub mod state;
pub mod statement;
pub mod units;
