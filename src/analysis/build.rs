//! Working out a summary.

use super::gil::gil;
use super::requests::{EndpointRequests, in_flight, per_second, requests};
use super::shares::{Shares, by_own_time, by_seconds, share};
use super::slow::slow;
use super::statements::{Statements, rounded};
use super::summary::{
    EndpointRow, EvidenceCounts, FunctionRow, FunctionTime, Listen, LoopBlockedRow, NoteRow,
    ProcessRow, Recorded, Sampling, StateSeconds, Summary, TasksRow,
};
use super::totals::{FunctionTotal, FunctionTotals};
use super::waits::Waits;
use crate::model::{Grade, ListenQueue, ProcessFacts, ProcessId, State, Tables};
use crate::profile::{LoopHolder, Profile, TasksSeen};
use crate::units::Nanos;

impl Summary {
    /// Works out all that a profile says.
    pub fn of(profile: &Profile) -> Self {
        let tables = profile.tables();
        let mut states = StateSeconds::default();
        for cell in profile.cells() {
            states.add(cell.key.state, cell.weight);
        }
        let shares = Shares(states.busy());
        let totals = FunctionTotals::of(profile);
        let waits = Waits::of(profile);
        let statements = Statements::of(profile);
        let mut functions: Vec<_> = totals
            .all
            .iter()
            .map(|total| FunctionRow {
                time: function_time(tables, total),
                self_share: shares.of(total.own),
                total_share: shares.of(total.total),
            })
            .collect();
        functions.sort_by(|one, other| by_own_time(&one.time, &other.time));
        let note = |note: &crate::model::Note| NoteRow {
            at_s: note.at.as_secs_f64(),
            text: note.text.clone(),
        };
        Self {
            schema: "farrier/summary/1",
            farrier_version: profile.session().farrier_version.clone(),
            recorded: recorded(profile),
            processes: processes(profile),
            sampling: sampling(profile),
            endpoints: endpoints(profile, &shares, &totals, &waits),
            functions,
            states,
            gil: gil(profile, &shares),
            waits: waits.all(tables, &shares, &statements),
            statements: statements.all(&shares),
            loop_blocked: loop_blocked(profile),
            tasks: tasks(profile),
            slow: slow(profile),
            listen: profile.listen().iter().map(|queue| listen(tables, queue)).collect(),
            notes: profile.notes().iter().map(note).collect(),
        }
    }
}

fn recorded(profile: &Profile) -> Recorded {
    let session = profile.session().clone();
    // Any 64-bit number of nanoseconds is a time that can be written.
    let start = jiff::Timestamp::from_nanosecond(i128::from(session.start_unix_ns));
    Recorded {
        start: start.unwrap_or_default().to_string(),
        duration_s: profile.progress().elapsed.as_secs_f64(),
        rate_hz: session.rate_hz,
        host: session.host,
        cpus: session.cpus,
        cpu_quota: session.cpu_quota,
        command: session.command,
        slow_ms: session.slow.map(|slow| slow.as_secs_f64() * 1e3),
        slow_requests: profile.slow().map(|slow| slow.count),
        target: session.target,
        complete: profile.is_complete(),
    }
}

fn listen(tables: &Tables, queue: &ListenQueue) -> Listen {
    let looked = queue.looks > 0;
    Listen {
        address: tables.string(queue.address).to_owned(),
        backlog_mean: looked.then(|| queue.waiting as f64 / queue.looks as f64),
        backlog_max: looked.then_some(queue.most),
        backlog_limit: queue.limit,
    }
}

fn processes(profile: &Profile) -> Vec<ProcessRow> {
    let tables = profile.tables();
    let mut states = vec![StateSeconds::default(); tables.processes().len()];
    for cell in profile.cells() {
        let process = tables.thread(cell.key.thread).process;
        states[process.index()].add(cell.key.state, cell.weight);
    }
    let row = |(id, facts): &(ProcessId, ProcessFacts)| {
        let states = &states[id.index()];
        let all = states.all();
        let facts = facts.clone();
        let watched = facts.requests.map(|_| facts.requests_watched.as_secs_f64());
        let requests_per_s = per_second(&facts);
        ProcessRow {
            pid: facts.pid.get(),
            role: facts.role,
            server: facts.server,
            worker_class: facts.worker_class,
            threads: facts.threads,
            python: facts.python,
            free_threaded: facts.free_threaded,
            requests: facts.requests,
            requests_watched_s: watched,
            requests_per_s,
            busy_share: (all > Nanos::ZERO).then(|| share(states.busy(), all)),
            cpu_s: facts.cpu.as_secs_f64(),
            runqueue_s: facts.runqueue.as_secs_f64(),
            rss_bytes_first: facts.rss_bytes_first,
            rss_bytes_last: facts.rss_bytes_last,
            exited: facts.left.is_some(),
        }
    };
    profile.processes().iter().map(row).collect()
}

fn loop_blocked(profile: &Profile) -> Vec<LoopBlockedRow> {
    let tables = profile.tables();
    let row = |holder: &LoopHolder| {
        let function = tables.function(holder.function);
        let text = |id| tables.string(id).to_owned();
        let limits = LoopHolder::LIMITS.into_iter().zip(holder.times);
        LoopBlockedRow {
            pid: tables.process(holder.process).pid.get(),
            endpoint: text(tables.endpoint(holder.endpoint).label),
            function: text(function.name),
            file: Some(text(function.file)).filter(|file| !file.is_empty()),
            line: Some(function.first_line).filter(|&line| line > 0),
            longest_ms: holder.longest.as_secs_f64() * 1e3,
            seconds: holder.total.as_secs_f64(),
            times: holder.times[0],
            times_over_ms: limits.filter(|(_, times)| *times > 0).collect(),
        }
    };
    let mut rows: Vec<_> = profile.loop_holders().iter().map(row).collect();
    rows.sort_by(|one, other| by_seconds(one.longest_ms, other.longest_ms));
    rows
}

fn tasks(profile: &Profile) -> Vec<TasksRow> {
    let row = |seen: &TasksSeen| {
        let own = profile.suspended().iter().filter(|cell| cell.process == seen.process);
        let suspended: Nanos = own.map(|cell| cell.weight).sum();
        let part = |part: u64, all: u64| part as f64 / all.max(1) as f64;
        TasksRow {
            pid: profile.tables().process(seen.process).pid.get(),
            mean: part(seen.tasks, seen.looks),
            most: seen.most,
            looks: seen.looks,
            looked_share: part(seen.looked, seen.tasks),
            moved_share: part(seen.moved, seen.looked),
            suspended_s: suspended.as_secs_f64(),
        }
    };
    profile.tasks_seen().iter().map(row).collect()
}

fn sampling(profile: &Profile) -> Sampling {
    let mut grades = [0; Grade::ALL.len()];
    let mut evidence = EvidenceCounts::default();
    for cell in profile.cells() {
        grades[cell.key.grade as usize] += cell.samples;
        evidence.add(cell.key.evidence, cell.samples);
    }
    let progress = profile.progress();
    let [exact, functions, partial, lost] = grades;
    let duration = progress.elapsed.as_secs_f64();
    Sampling {
        ticks: progress.ticks,
        missed_ticks: progress.missed_ticks,
        samples: grades.iter().sum(),
        exact,
        functions,
        partial,
        lost,
        evidence,
        sampler_cpu_s: progress.sampler_cpu.as_secs_f64(),
        rate_reached_hz: (duration > 0.0).then(|| progress.ticks as f64 / duration),
        cpu_budget: profile.session().cpu_budget,
        slowed_s: progress.slowed.as_secs_f64(),
        cut_stacks: progress.cut_stacks,
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct EndpointSum {
    states: StateSeconds,
    cpu: Nanos,
    gil_held: Nanos,
    requests: u64,
    suspended: Nanos,
    seen: bool,
}

fn endpoints(
    profile: &Profile,
    shares: &Shares,
    totals: &FunctionTotals,
    waits: &Waits,
) -> Vec<EndpointRow> {
    let tables = profile.tables();
    let mut sums = vec![EndpointSum::default(); tables.endpoints().len()];
    for cell in profile.cells() {
        let sum = &mut sums[cell.key.endpoint.index()];
        sum.seen = true;
        sum.states.add(cell.key.state, cell.weight);
        sum.cpu += cell.cpu;
        sum.gil_held += cell.gil_held;
    }
    for seen in profile.requests() {
        let sum = &mut sums[seen.endpoint.index()];
        sum.requests += seen.count;
        sum.seen = true;
    }
    for cell in profile.suspended() {
        let sum = &mut sums[cell.endpoint.index()];
        sum.seen = true;
        if cell.state != State::Idle {
            sum.suspended += cell.weight;
        }
    }
    let mut functions = vec![Vec::new(); sums.len()];
    for (endpoint, totals) in &totals.by_endpoint {
        let rows = &mut functions[endpoint.index()];
        rows.extend(totals.iter().map(|total| function_time(tables, total)));
        rows.sort_by(by_own_time);
    }
    let mut waits_of = waits.by_endpoint(tables);
    let mut waits = vec![Vec::new(); sums.len()];
    for (endpoint, rows) in waits_of.drain() {
        waits[endpoint.index()] = rows;
    }
    let text = |id: Option<_>| id.map(|id| tables.string(id).to_owned());
    let duration = profile.progress().elapsed.as_secs_f64();
    let mut of_requests = vec![EndpointRequests::default(); sums.len()];
    for (endpoint, of) in requests(profile) {
        of_requests[endpoint.index()] = of;
    }
    let parts = sums.iter().zip(functions).zip(waits).zip(of_requests);
    let rows = tables.endpoints().iter().zip(parts).filter(|(_, (((sum, _), _), _))| sum.seen);
    let mut rows: Vec<_> = rows
        .map(|(endpoint, (((sum, functions), waits), requests))| {
            let number = requests.number;
            let each = |seconds: f64| number.filter(|&of| of > 0.0).map(|of| seconds / of);
            let seconds = sum.states.busy().as_secs_f64();
            EndpointRow {
                endpoint: tables.string(endpoint.label).to_owned(),
                method: text(endpoint.method),
                route: text(endpoint.route),
                framework: endpoint.framework.name(),
                handler: text(endpoint.handler),
                suspended_s: sum.suspended.as_secs_f64(),
                seconds,
                share: shares.of(sum.states.busy()),
                cpu_s: sum.cpu.as_secs_f64(),
                gil_held_s: sum.gil_held.as_secs_f64(),
                requests_seen: sum.requests,
                requests_est: number.map(rounded),
                requests_per_s: number.filter(|_| duration > 0.0).map(|of| of / duration),
                seconds_per_request: each(seconds),
                cpu_per_request_s: each(sum.cpu.as_secs_f64()),
                in_flight: in_flight(
                    sum.states.all().saturating_add(sum.suspended).as_secs_f64(),
                    duration,
                    requests.most_in_flight,
                ),
                states: sum.states,
                waits,
                latency_ms: requests.latency,
                functions,
            }
        })
        .collect();
    rows.sort_by(|one, other| {
        by_seconds(one.seconds, other.seconds)
            .then_with(|| by_seconds(one.suspended_s, other.suspended_s))
            .then_with(|| one.endpoint.cmp(&other.endpoint))
    });
    rows
}

fn function_time(tables: &Tables, total: &FunctionTotal) -> FunctionTime {
    let function = tables.function(total.function);
    FunctionTime {
        function: tables.string(function.name).to_owned(),
        file: Some(tables.string(function.file).to_owned()).filter(|file| !file.is_empty()),
        line: Some(function.first_line).filter(|&line| line > 0),
        self_s: total.own.as_secs_f64(),
        total_s: total.total.as_secs_f64(),
    }
}
