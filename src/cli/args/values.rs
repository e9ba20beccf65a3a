//! The values of flags, from their texts.

use std::time::Duration;

use clap::ValueEnum;

use crate::model::State;
use crate::units::Pid;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum YesNo {
    Yes,
    No,
}

/// How long to record; a type of its own, since an `Option` would mean to clap that
/// the argument may be missing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Length(pub(super) Option<Duration>);

/// Our own share of one CPU; a type of its own for the same reason.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct CpuBudget(pub(super) Option<f64>);

pub(super) fn pid(text: &str) -> Result<Pid, String> {
    let text = text.trim();
    let number = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    match number {
        Some(number) if number > 0 => Ok(Pid::new(number)),
        _ => Err("a process is given by its number".to_owned()),
    }
}

pub(super) fn state(text: &str) -> Result<State, String> {
    State::named(text)
        .ok_or_else(|| format!("the states are {}", State::ALL.map(State::name).join(", ")))
}

/// How many frames of a stack are kept: at the least the root, what is left out, and the leaf.
pub(super) fn depth(text: &str) -> Result<u32, String> {
    const MOST: u32 = 16_384;
    match text.trim().parse() {
        Ok(depth @ 2..=MOST) => Ok(depth),
        _ => Err(format!("a depth is a number of frames from 2 to {MOST}")),
    }
}

pub(super) fn rate(text: &str) -> Result<f64, String> {
    const LARGEST: f64 = 10_000.0;
    let text = text.trim().to_lowercase();
    let (number, factor) = match text.strip_suffix("khz") {
        Some(number) => (number, 1e3),
        None => (text.strip_suffix("hz").unwrap_or(&text), 1.0),
    };
    match number.trim().parse::<f64>().map(|number| number * factor) {
        Ok(rate) if rate > 0.0 && rate <= LARGEST => Ok(rate),
        Ok(_) => Err(format!("a rate is above 0 and at most {LARGEST} Hz")),
        Err(_) => Err("a rate looks like `100`, `99.5` or `1khz`".to_owned()),
    }
}

pub(super) fn cpu_budget(text: &str) -> Result<CpuBudget, String> {
    let text = text.trim();
    if text == "none" {
        return Ok(CpuBudget(None));
    }
    match text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent.is_finite() => Ok(CpuBudget(Some(percent / 100.0))),
        Ok(_) => Err("a budget is above 0 %; `none` takes the limit away".to_owned()),
        Err(_) => Err("a budget looks like `5`, `0.5%` or `none`".to_owned()),
    }
}

pub(super) fn duration(text: &str) -> Result<Length, String> {
    let text = text.trim();
    if text == "unlimited" {
        return Ok(Length(None));
    }
    let units = [("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let unit =
        units.into_iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
    let (number, factor) = unit.unwrap_or((text, 1.0));
    let seconds = number.trim().parse::<f64>().ok().map(|number| number * factor);
    seconds
        .filter(|&seconds| seconds > 0.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .map(|duration| Length(Some(duration)))
        .ok_or_else(|| "a time looks like `10`, `10s`, `2m`, `1h` or `unlimited`".to_owned())
}

/// How long a request takes that is slow.
pub(super) fn threshold(text: &str) -> Result<Duration, String> {
    let Length(length) = duration(text).map_err(|_| "a time looks like `500ms` or `2s`")?;
    length.ok_or_else(|| "`--slow` needs a time, such as `500ms`".to_owned())
}
