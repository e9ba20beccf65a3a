//! Requests in flight, followed from tick to tick.

use rustc_hash::FxHashMap;

use super::latency::{Durations, Gaps};
use super::slow::{Over, SlowLog};
use crate::model::{
    EndpointId, Grade, ProcessFacts, ProcessId, Request, RequestId, Sample, Session, Tables,
    ThreadId, Tick,
};
use crate::units::Nanos;

/// Worker classes in which one thread has many requests at a time: a request is seen only
/// while its own code runs, so how long it takes is not.
const ONE_THREAD_FOR_MANY: [&str; 6] =
    ["gevent", "eventlet", "tornado", "asgi", "uvicorn", "aiohttp"];

/// Follows requests.
#[derive(Debug, Default)]
pub(super) struct Flights {
    processes: Vec<Watched>,
    threads: Vec<Looks>,
    /// What was told of requests that the next tick has.
    told: Vec<(RequestId, Option<i64>)>,
    durations: FxHashMap<(ProcessId, EndpointId), Durations>,
    gaps: Gaps,
    slow: Option<SlowLog>,
    in_flight: InFlight,
}

/// A process.
#[derive(Debug, Default)]
struct Watched {
    id: Option<ProcessId>,
    first_tick: Option<Nanos>,
    last_tick: Option<Nanos>,
    flights: Vec<Flight>,
    /// Whether its worker class has one thread for many requests.
    of_loop_class: bool,
    /// Whether it has an event loop. Then requests of which no start is noted are the loop's.
    has_tasks: bool,
    /// Whether there was a request of which none is.
    has_unnoted: bool,
    ticked_in_round: bool,
}

/// When a thread was looked at.
#[derive(Debug, Clone, Copy, Default)]
struct Looks {
    /// The last look that told what it served, if anything.
    last: Option<Nanos>,
    /// The last one that did not.
    unsure: Option<Nanos>,
    serves: bool,
}

/// A request in flight.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) id: RequestId,
    pub(super) thread: ThreadId,
    pub(super) endpoint: EndpointId,
    /// When it began, since the recording did, where the server says so.
    pub(super) started: Option<i64>,
    /// The last look at its thread without it.
    before: Option<Nanos>,
    pub(super) first: Nanos,
    pub(super) last: Nanos,
    pub(super) over: Over,
}

/// What all requests of an endpoint in a process come to.
#[derive(Debug, Clone)]
pub(super) struct RequestTimes {
    pub(super) process: ProcessId,
    pub(super) endpoint: EndpointId,
    pub(super) durations: Durations,
}

/// What following them came to.
#[derive(Debug, Clone, Default)]
pub(super) struct Followed {
    pub(super) times: Vec<RequestTimes>,
    pub(super) gaps: Gaps,
    /// The most requests that were in flight at the same time in all processes.
    pub(super) most_in_flight: Vec<(EndpointId, u64)>,
    pub(super) slow: Option<SlowLog>,
}

/// How many requests are in flight, by endpoint.
#[derive(Debug, Default)]
struct InFlight {
    counts: FxHashMap<EndpointId, Count>,
    /// Endpoints that may have more than ever.
    risen: Vec<EndpointId>,
}

#[derive(Debug, Default)]
struct Count {
    now: u64,
    most: u64,
}

impl InFlight {
    fn begins(&mut self, endpoint: EndpointId) {
        let count = self.counts.entry(endpoint).or_default();
        count.now += 1;
        if count.now > count.most && !self.risen.contains(&endpoint) {
            self.risen.push(endpoint);
        }
    }

    fn ends(&mut self, endpoint: EndpointId) {
        if let Some(count) = self.counts.get_mut(&endpoint) {
            count.now = count.now.saturating_sub(1);
        }
    }

    /// All processes have been looked at: what is in flight now is so at the same time.
    fn round(&mut self) {
        for endpoint in self.risen.drain(..) {
            if let Some(count) = self.counts.get_mut(&endpoint) {
                count.most = count.most.max(count.now);
            }
        }
    }
}

/// Nanoseconds as they are counted for what may be before the recording.
fn signed(at: Nanos) -> i64 {
    i64::try_from(at.as_nanos()).unwrap_or(i64::MAX)
}

/// How long it is from one moment to another; nothing if the other is earlier.
pub(super) fn from_to(start: i64, end: Nanos) -> Nanos {
    Nanos::from_nanos(signed(end).saturating_sub(start).max(0).unsigned_abs())
}

impl Flights {
    /// The recording begins.
    pub(super) fn begin(&mut self, session: &Session) {
        self.slow = session.slow.map(SlowLog::new);
    }

    /// What is known of a process has changed.
    pub(super) fn process(&mut self, id: ProcessId, facts: &ProcessFacts) {
        let class = facts.worker_class.as_deref().unwrap_or_default();
        let watched = entry(&mut self.processes, id.index());
        watched.of_loop_class |= ONE_THREAD_FOR_MANY.iter().any(|of| class.contains(of));
        if let Some(left) = facts.left {
            // What it served ended with it.
            for flight in std::mem::take(&mut watched.flights) {
                self.end(id, flight, Some(left));
            }
        }
    }

    /// A process has an event loop whose tasks are looked at.
    pub(super) fn has_tasks(&mut self, id: ProcessId) {
        entry(&mut self.processes, id.index()).has_tasks = true;
    }

    /// What is known of a request that the next tick has.
    pub(super) fn request(&mut self, request: &Request<'_>) {
        self.told.push((request.id, request.started));
    }

    /// All threads of a process at one instant.
    pub(super) fn tick(&mut self, tables: &Tables, tick: &Tick, samples: &[Sample]) {
        let at = tick.at;
        if entry(&mut self.processes, tick.process.index()).ticked_in_round {
            self.in_flight.round();
            self.processes.iter_mut().for_each(|watched| watched.ticked_in_round = false);
        }
        let mut watched = std::mem::take(&mut self.processes[tick.process.index()]);
        watched.id = Some(tick.process);
        watched.ticked_in_round = true;
        watched.first_tick.get_or_insert(at);
        let mut cursor = 0;
        for sample in samples {
            let looks = entry(&mut self.threads, sample.thread.index());
            let Some(id) = sample.request else {
                if is_unsure(sample, tables) {
                    looks.unsure = Some(at);
                } else {
                    looks.at(at, &mut self.gaps);
                }
                continue;
            };
            looks.serves = true;
            // They come in the same order at each tick.
            let known = watched.flights.iter().skip(cursor).position(|flight| flight.id == id);
            let known = known
                .map(|further| cursor + further)
                .or_else(|| watched.flights.iter().take(cursor).position(|flight| flight.id == id));
            let index = known.unwrap_or_else(|| {
                let told = self.told.iter().rfind(|(told, _)| *told == id);
                let started = told.and_then(|&(_, started)| started);
                self.in_flight.begins(sample.endpoint);
                watched.has_unnoted |= started.is_none();
                watched.flights.push(Flight {
                    id,
                    thread: sample.thread,
                    endpoint: sample.endpoint,
                    started,
                    before: looks.last.or(watched.last_tick),
                    first: at,
                    last: at,
                    over: Over::default(),
                });
                watched.flights.len() - 1
            });
            looks.at(at, &mut self.gaps);
            cursor = index + 1;
            let flight = &mut watched.flights[index];
            flight.last = at;
            if flight.endpoint != sample.endpoint {
                self.in_flight.ends(flight.endpoint);
                self.in_flight.begins(sample.endpoint);
                flight.endpoint = sample.endpoint;
            }
            if self.slow.is_some() {
                flight.over.add(at, sample, tables);
            }
        }
        let mut index = 0;
        while let Some(flight) = watched.flights.get(index) {
            let looks = self.threads.get(flight.thread.index()).copied().unwrap_or_default();
            if flight.last == at || looks.unsure == Some(at) {
                index += 1;
                continue;
            }
            let flight = watched.flights.swap_remove(index);
            self.end_in(tick.process, &watched, flight, Some(at));
        }
        watched.last_tick = Some(at);
        self.processes[tick.process.index()] = watched;
        self.told.clear();
    }

    fn end(&mut self, process: ProcessId, flight: Flight, end: Option<Nanos>) {
        let watched = std::mem::take(entry(&mut self.processes, process.index()));
        self.end_in(process, &watched, flight, end);
        self.processes[process.index()] = watched;
    }

    /// A request is over by `end`, or is still in flight at the end of the recording.
    fn end_in(
        &mut self,
        process: ProcessId,
        watched: &Watched,
        flight: Flight,
        end: Option<Nanos>,
    ) {
        self.in_flight.ends(flight.endpoint);
        let durations = self.durations.entry((process, flight.endpoint)).or_default();
        let first_tick = watched.first_tick.unwrap_or_default();
        match (flight.started, flight.before) {
            (Some(start), _) if start >= signed(first_tick) => {
                let most = end.map(|end| from_to(start, end));
                durations.add(from_to(start, flight.last), most, true);
            }
            (None, Some(before)) => {
                let least = flight.last.saturating_sub(flight.first);
                let most = end.map(|end| end.saturating_sub(before));
                durations.add(least, most, false);
            }
            (Some(start), _) => durations.lasted(from_to(start, flight.last)),
            (None, None) => durations.lasted(flight.last.saturating_sub(flight.first)),
        }
        if let Some(slow) = &mut self.slow {
            slow.offer(flight, end);
        }
    }

    /// The recording is over.
    pub(super) fn finish(mut self) -> Followed {
        self.in_flight.round();
        for index in 0..self.processes.len() {
            let flights = std::mem::take(&mut self.processes[index].flights);
            let Some(process) = self.processes[index].id else { continue };
            for flight in flights {
                self.end(process, flight, None);
            }
        }
        let is_loop = |process: &ProcessId| self.processes[process.index()].is_loop();
        let times = self.durations.into_iter().filter(|((process, _), _)| !is_loop(process));
        let mut times: Vec<_> = times
            .map(|((process, endpoint), durations)| RequestTimes { process, endpoint, durations })
            .collect();
        times.sort_unstable_by_key(|of| (of.process, of.endpoint));
        let counts = self.in_flight.counts.into_iter();
        let mut most_in_flight: Vec<_> =
            counts.map(|(endpoint, count)| (endpoint, count.most)).collect();
        if self.processes.iter().any(Watched::is_loop) {
            // Those that wait are in flight too, and were not seen.
            most_in_flight.clear();
        }
        most_in_flight.sort_unstable_by_key(|&(endpoint, _)| endpoint);
        Followed { times, gaps: self.gaps, most_in_flight, slow: self.slow }
    }
}

impl Followed {
    /// All endpoints in it, to be joined with their routes.
    pub(super) fn endpoints(&mut self) -> impl Iterator<Item = &mut EndpointId> {
        let slow = self.slow.iter_mut().flat_map(|slow| &mut slow.kept);
        let times = self.times.iter_mut().map(|of| &mut of.endpoint);
        let most = self.most_in_flight.iter_mut().map(|(endpoint, _)| endpoint);
        times.chain(most).chain(slow.map(|slow| &mut slow.endpoint))
    }

    /// Puts together what has become alike. A request is under either name for a part of its
    /// time: the most in flight is at least this.
    pub(super) fn join(&mut self) {
        self.most_in_flight.sort_unstable_by_key(|&(endpoint, most)| (endpoint, u64::MAX - most));
        self.most_in_flight.dedup_by_key(|(endpoint, _)| *endpoint);
    }
}

impl Watched {
    /// Whether its requests are seen only while their own code runs.
    const fn is_loop(&self) -> bool {
        self.of_loop_class || self.has_tasks && self.has_unnoted
    }
}

impl Looks {
    /// A look that has told what the thread serves, if anything.
    fn at(&mut self, at: Nanos, gaps: &mut Gaps) {
        if let Some(last) = self.last.replace(at)
            && self.serves
            && at > last
        {
            gaps.add(at.saturating_sub(last));
        }
    }
}

/// Whether a sample without a request does not tell that there is none.
fn is_unsure(sample: &Sample, tables: &Tables) -> bool {
    matches!(sample.grade, Grade::Partial | Grade::Lost)
        || tables.string(tables.endpoint(sample.endpoint).label) == "(unsettled)"
}

fn entry<T: Default>(of: &mut Vec<T>, index: usize) -> &mut T {
    if of.len() <= index {
        of.resize_with(index + 1, T::default);
    }
    &mut of[index]
}
