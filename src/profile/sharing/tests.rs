use fastrand::Rng;

use crate::model::{EndpointId, OnId, RequestId, Role, Sample, Sink, State, Tick};
use crate::profile::handmade::{Shop, sample};
use crate::units::Nanos;

/// A request of a made-up thread: endpoint, then CPU time, run-queue time and sleep in
/// turns, `rounds` times.
type Request = (EndpointId, [u64; 3], u64);

const STATES: [State; 3] = [State::Running, State::Running, State::Sleep];

/// A thread that serves these requests at random, idle for a while after each, looked at
/// every 10 ms or so: what it used in truth, and the shop with the looks.
#[test]
fn short_and_long_requests_each_have_their_cpu_time() {
    let mut shop = Shop::default();
    let process = shop.process(1, Role::Worker, 1);
    let thread = shop.thread(process, 1, "t");
    let idle = shop.label("(idle)");
    let names = ["/short", "/long", "/bursts"];
    let [short, long, bursts] = names.map(|route| shop.route("GET", route, "view"));
    let requests: [Request; 3] = [
        (short, [1_600_000, 400_000, 0], 1),
        (long, [4_000_000, 1_000_000, 0], 13),
        (bursts, [1_000_000, 250_000, 7_000_000], 9),
    ];
    let mut rng = Rng::with_seed(1);
    let (mut truth, mut number) = ([[0; 2]; 3], 0);
    // (end, endpoint, request, state, which counter runs), one after the other.
    let (mut now, mut steps) = (0, Vec::new());
    while now < 6_000_000_000_000_u64 {
        let which = rng.usize(0..10).min(2).wrapping_sub(usize::from(rng.u8(0..3) == 0)).min(2);
        let (endpoint, times, rounds) = requests[which];
        number += 1;
        for _ in 0..rounds {
            for (kind, &time) in times.iter().enumerate() {
                now += time;
                steps.push((now, endpoint, number, STATES[kind], kind));
                if kind < 2 {
                    truth[which][kind] += time;
                }
            }
        }
        now += rng.u64(1_000_000..15_000_000);
        steps.push((now, idle, 0, State::Idle, 2));
    }
    let (mut at, mut counted, mut step, mut last) = (0, [0_u64; 3], 0, 0);
    let mut total = 0;
    while at < now - 20_000_000 {
        let next = at + rng.u64(5_000_000..15_000_000);
        while steps[step].0 < next {
            counted[steps[step].4] += steps[step].0 - at.max(last);
            last = steps[step].0;
            step += 1;
        }
        counted[steps[step].4] += next - at.max(last);
        let (_, endpoint, request, state, _) = steps[step];
        let look = Sample {
            request: RequestId::new(request),
            weight: Nanos::from_nanos(next - at),
            cpu: Nanos::from_nanos(std::mem::take(&mut counted[0])),
            runqueue: Nanos::from_nanos(std::mem::take(&mut counted[1])),
            holds_gil: state == State::Running,
            ..sample(thread, endpoint, state)
        };
        total += next - at;
        at = next;
        let tick = Tick { process, at: Nanos::from_nanos(at), lateness: Nanos::ZERO };
        shop.builder.tick(&shop.tables, &tick, &[look]).unwrap();
    }
    let profile = shop.finish();
    let sum = |wanted: &dyn Fn(EndpointId, State) -> bool| -> u64 {
        let cells = profile.cells().iter();
        cells
            .filter(|it| wanted(it.key.endpoint, it.key.state))
            .map(|it| it.weight.as_nanos())
            .sum()
    };
    assert_eq!(sum(&|_, _| true), total, "no time is lost and none is made");
    for (which, &(endpoint, ..)) in requests.iter().enumerate() {
        for (kind, state) in [State::Running, State::Runnable].into_iter().enumerate() {
            let truth = truth[which][kind] as f64;
            let seen = sum(&|it, its| (it, its) == (endpoint, state)) as f64;
            let off = seen / truth - 1.0;
            // The short ones are met some four thousand times: 2 % by chance.
            assert!(off.abs() < 0.05, "{} {}: {off:+.3}", state.name(), names[which]);
        }
    }
    let all = |kind: usize| truth.iter().map(|it| it[kind]).sum::<u64>() as f64;
    for (kind, state) in [State::Running, State::Runnable].into_iter().enumerate() {
        let off = sum(&|_, its| its == state) as f64 / all(kind) - 1.0;
        assert!(off.abs() < 0.001, "{}: {off:+.5}", state.name());
    }
}

fn weights(shop: Shop) -> Vec<(State, Option<OnId>, u64)> {
    let profile = shop.finish();
    let cells = profile.cells().iter().filter(|cell| cell.weight > Nanos::ZERO);
    cells.map(|it| (it.key.state, it.key.on, it.weight.as_nanos() / 1_000_000)).collect()
}

#[test]
fn a_waiter_for_the_gil_that_queues_for_a_cpu_is_told_from_native_code() {
    let start = || {
        let mut shop = Shop::default();
        let process = shop.process(1, Role::Worker, 1);
        let thread = shop.thread(process, 1, "t");
        let endpoint = shop.route("GET", "/a", "a");
        let stack = shop.stack(&[("f", "a.py", 1, 2)]);
        let looks = Sample { stack, ..sample(thread, endpoint, State::Running) };
        (shop, looks)
    };
    // Blocked in 50 looks; in 50 others it has been woken up and not been given a CPU.
    let (mut shop, looks) = start();
    let on = shop.named("holder");
    let waits = Sample { state: State::GilWait, on, ..looks };
    let queues = Sample { runqueue: Nanos::from_millis(10), ..looks };
    for _ in 0..25 {
        shop.add(2, waits);
        shop.add(2, queues);
    }
    assert_eq!(weights(shop), [(State::GilWait, on, 500), (State::Runnable, on, 500)]);
    // Looked at in the same place, but with a CPU all the time.
    let (mut shop, looks) = start();
    let on = shop.named("holder");
    shop.add(1, Sample { state: State::GilWait, on, ..looks });
    shop.add(99, Sample { cpu: Nanos::from_millis(10), ..looks });
    assert_eq!(weights(shop), [(State::GilWait, on, 10), (State::Running, None, 990)]);
}

#[test]
fn without_counters_each_look_stands_for_its_own_time() {
    let mut shop = Shop::default();
    let process = shop.process(1, Role::Worker, 1);
    let thread = shop.thread(process, 1, "t");
    let endpoint = shop.label("(main)");
    shop.add(700, sample(thread, endpoint, State::Running));
    shop.add(300, sample(thread, endpoint, State::Io));
    assert_eq!(weights(shop), [(State::Running, None, 7_000), (State::Io, None, 3_000)]);
}
