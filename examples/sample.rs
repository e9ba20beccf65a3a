//! Samples a live process for two seconds into a sink of one's own, which counts samples
//! by state: `cargo run --example sample PID`.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::time::Duration;

use farrier::model::{
    ListenQueue, Note, ProcessFacts, ProcessId, Progress, Sample, Session, Sink, Tables, Tick,
};
use farrier::process::Process;
use farrier::sampler;
use farrier::units::Pid;

#[derive(Default)]
struct States(BTreeMap<&'static str, u64>);

impl Sink for States {
    fn begin(&mut self, session: &Session) -> io::Result<()> {
        println!("{} at {} Hz", session.target, session.rate_hz);
        Ok(())
    }
    fn process(&mut self, _: &Tables, _: ProcessId, _: &ProcessFacts) -> io::Result<()> {
        Ok(())
    }
    fn tick(&mut self, _: &Tables, _: &Tick, samples: &[Sample]) -> io::Result<()> {
        for sample in samples {
            *self.0.entry(sample.state.name()).or_default() += 1;
        }
        Ok(())
    }
    fn progress(&mut self, _: &Tables, _: &Progress) -> io::Result<()> {
        Ok(())
    }
    fn listen(&mut self, _: &Tables, _: &ListenQueue) -> io::Result<()> {
        Ok(())
    }
    fn note(&mut self, _: &Tables, note: &Note) -> io::Result<()> {
        println!("{}", note.text);
        Ok(())
    }
    fn end(&mut self, _: &Tables, _: &Progress) -> io::Result<()> {
        println!("{:?}", self.0);
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let pid = std::env::args().nth(1).ok_or("which process?")?.parse()?;
    let options = sampler::Options {
        roots: vec![Process::open(Pid::new(pid))?],
        follow_children: true,
        rate_hz: 100.0,
        max_cpu: None,
        duration: Some(Duration::from_secs(2)),
        command: Vec::new(),
        just_started: false,
        same_cpu: true,
        statements: true,
        declared: farrier::endpoint::Declared::default(),
        slow: None,
        max_depth: 16_384,
    };
    sampler::Session::attach(options, || false)?.run(&mut States::default(), || false)?;
    Ok(())
}
