//! The summary as JSON.

use std::io::{self, Write};

use super::Report;
use crate::analysis::Summary;
use crate::profile::Profile;

/// The summary as JSON, schema `farrier/summary/1`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Json;

impl Report for Json {
    fn write(&self, profile: &Profile, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, &Summary::of(profile))?;
        writeln!(out)
    }
}
