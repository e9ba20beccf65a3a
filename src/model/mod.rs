//! The vocabulary that every stage shares: what a sample is, and the tables that
//! its handles point into. No I/O and nothing of the operating system.
//!
//! ```text
//! sampler ──► Sink::tick(&Tables, &Tick, &[Sample]) ──► profile, recording, screen
//!                   │
//!                   └ strings, functions, frames, stacks, endpoints, statements, threads:
//!                     append-only, so a sink may remember how far it has written
//! ```

mod endpoint;
mod event_loop;
mod request;
mod sample;
mod session;
mod sink;
mod state;
mod statement;
mod suspended;
mod tables;

pub use endpoint::{Endpoint, Framework};
pub use event_loop::LoopBlocked;
pub use request::{Age, Request};
pub use sample::{Grade, RequestId, Sample, Tick};
pub use session::{ListenQueue, ProcessFacts, Progress, Role, Session};
pub use sink::{Note, Sink, Tee};
pub use state::{Evidence, On, State};
pub use statement::{Executions, Statement};
pub use suspended::{Suspended, TaskLook};
pub use tables::{
    EndpointId, Frame, FrameId, Function, FunctionId, OnId, ProcessId, Routing, RoutingId, StackId,
    StackNode, StatementId, StringId, Tables, TargetProcess, Thread, ThreadId,
};
