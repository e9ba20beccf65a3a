//! Folded stacks: `frame;frame;frame microseconds`, one a line, for the tools that
//! understand this.

use std::io::{self, Write};

use super::Report;
use super::tree::{Drawing, Tree};
use crate::profile::Profile;
use crate::units::Nanos;

/// Folded stacks.
#[derive(Debug, Clone, Default)]
pub struct Folded {
    /// How stacks are drawn.
    pub drawing: Drawing,
}

impl Report for Folded {
    fn write(&self, profile: &Profile, out: &mut dyn Write) -> io::Result<()> {
        Tree::of(profile, &self.drawing)
            .lines(Nanos::ZERO, |line, micros| writeln!(out, "{line} {micros}"))
    }
}
