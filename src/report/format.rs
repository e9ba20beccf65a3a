//! The formats by their names and files' endings.

use std::path::Path;

use super::{Drawing, FlameGraph, Folded, Json, Pprof, Pstats, Report, Speedscope, Text};

/// A format that a profile can be drawn in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A flame graph as SVG.
    FlameGraph,
    /// Folded stacks, one a line, for other tools.
    Folded,
    /// A profile for speedscope.
    Speedscope,
    /// A profile for pprof.
    Pprof,
    /// Statistics for Python's `pstats`.
    Pstats,
    /// The summary as JSON.
    Json,
    /// The summary for a terminal.
    Text,
}

/// A name or ending that stands for no format of this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}; there are {}", Format::names().join(", "))]
pub struct UnknownFormat {
    what: String,
}

/// What is known of a format.
struct Row {
    format: Format,
    /// The name that is printed first, then others that are understood.
    names: &'static [&'static str],
    /// The first is what a file is given that was not named.
    endings: &'static [&'static str],
}

const ROWS: [Row; 7] = [
    Row { format: Format::FlameGraph, names: &["flamegraph"], endings: &[".svg"] },
    Row { format: Format::Folded, names: &["folded", "raw"], endings: &[".folded", ".txt"] },
    Row { format: Format::Speedscope, names: &["speedscope"], endings: &[".speedscope.json"] },
    Row { format: Format::Pprof, names: &["pprof"], endings: &[".pb.gz", ".pb"] },
    Row { format: Format::Pstats, names: &["pstats"], endings: &[".pstats"] },
    Row { format: Format::Json, names: &["json"], endings: &[".json"] },
    Row { format: Format::Text, names: &["text"], endings: &[] },
];

impl Format {
    /// The names of all formats.
    pub fn names() -> Vec<&'static str> {
        ROWS.iter().flat_map(|row| row.names).copied().collect()
    }

    /// The format with this name.
    ///
    /// # Errors
    /// If there is none.
    pub fn named(name: &str) -> Result<Self, UnknownFormat> {
        ROWS.iter()
            .find(|row| row.names.contains(&name))
            .map(|row| row.format)
            .ok_or_else(|| UnknownFormat { what: format!("there is no format `{name}`") })
    }

    /// The format of a file with this name, by its ending; a further `.gz` is passed
    /// over.
    ///
    /// # Errors
    /// If the ending says none.
    pub fn of_file(path: &Path) -> Result<Self, UnknownFormat> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let plain = name.strip_suffix(".gz").unwrap_or(&name);
        let ends = |endings: &[&str]| endings.iter().any(|ending| plain.ends_with(ending));
        ROWS.iter().find(|row| ends(row.endings)).map(|row| row.format).ok_or_else(|| {
            UnknownFormat {
                what: format!(
                    "the ending of `{}` says no format, so name one with -f",
                    path.display()
                ),
            }
        })
    }

    /// The ending for a file that was not named; `None` for what is made to be read
    /// at once.
    pub fn ending(self) -> Option<&'static str> {
        let row = ROWS.iter().find(|row| row.format == self)?;
        row.endings.first().copied()
    }

    /// The report that draws it.
    pub fn report(self, drawing: &Drawing, text: &Text) -> Box<dyn Report> {
        match self {
            Self::FlameGraph => Box::new(FlameGraph { drawing: drawing.clone() }),
            Self::Folded => Box::new(Folded { drawing: drawing.clone() }),
            Self::Speedscope => Box::new(Speedscope { drawing: drawing.clone() }),
            Self::Pprof => Box::new(Pprof { drawing: drawing.clone() }),
            Self::Pstats => Box::new(Pstats { idle: drawing.idle }),
            Self::Json => Box::new(Json),
            Self::Text => Box::new(text.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_name_and_by_ending() {
        let of = |name: &str| Format::of_file(Path::new(name));
        assert_eq!(of("a/profile.svg"), Ok(Format::FlameGraph));
        assert_eq!(of("PROFILE.SVG"), Ok(Format::FlameGraph));
        assert_eq!(of("x.folded.gz"), Ok(Format::Folded));
        assert_eq!(of("x.txt"), Ok(Format::Folded));
        assert_eq!(of("x.json.gz"), Ok(Format::Json));
        assert_eq!(of("x.speedscope.json"), Ok(Format::Speedscope));
        assert_eq!(of("x.speedscope.json.gz"), Ok(Format::Speedscope));
        assert_eq!(of("x.pb.gz"), Ok(Format::Pprof));
        assert_eq!(of("x.pstats"), Ok(Format::Pstats));
        assert_eq!(Format::named("raw"), Ok(Format::Folded));
        assert_eq!(Format::named("flamegraph").unwrap().ending(), Some(".svg"));
        assert_eq!(Format::Text.ending(), None);
    }

    #[test]
    fn what_is_no_format_is_refused_with_those_that_are() {
        for name in ["x.html", "x", "x.gz", ".."] {
            let error = Format::of_file(Path::new(name)).unwrap_err().to_string();
            assert!(error.contains("name one with -f"), "{error}");
        }
        assert_eq!(
            Format::named("html").unwrap_err().to_string(),
            "there is no format `html`; there are flamegraph, folded, raw, speedscope, pprof, pstats, json, text"
        );
    }
}
