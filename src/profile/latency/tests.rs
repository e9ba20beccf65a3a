//! Simulated streams of requests whose distribution is known, looked at as a recording does.

use fastrand::Rng;

use super::*;
use crate::model::{
    Endpoint, EndpointId, Evidence, Framework, Grade, Request, RequestId, Sample, State, Tables,
    TargetProcess, Thread, Tick,
};
use crate::profile::flights::Flights;
use crate::units::{Pid, Tid};

const MS: f64 = 1e-3;
/// Seconds of simulated recording.
const LENGTH: f64 = 60.0;
const PERIOD: f64 = 0.01;

type Distribution = fn(&mut Rng) -> f64;

/// What a simulated recording came to.
struct Outcome {
    estimate: Estimate,
    number: f64,
    /// The true quantiles of all requests that began in it: 50, 95, 99.
    truth: [f64; 3],
}

/// Four threads that serve requests one after the other, with pauses of this mean between
/// them, looked at once in each period at a random time. `knows` is whether the server notes
/// starts.
fn simulate(seed: u64, duration: Distribution, pause: f64, knows: bool) -> Outcome {
    let mut rng = Rng::with_seed(seed);
    let mut tables = Tables::new();
    let process = tables.intern_process(TargetProcess { pid: Pid::new(7), start_time: 1 });
    let name = tables.intern_string("GET /a");
    let (method, route, handler, framework) = (Some(name), None, None, Framework::None);
    let endpoint =
        tables.intern_endpoint(Endpoint { label: name, method, route, framework, handler });
    let idle = tables.intern_string("(idle)");
    let idle = Endpoint { label: idle, method: None, route, framework, handler };
    let idle = tables.intern_endpoint(idle);
    let mut threads = Vec::new();
    for tid in 0..4 {
        let id = tables.intern_thread(Thread { process, tid: Tid::new(tid), name });
        let mut requests = Vec::new();
        let mut now = -2.0;
        while now < LENGTH + 2.0 {
            let start = now - pause * (1.0 - rng.f64()).ln();
            now = start + duration(&mut rng);
            requests.push((start, now));
        }
        threads.push((id, requests, 0));
    }
    let sample = |thread, endpoint: EndpointId, request| Sample {
        thread,
        stack: None,
        endpoint,
        on: None,
        statement: None,
        request,
        weight: Nanos::from_secs_f64(PERIOD),
        cpu: Nanos::ZERO,
        runqueue: Nanos::ZERO,
        state: State::Running,
        evidence: Evidence::Syscall,
        grade: Grade::Exact,
        holds_gil: false,
    };
    let mut flights = Flights::default();
    let mut told = rustc_hash::FxHashSet::default();
    for tick in 0..(LENGTH / PERIOD) as u64 {
        let now = (tick as f64 + rng.f64()) * PERIOD;
        let at = Nanos::from_secs_f64(now);
        let mut samples = Vec::new();
        for (number, (thread, requests, cursor)) in threads.iter_mut().enumerate() {
            while requests[*cursor].1 <= now {
                *cursor += 1;
            }
            let (start, _) = requests[*cursor];
            if start > now {
                samples.push(sample(*thread, idle, None));
                continue;
            }
            let id = RequestId::new((*cursor * 4 + number + 1) as u64).unwrap();
            if told.insert(id) {
                flights.request(&Request {
                    id,
                    process,
                    thread: *thread,
                    first_seen: at,
                    started: knows.then_some((start * 1e9) as i64),
                    by_path: endpoint,
                    endpoint,
                    path: None,
                });
            }
            samples.push(sample(*thread, endpoint, Some(id)));
        }
        flights.tick(&tables, &Tick { process, at, lateness: Nanos::ZERO }, &samples);
    }
    let began = |(start, _): &&(f64, f64)| (0.0..LENGTH).contains(start);
    let all = threads.iter().flat_map(|(_, requests, _)| requests.iter().filter(began));
    let mut all: Vec<f64> = all.map(|(start, end)| end - start).collect();
    all.sort_by(f64::total_cmp);
    let at = |part: f64| all[(part * (all.len() - 1) as f64) as usize];
    let followed = flights.finish();
    let [times] = &followed.times[..] else { panic!("one endpoint") };
    Outcome {
        estimate: times.durations.estimate(&followed.gaps.visibility()),
        number: all.len() as f64,
        truth: [0.50, 0.95, 0.99].map(at),
    }
}

const SEEDS: u64 = 12;

/// Over many seeds: the mean ratio of estimate to truth for number, p50, p95 and p99, and the
/// largest error of p50 and p95 in milliseconds.
fn ratios(duration: Distribution, pause: f64, knows: bool) -> ([f64; 4], f64) {
    let mut sums = [0.0; 4];
    let mut worst: f64 = 0.0;
    for seed in 0..SEEDS {
        let Outcome { estimate, number, truth } = simulate(seed, duration, pause, knows);
        let latency = estimate.latency.unwrap();
        let found = [latency.p50, latency.p95, latency.p99];
        sums[0] += estimate.number / number;
        for (sum, (found, truth)) in sums[1..].iter_mut().zip(found.iter().zip(truth)) {
            *sum += found / truth;
        }
        for (found, truth) in found.iter().zip(truth).take(2) {
            worst = worst.max((found - truth).abs() / MS);
        }
    }
    (sums.map(|sum| sum / SEEDS as f64), worst)
}

const DISTRIBUTIONS: [(&str, Distribution); 8] = [
    ("3 ms", |_| 3.0 * MS),
    ("8 ms", |_| 8.0 * MS),
    ("exponential 10 ms", |rng| -10.0 * MS * (1.0 - rng.f64()).ln()),
    ("25 ms", |_| 25.0 * MS),
    ("20 to 60 ms", |rng| (20.0 + 40.0 * rng.f64()) * MS),
    ("exponential 50 ms", |rng| -50.0 * MS * (1.0 - rng.f64()).ln()),
    ("5 or 200 ms", |rng| if rng.f64() < 0.7 { 5.0 * MS } else { 200.0 * MS }),
    ("3 s", |_| 3.0),
];

#[test]
fn number_and_durations_are_those_of_the_stream() {
    for pause in [0.002, 0.05] {
        for (name, duration) in DISTRIBUTIONS {
            let (ratios, worst) = ratios(duration, pause, true);
            println!("{name}, pause {pause}: {ratios:.3?}, off by {worst:.1} ms at the most");
            let [number, p50, p95, _] = ratios;
            assert!((0.94..1.06).contains(&number), "{name}: number {number}");
            // Half of the exponential ones take less than 7 ms.
            let off = if name.contains("exponential 10") { 0.1 } else { 0.04 };
            for part in [p50, p95] {
                assert!((part - 1.0).abs() < off, "{name}: {part}");
            }
        }
    }
}

#[test]
fn without_noted_starts_short_ones_are_told_less_well() {
    for (name, duration) in DISTRIBUTIONS {
        let (ratios, worst) = ratios(duration, 0.05, false);
        println!("{name}: {ratios:.3?}, off by {worst:.1} ms at the most");
        if ["25 ms", "20 to 60 ms", "3 s"].contains(&name) {
            assert!((0.98..1.02).contains(&ratios[0]), "{name}: number {}", ratios[0]);
            assert!(ratios[1..3].iter().all(|part| (0.9..1.1).contains(part)), "{name}");
        }
    }
}

#[test]
fn nothing_is_said_where_nothing_was_seen() {
    let none = Durations::default().estimate(&Gaps::default().visibility());
    assert_eq!((none.number, none.variance, none.latency), (0.0, 0.0, None));
    // In flight at the end, and no other: nothing is known but how long it took at least.
    let mut durations = Durations::default();
    durations.add(Nanos::from_millis(100), None, true);
    let one = durations.estimate(&Gaps::default().visibility());
    assert_eq!((one.number, one.begun, one.latency), (1.0, 1, None));
}

#[test]
fn room_is_bounded() {
    let mut rng = Rng::with_seed(3);
    let mut durations = Durations::default();
    for _ in 0..100_000 {
        let least = Nanos::from_nanos(1 << rng.u32(0..50))
            .saturating_add(Nanos::from_micros(rng.u64(0..1_000_000)));
        let most = rng.bool().then(|| least.saturating_add(Nanos::from_micros(rng.u64(0..50_000))));
        durations.add(least, most, rng.bool());
    }
    assert!(durations.intervals.len() <= MOST_INTERVALS + 2 * BUCKETS);
    let estimate = durations.estimate(&Gaps::default().visibility());
    assert!((estimate.number - 100_000.0).abs() < 1.0, "{}", estimate.number);
}
