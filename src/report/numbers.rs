//! One way to print a number.

/// A duration from seconds, in at most seven characters up to a hundred days:
/// `0.4 ms`, `34 ms`, `0.3 s`, `14.2 s`, `12m 05s`, `3h 12m`.
pub(crate) fn seconds(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    if seconds <= 0.0 {
        "0 s".into()
    } else if seconds < 0.01 {
        format!("{:.1} ms", seconds * 1e3)
    } else if seconds < 0.0995 {
        format!("{:.0} ms", seconds * 1e3)
    } else if seconds < 99.95 {
        format!("{seconds:.1} s")
    } else if whole < 3600 {
        format!("{}m {:02}s", whole / 60, whole % 60)
    } else {
        format!("{}h {:02}m", whole / 3600, whole % 3600 / 60)
    }
}

/// A share from 0 to 1 with one decimal: `45.5%`.
pub(crate) fn share(share: f64) -> String {
    if share > 0.0 && share < 0.0005 { "<0.1%".into() } else { format!("{:.1}%", share * 100.0) }
}

/// A share in four characters: `46%`, `<1%`, and `.` for none at all, so that a
/// table of them can be read by its gaps.
pub(crate) fn short_share(share: f64) -> String {
    if share <= 0.0 {
        ".".into()
    } else if share < 0.005 {
        "<1%".into()
    } else {
        format!("{:.0}%", share * 100.0)
    }
}

/// A count with its thousands apart: `12,345`.
pub(crate) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut apart = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            apart.push(',');
        }
        apart.push(digit);
    }
    apart
}

/// An amount of memory in at most eight characters: `52 MiB`, `1.4 GiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut amount = bytes as f64 / 1024.0;
    let mut unit = 0;
    while amount >= 1023.5 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit >= 2 && amount < 99.95);
    format!("{amount:.digits$} {}", UNITS[unit])
}

/// A rate or another number that is mostly whole: `100`, `12.5`.
pub(crate) fn plain(number: f64) -> String {
    let tenths = (number * 10.0).round() / 10.0;
    format!("{tenths}")
}

/// How long a request takes, from milliseconds, in at most six characters up to a hundred
/// seconds: `0.4 ms`, `34 ms`, `340 ms`, `1.25 s`, `14.2 s`.
pub(crate) fn latency(ms: f64) -> String {
    if ms > 0.0 && ms < 9.95 {
        format!("{ms:.1} ms")
    } else if ms < 999.5 {
        format!("{ms:.0} ms")
    } else if ms < 9_995.0 {
        format!("{:.2} s", ms / 1e3)
    } else {
        seconds(ms / 1e3)
    }
}

/// A rate in five characters up to ten thousand: `0.04`, `7.5`, `123`, `1,234`.
pub(crate) fn rate(rate: f64) -> String {
    if rate > 0.0 && rate < 0.995 {
        format!("{rate:.2}")
    } else if rate < 99.5 {
        format!("{rate:.1}")
    } else {
        count(rate.round() as u64)
    }
}

/// So many of something: `1 worker`, `2 workers`, `3 processes`.
pub(crate) fn of(number: u64, what: &str) -> String {
    let ending = match number {
        1 => "",
        _ if what.ends_with('s') => "es",
        _ => "s",
    };
    format!("{} {what}{ending}", count(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_shape_each() {
        let shown = [0.0, 0.0004, 0.034, 0.34, 14.23, 99.96, 725.0, 11_520.0].map(seconds);
        assert_eq!(
            shown,
            ["0 s", "0.4 ms", "34 ms", "0.3 s", "14.2 s", "1m 40s", "12m 05s", "3h 12m"]
        );
        let memory = [0, 700 << 10, 52 << 20, 1 << 30, 1434 << 20, 200 << 30].map(bytes);
        assert_eq!(memory, ["0 KiB", "700 KiB", "52 MiB", "1.0 GiB", "1.4 GiB", "200 GiB"]);
        assert_eq!([0.0, 0.0001, 0.4551, 1.0].map(share), ["0.0%", "<0.1%", "45.5%", "100.0%"]);
        assert_eq!([0.0, 0.001, 0.455, 1.0].map(short_share), [".", "<1%", "46%", "100%"]);
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0.0, 0.04, 7.51, 123.4, 1234.0].map(rate),
            ["0.0", "0.04", "7.5", "123", "1,234"]
        );
        let shown = [0.42, 34.4, 340.0, 1_249.0, 14_230.0].map(latency);
        assert_eq!(shown, ["0.4 ms", "34 ms", "340 ms", "1.25 s", "14.2 s"]);
        assert_eq!([100.0, 12.54].map(plain), ["100", "12.5"]);
        assert_eq!(of(1, "worker"), "1 worker");
        assert_eq!(of(2000, "worker"), "2,000 workers");
        assert_eq!(of(2, "process"), "2 processes");
    }
}
