//! The flame graph, drawn by inferno.

use std::hash::{Hash, Hasher};
use std::io::{self, Write};

use inferno::flamegraph::color::{BackgroundColor, Color, PaletteMap};
use inferno::flamegraph::{Options, TextTruncateDirection, from_lines};
use rustc_hash::FxHasher;

use super::files::Origin;
use super::frames::Kind;
use super::tree::{Drawing, Tree};
use super::{Report, escape, numbers};
use crate::profile::Profile;
use crate::units::Nanos;

/// A tree of more nodes than this is drawn without its narrowest frames, which
/// nobody could see or hit before zooming in, and which make most of the file.
const ALL_DRAWN: usize = 5000;
/// The share of the whole below which such a frame is left out.
const LEAST_SHARE: f64 = 0.001;

/// A flame graph as SVG, with search and zoom.
#[derive(Debug, Clone, Default)]
pub struct FlameGraph {
    /// How stacks are drawn.
    pub drawing: Drawing,
}

impl Report for FlameGraph {
    fn write(&self, profile: &Profile, out: &mut dyn Write) -> io::Result<()> {
        let tree = Tree::of(profile, &self.drawing);
        let total = tree.total();
        let pruned = tree.len() > ALL_DRAWN;
        let least = if pruned { total.as_secs_f64() * LEAST_SHARE } else { 0.0 };
        let mut lines = Vec::new();
        tree.lines(Nanos::from_secs_f64(least), |line, micros| {
            lines.push(format!("{line} {micros}"));
            io::Result::Ok(())
        })?;
        if lines.is_empty() {
            lines.push("(nothing to draw) 1".to_owned());
        }
        let mut colours = colours(&tree);
        let mut options = Options::default();
        options.title = escape::visible(&format!("farrier: {}", profile.session().target)).into();
        options.subtitle = Some(self.subtitle(profile, total, pruned));
        options.count_name = "\u{b5}s".to_owned();
        options.name_type = "Frame:".to_owned();
        options.min_width = 0.0;
        options.text_truncate_direction = TextTruncateDirection::Right;
        options.bgcolors = Some(BackgroundColor::Grey);
        options.deterministic = true;
        options.palette_map = Some(&mut colours);
        from_lines(&mut options, lines.iter().map(String::as_str), out)
    }
}

impl FlameGraph {
    fn subtitle(&self, profile: &Profile, total: Nanos, pruned: bool) -> String {
        let samples: u64 = profile
            .cells()
            .iter()
            .filter(|cell| self.drawing.idle || cell.key.state != crate::model::State::Idle)
            .map(|cell| cell.samples)
            .sum();
        let mut parts = vec![
            format!(
                "{} at {} Hz",
                numbers::seconds(profile.progress().elapsed.as_secs_f64()),
                numbers::plain(profile.session().rate_hz)
            ),
            format!("{} samples", numbers::count(samples)),
            format!("{} of thread time", numbers::seconds(total.as_secs_f64())),
        ];
        if !self.drawing.idle {
            parts.push("without idle".to_owned());
        }
        if pruned {
            parts.push(format!("without frames below {}", numbers::share(LEAST_SHARE)));
        }
        format!(
            "{} | orange: application, yellow: packages, green: standard library",
            parts.join(", ")
        )
    }
}

/// One colour for each text, by whose code it is, and a shade by its name: the same
/// in every graph.
fn colours(tree: &Tree) -> PaletteMap {
    let mut colours = PaletteMap::default();
    colours.insert("", Color { r: 205, g: 210, b: 218 });
    for (text, kind) in tree.texts.all() {
        let (r, g, b) = match kind {
            Kind::Group => (112, 160, 214),
            Kind::Frame(Origin::Application) => (240, 128, 72),
            Kind::Frame(Origin::Package) => (238, 200, 96),
            Kind::Frame(Origin::Standard) => (158, 205, 132),
            Kind::Frame(Origin::Synthetic) => (190, 190, 190),
        };
        let shade = shade(text);
        colours.insert(text, Color { r: r - shade, g: g - shade, b: b - shade });
    }
    colours
}

/// From 0 to 31, from the name without its line: a function's lines look alike.
fn shade(text: &str) -> u8 {
    let name = text.rsplit_once(':').map_or(text, |(name, _)| name);
    let mut hasher = FxHasher::default();
    name.hash(&mut hasher);
    (hasher.finish() >> 32) as u8 % 32
}
