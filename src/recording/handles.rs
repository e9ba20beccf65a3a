//! From positions in a file to handles of the tables being filled.

use super::columns::from_flags;
use super::v1::{self, Entries};
use crate::model::{
    Endpoint, EndpointId, Executions, Frame, FrameId, Function, FunctionId, On, OnId, ProcessId,
    Routing, StackId, StackNode, Statement, StatementId, StringId, Tables, TargetProcess, Thread,
    ThreadId,
};
use crate::units::{Nanos, Pid, Tid};

/// Entries of all tables together. A recording of 200,000 distinct stacks has some
/// millions.
const MAX_ENTRIES: usize = 1 << 26;
/// Bytes of all strings together.
const MAX_STRING_BYTES: usize = 1 << 29;
/// Frames in one stack. CPython's own limit is a thousand unless raised.
const MAX_DEPTH: u32 = 1 << 17;

/// The handle of each entry of the file. A file may hold an entry twice, which a
/// table never does, so positions and handles need not be the same.
#[derive(Debug, Default)]
pub(super) struct Handles {
    strings: Vec<StringId>,
    functions: Vec<FunctionId>,
    frames: Vec<FrameId>,
    stacks: Vec<(StackId, u32)>,
    endpoints: Vec<EndpointId>,
    ons: Vec<OnId>,
    processes: Vec<ProcessId>,
    threads: Vec<ThreadId>,
    statements: Vec<StatementId>,
    entries: usize,
    string_bytes: usize,
}

/// What the entries say cannot be: a position beyond the end, columns of different
/// lengths, or more than is allowed.
#[derive(Debug)]
pub(super) struct Impossible;

fn entry<T: Copy>(table: &[T], position: impl TryInto<usize>) -> Result<T, Impossible> {
    position.try_into().ok().and_then(|index| table.get(index).copied()).ok_or(Impossible)
}

/// The entry of a position that is one higher, where 0 is none.
fn optional_entry<T: Copy>(table: &[T], position: u64) -> Result<Option<T>, Impossible> {
    position.checked_sub(1).map(|position| entry(table, position)).transpose()
}

fn same_lengths<const N: usize>(lengths: [usize; N]) -> Result<(), Impossible> {
    let first = lengths.first();
    if lengths.iter().all(|length| Some(length) == first) { Ok(()) } else { Err(Impossible) }
}

impl Handles {
    /// Adds a block's entries to the tables.
    pub(super) fn add(&mut self, new: &Entries, tables: &mut Tables) -> Result<(), Impossible> {
        self.account(new)?;
        for string in &new.strings {
            self.strings.push(tables.intern_string(string));
        }
        self.add_functions(new, tables)?;
        self.add_frames(new, tables)?;
        self.add_stacks(new, tables)?;
        self.add_endpoints(new, tables)?;
        self.add_ons(new, tables)?;
        self.add_processes(new, tables)?;
        self.add_threads(new, tables)?;
        self.add_routings(new, tables)?;
        self.add_statements(new, tables)
    }

    fn account(&mut self, new: &Entries) -> Result<(), Impossible> {
        let counts = [
            new.strings.len(),
            new.function_name.len(),
            new.frame_function.len(),
            new.stack_frame.len(),
            new.endpoint_label.len(),
            new.on_name.len(),
            new.process_pid.len(),
            new.thread_tid.len(),
            new.routing_path.len(),
            new.statement_text.len(),
        ];
        let bytes = new.strings.iter().map(String::len);
        self.entries = counts.into_iter().fold(self.entries, usize::saturating_add);
        self.string_bytes = bytes.fold(self.string_bytes, usize::saturating_add);
        if self.entries > MAX_ENTRIES || self.string_bytes > MAX_STRING_BYTES {
            return Err(Impossible);
        }
        Ok(())
    }

    fn add_functions(&mut self, new: &Entries, tables: &mut Tables) -> Result<(), Impossible> {
        let (names, files, lines) = (&new.function_name, &new.function_file, &new.function_line);
        same_lengths([names.len(), files.len(), lines.len()])?;
        for ((&name, &file), &first_line) in names.iter().zip(files).zip(lines) {
            let name = entry(&self.strings, name)?;
            let file = entry(&self.strings, file)?;
            self.functions.push(tables.intern_function(Function { name, file, first_line }));
        }
        Ok(())
    }

    fn add_frames(&mut self, new: &Entries, tables: &mut Tables) -> Result<(), Impossible> {
        same_lengths([new.frame_function.len(), new.frame_line.len()])?;
        for (&function, &line) in new.frame_function.iter().zip(&new.frame_line) {
            let function = entry(&self.functions, function)?;
            self.frames.push(tables.intern_frame(Frame { function, line }));
        }
        Ok(())
    }

    fn add_stacks(&mut self, new: &Entries, tables: &mut Tables) -> Result<(), Impossible> {
        let distances = &new.stack_parent_distance;
        same_lengths([distances.len(), new.stack_frame.len()])?;
        for (&distance, &frame) in distances.iter().zip(&new.stack_frame) {
            let (parent, depth) = match usize::try_from(distance).map_err(|_| Impossible)? {
                0 => (None, 1),
                distance => {
                    let at = self.stacks.len().checked_sub(distance).ok_or(Impossible)?;
                    let (parent, depth) = entry(&self.stacks, at)?;
                    (Some(parent), depth.saturating_add(1))
                }
            };
            if depth > MAX_DEPTH {
                return Err(Impossible);
            }
            let frame = entry(&self.frames, frame)?;
            self.stacks.push((tables.intern_stack(StackNode { parent, frame }), depth));
        }
        Ok(())
    }

    fn add_endpoints(&mut self, new: &Entries, tables: &mut Tables) -> Result<(), Impossible> {
        let (labels, methods, routes) =
            (&new.endpoint_label, &new.endpoint_method, &new.endpoint_route);
        let (frameworks, handlers) = (&new.endpoint_framework, &new.endpoint_handler);
        same_lengths([
            labels.len(),
            methods.len(),
            routes.len(),
            frameworks.len(),
            handlers.len(),
        ])?;
        let columns = labels.iter().zip(methods).zip(routes).zip(frameworks).zip(handlers);
        for ((((&label, &method), &route), &framework), &handler) in columns {
            let endpoint = Endpoint {
                label: entry(&self.strings, label)?,
                method: optional_entry(&self.strings, method.into())?,
                route: optional_entry(&self.strings, route.into())?,
                framework: v1::framework(framework),
                handler: optional_entry(&self.strings, handler.into())?,
            };
            self.endpoints.push(tables.intern_endpoint(endpoint));
        }
        Ok(())
    }

    fn add_ons(&mut self, new: &Entries, tables: &mut Tables) -> Result<(), Impossible> {
        let (names, functions, endpoints) = (&new.on_name, &new.on_function, &new.on_endpoint);
        same_lengths([names.len(), functions.len(), endpoints.len()])?;
        for ((&name, &function), &endpoint) in names.iter().zip(functions).zip(endpoints) {
            let on = match optional_entry(&self.strings, name.into())? {
                Some(name) => On::Named(name),
                None => On::Holder {
                    function: entry(&self.functions, function)?,
                    endpoint: entry(&self.endpoints, endpoint)?,
                },
            };
            self.ons.push(tables.intern_on(on));
        }
        Ok(())
    }

    fn add_processes(&mut self, new: &Entries, tables: &mut Tables) -> Result<(), Impossible> {
        same_lengths([new.process_pid.len(), new.process_start_time.len()])?;
        for (&pid, &start_time) in new.process_pid.iter().zip(&new.process_start_time) {
            let process = TargetProcess { pid: Pid::new(pid), start_time };
            self.processes.push(tables.intern_process(process));
        }
        Ok(())
    }

    fn add_threads(&mut self, new: &Entries, tables: &mut Tables) -> Result<(), Impossible> {
        let (processes, tids, names) = (&new.thread_process, &new.thread_tid, &new.thread_name);
        same_lengths([processes.len(), tids.len(), names.len()])?;
        for ((&process, &tid), &name) in processes.iter().zip(tids).zip(names) {
            let process = entry(&self.processes, process)?;
            let name = entry(&self.strings, name)?;
            let thread = Thread { process, tid: Tid::new(tid), name };
            self.threads.push(tables.intern_thread(thread));
        }
        Ok(())
    }

    fn add_routings(&self, new: &Entries, tables: &mut Tables) -> Result<(), Impossible> {
        same_lengths([new.routing_path.len(), new.routing_route.len()])?;
        for (&path, &route) in new.routing_path.iter().zip(&new.routing_route) {
            let path = entry(&self.endpoints, path)?;
            let route = entry(&self.endpoints, route)?;
            tables.intern_routing(Routing { path, route });
        }
        Ok(())
    }

    fn add_statements(&mut self, new: &Entries, tables: &mut Tables) -> Result<(), Impossible> {
        for &text in &new.statement_text {
            let text = entry(&self.strings, text)?;
            self.statements.push(tables.intern_statement(Statement { text }));
        }
        Ok(())
    }

    pub(super) fn threads(&self) -> usize {
        self.threads.len()
    }

    pub(super) fn thread(&self, position: u64) -> Result<ThreadId, Impossible> {
        entry(&self.threads, position)
    }

    pub(super) fn string(&self, position: u32) -> Result<StringId, Impossible> {
        entry(&self.strings, position)
    }

    pub(super) fn process(&self, position: u32) -> Result<ProcessId, Impossible> {
        entry(&self.processes, position)
    }

    pub(super) fn function(&self, position: u32) -> Result<FunctionId, Impossible> {
        entry(&self.functions, position)
    }

    pub(super) fn endpoint(&self, position: u64) -> Result<EndpointId, Impossible> {
        entry(&self.endpoints, position)
    }

    pub(super) fn stack(&self, position: u64) -> Result<Option<StackId>, Impossible> {
        Ok(optional_entry(&self.stacks, position)?.map(|(stack, _)| stack))
    }

    pub(super) fn statement(&self, position: u64) -> Result<Option<StatementId>, Impossible> {
        optional_entry(&self.statements, position)
    }

    /// What is said of executions, with handles of the tables. A number that cannot be is
    /// none.
    pub(super) fn executions(&self, stored: &v1::Executions) -> Result<Executions, Impossible> {
        let number = |number: f64| if number.is_finite() { number.max(0.0) } else { 0.0 };
        Ok(Executions {
            thread: self.thread(stored.thread.into())?,
            endpoint: self.endpoint(stored.endpoint.into())?,
            state: from_flags(stored.state).0,
            on: self.on(stored.on.into())?,
            statement: entry(&self.statements, stored.statement)?,
            seen: stored.seen,
            samples: stored.samples,
            weight: Nanos::from_nanos(stored.weight),
            looks: stored.looks,
            looked: Nanos::from_nanos(stored.looked),
            waited: Nanos::from_nanos(stored.waited),
            ended: stored.ended,
            estimate: number(stored.estimate),
            variance: number(stored.variance),
        })
    }

    pub(super) fn on(&self, position: u64) -> Result<Option<OnId>, Impossible> {
        optional_entry(&self.ons, position)
    }
}
