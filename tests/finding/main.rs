//! The interpreter is found and rightly read in every kind of process: however it was
//! built, wherever its files are, whatever it is embedded in.

mod builds;
#[path = "../common/mod.rs"]
mod common;
mod embedded;
mod names;
mod namespaces;
mod seen;
mod subinterpreters;
