//! For Python's `pstats` and what reads its files, such as snakeviz.
//!
//! The file is `marshal`'s encoding of `{(file, line, name): (cc, nc, tt, ct, callers)}`,
//! which `cProfile` writes. Where that counts calls, here are samples: a sampler counts no
//! calls. `tt` and `ct` are seconds: of the function alone, and with all that it called.
//! The encodings used are those of `Python/marshal.c` that every CPython 3 reads.

use std::io::{self, Write};

use rustc_hash::FxHashMap;

use super::Report;
use super::stacks::NO_FRAME;
use crate::model::{FunctionId, StackId, State, Tables};
use crate::profile::Profile;

/// A file for `pstats`.
#[derive(Debug, Clone, Default)]
pub struct Pstats {
    /// Whether threads that wait for work are drawn too.
    pub idle: bool,
}

/// What is known of a function, or of one that another called.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    own_samples: u64,
    samples: u64,
    own: f64,
    total: f64,
    /// The stack that it was last counted for, from 1.
    counted: u32,
}

impl Sums {
    fn add(&mut self, stack: u32, is_leaf: bool, samples: u64, seconds: f64) {
        if is_leaf {
            self.own_samples += samples;
            self.own += seconds;
        }
        // A function that calls itself is once on the stack.
        if self.counted != stack {
            self.counted = stack;
            self.samples += samples;
            self.total += seconds;
        }
    }
}

/// A function, or the thread itself where it has no Python frame.
type Place = Option<FunctionId>;

impl Report for Pstats {
    fn write(&self, profile: &Profile, out: &mut dyn Write) -> io::Result<()> {
        let tables = profile.tables();
        let mut stacks: FxHashMap<Option<StackId>, (u64, f64)> = FxHashMap::default();
        let shown = |state| self.idle || state != State::Idle;
        for cell in profile.cells().iter().filter(|cell| shown(cell.key.state)) {
            let sums = stacks.entry(cell.key.stack).or_default();
            sums.0 += cell.samples;
            sums.1 += cell.weight.as_secs_f64();
        }
        let mut functions: FxHashMap<Place, Sums> = FxHashMap::default();
        let mut calls: FxHashMap<(Place, Place), Sums> = FxHashMap::default();
        for (number, (stack, (samples, seconds))) in (1..).zip(stacks) {
            let mut called: Option<Place> = None;
            let mut count = |place: Place, called: Option<Place>, is_nearest: bool| {
                if let Some(called) = called {
                    let call = calls.entry((called, place)).or_default();
                    call.add(number, is_nearest, samples, seconds);
                }
                let function = functions.entry(place).or_default();
                function.add(number, called.is_none(), samples, seconds);
            };
            let Some(stack) = stack else {
                count(None, None, false);
                continue;
            };
            for (position, frame) in tables.frames_from_leaf(stack).enumerate() {
                let place = Some(tables.frame(frame).function);
                count(place, called, position == 1);
                called = Some(place);
            }
        }
        let mut callers: FxHashMap<Place, Vec<(Place, Sums)>> = FxHashMap::default();
        for ((called, caller), sums) in calls {
            callers.entry(called).or_default().push((caller, sums));
        }
        let mut functions: Vec<(Place, Sums)> = functions.into_iter().collect();
        functions.sort_unstable_by_key(|(place, _)| *place);
        out.write_all(b"{")?;
        for (place, sums) in functions {
            name(place, tables, out)?;
            tuple(5, out)?;
            numbers(&sums, out)?;
            out.write_all(b"{")?;
            let mut callers = callers.remove(&place).unwrap_or_default();
            callers.sort_unstable_by_key(|(place, _)| *place);
            for (caller, sums) in callers {
                name(caller, tables, out)?;
                tuple(4, out)?;
                numbers(&sums, out)?;
            }
            out.write_all(b"0")?;
        }
        out.write_all(b"0")
    }
}

/// `(file, line, name)`; `cProfile` writes `~` for what has no file.
fn name(place: Place, tables: &Tables, out: &mut dyn Write) -> io::Result<()> {
    let function = place.map(|id| tables.function(id));
    let (file, line, name) = match function {
        Some(function) => {
            (tables.string(function.file), function.first_line, tables.string(function.name))
        }
        None => ("", 0, NO_FRAME),
    };
    tuple(3, out)?;
    text(if file.is_empty() { "~" } else { file }, out)?;
    integer(line.into(), out)?;
    text(name, out)
}

fn numbers(sums: &Sums, out: &mut dyn Write) -> io::Result<()> {
    integer(sums.own_samples, out)?;
    integer(sums.samples, out)?;
    float(sums.own, out)?;
    float(sums.total, out)
}

fn tuple(length: u32, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b"(")?;
    out.write_all(&length.to_le_bytes())
}

fn text(text: &str, out: &mut dyn Write) -> io::Result<()> {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    out.write_all(b"u")?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(text.as_bytes())
}

/// `TYPE_INT`, of 32 bits with a sign; what is larger is as large as can be.
fn integer(number: u64, out: &mut dyn Write) -> io::Result<()> {
    let number = i32::try_from(number).unwrap_or(i32::MAX);
    out.write_all(b"i")?;
    out.write_all(&number.to_le_bytes())
}

fn float(number: f64, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b"g")?;
    out.write_all(&number.to_le_bytes())
}
