//! Time by function.

use crate::model::{EndpointId, FunctionId, StackId, State, Tables};
use crate::profile::Profile;
use crate::units::Nanos;

/// Non-idle thread-time of one function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FunctionTotal {
    pub(super) function: FunctionId,
    /// While it was on top of the stack.
    pub(super) own: Nanos,
    /// While it was anywhere on the stack; a function that is on it several times
    /// counts once.
    pub(super) total: Nanos,
}

/// Time by function for every endpoint that has any, and for all of them together.
#[derive(Debug, Default)]
pub(super) struct FunctionTotals {
    /// In the order of the endpoints' handles.
    pub(super) by_endpoint: Vec<(EndpointId, Vec<FunctionTotal>)>,
    pub(super) all: Vec<FunctionTotal>,
}

impl FunctionTotals {
    pub(super) fn of(profile: &Profile) -> Self {
        let tables = profile.tables();
        let mut stacks: Vec<(EndpointId, StackId, Nanos)> = profile
            .cells()
            .iter()
            .filter(|cell| cell.key.state != State::Idle)
            .filter_map(|cell| Some((cell.key.endpoint, cell.key.stack?, cell.weight)))
            .collect();
        // Threads, states and grades differ; a stack is walked once an endpoint.
        stacks.sort_unstable();
        stacks.dedup_by(|next, kept| {
            let same = (next.0, next.1) == (kept.0, kept.1);
            if same {
                kept.2 += next.2;
            }
            same
        });
        let mut one = Adder::new(tables);
        let mut all = Adder::new(tables);
        let mut by_endpoint = Vec::new();
        for stacks in stacks.chunk_by(|one, other| one.0 == other.0) {
            for &(_, stack, weight) in stacks {
                one.add_stack(tables, stack, weight);
            }
            let totals = one.take();
            for total in &totals {
                all.add(total.function, total.own, total.total);
            }
            by_endpoint.extend(stacks.first().map(|&(endpoint, ..)| (endpoint, totals)));
        }
        Self { by_endpoint, all: all.take() }
    }
}

/// Sums by function, and which functions have one, so that emptying it costs no more
/// than filling it did.
struct Adder {
    sums: Vec<Sum>,
    touched: Vec<FunctionId>,
    stack: u64,
}

#[derive(Clone, Copy, Default)]
struct Sum {
    own: Nanos,
    total: Nanos,
    /// The number of the last stack that it was counted for.
    stack: u64,
    touched: bool,
}

impl Adder {
    fn new(tables: &Tables) -> Self {
        let sums = vec![Sum::default(); tables.functions().len()];
        Self { sums, touched: Vec::new(), stack: 0 }
    }

    fn add_stack(&mut self, tables: &Tables, stack: StackId, weight: Nanos) {
        self.stack += 1;
        let mut own = weight;
        for frame in tables.frames_from_leaf(stack) {
            let function = tables.frame(frame).function;
            let sum = &mut self.sums[function.index()];
            let total = if sum.stack == self.stack { Nanos::ZERO } else { weight };
            sum.stack = self.stack;
            self.add(function, own, total);
            own = Nanos::ZERO;
        }
    }

    fn add(&mut self, function: FunctionId, own: Nanos, total: Nanos) {
        let sum = &mut self.sums[function.index()];
        if !sum.touched {
            sum.touched = true;
            self.touched.push(function);
        }
        sum.own += own;
        sum.total += total;
    }

    fn take(&mut self) -> Vec<FunctionTotal> {
        let sums = &mut self.sums;
        self.touched
            .drain(..)
            .map(|function| {
                let sum = &mut sums[function.index()];
                let Sum { own, total, .. } = *sum;
                *sum = Sum { stack: sum.stack, ..Sum::default() };
                FunctionTotal { function, own, total }
            })
            .collect()
    }
}
