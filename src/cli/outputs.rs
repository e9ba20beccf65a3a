//! What a command writes, and where: decided from the arguments, checked before any
//! work is done, written when it is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::args::format_named;
use super::exit::{Failure, to_stdout};
use super::options::View;
use crate::profile::Profile;
use crate::report::{Format, Text};

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The recording itself, as it goes.
    Recording,
    /// A report, at the end.
    Report(Format),
}

/// Where it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// To standard output.
    Stdout,
    /// To this file.
    File(PathBuf),
    /// To a file that is named after the target and the time.
    Unnamed,
}

/// One thing to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// What.
    pub what: What,
    /// Where.
    pub place: Place,
    /// Whether gzip packs it.
    pub gzip: bool,
}

/// What `record` writes: without a file a recording, to be drawn later.
pub(super) fn plan_record(files: &[PathBuf], formats: &[String]) -> Result<Vec<Planned>, String> {
    let place = |what| match what {
        What::Report(format) if format.ending().is_none() => Place::Stdout,
        _ => Place::Unnamed,
    };
    plan(files, formats, true, What::Recording, place)
}

/// What `report` writes: without a file to standard output, without a format the
/// page for the terminal.
pub(super) fn plan_report(files: &[PathBuf], formats: &[String]) -> Result<Vec<Planned>, String> {
    plan(files, formats, false, What::Report(Format::Text), |_| Place::Stdout)
}

fn plan(
    files: &[PathBuf],
    formats: &[String],
    recording: bool,
    default: What,
    unnamed: impl Fn(What) -> Place,
) -> Result<Vec<Planned>, String> {
    let named: Vec<What> =
        formats.iter().map(|name| format_named(name, recording)).collect::<Result<_, _>>()?;
    if files.is_empty() {
        let whats = if named.is_empty() { vec![default] } else { named };
        let planned = |what| Planned { what, place: unnamed(what), gzip: false };
        let planned: Vec<_> = whats.into_iter().map(planned).collect();
        return one_stdout(planned);
    }
    if named.len() > 1 && named.len() != files.len() {
        return Err(format!(
            "{} formats for {} files: name one for all, or one for each",
            named.len(),
            files.len()
        ));
    }
    let planned = files.iter().enumerate().map(|(number, file)| {
        let given = named.get(number).or(named.first()).copied();
        let stdout = file.as_os_str() == "-";
        let what = match given {
            Some(what) => what,
            None if stdout && default != What::Recording => default,
            None if stdout => return Err("-o - needs a format, given with -f".to_owned()),
            None => of_file(file, recording)?,
        };
        let gzip = what != What::Recording && file.extension().is_some_and(|end| end == "gz");
        let place = if stdout { Place::Stdout } else { Place::File(file.clone()) };
        Ok(Planned { what, place, gzip })
    });
    let planned: Vec<_> = planned.collect::<Result<_, _>>()?;
    for (number, one) in files.iter().enumerate() {
        if files[..number].contains(one) {
            return Err(format!("{} is to be written twice", one.display()));
        }
    }
    one_stdout(planned)
}

fn of_file(file: &Path, recording: bool) -> Result<What, String> {
    if file.extension().is_some_and(|ending| ending == "farrier") {
        return if recording {
            Ok(What::Recording)
        } else {
            Err("a report cannot be a recording: copy the file instead".to_owned())
        };
    }
    let endings = if recording { ", recording" } else { "" };
    Format::of_file(file).map(What::Report).map_err(|error| format!("{error}{endings}"))
}

fn one_stdout(planned: Vec<Planned>) -> Result<Vec<Planned>, String> {
    if planned.iter().filter(|planned| planned.place == Place::Stdout).count() > 1 {
        return Err("only one thing can go to standard output".to_owned());
    }
    if planned.iter().filter(|planned| planned.what == What::Recording).count() > 1 {
        return Err("only one recording can be written".to_owned());
    }
    Ok(planned)
}

/// Outputs that were found to be writable.
#[derive(Debug)]
pub struct Outputs {
    reports: Vec<(Format, Place, bool)>,
    recording: Option<RecordingFile>,
    recording_to_stdout: bool,
}

impl Outputs {
    /// Opens the recording and makes sure that every report can be written later.
    /// `stem` names the files that were not named, without their ending.
    ///
    /// # Errors
    /// If one cannot be written; nothing is left behind then.
    pub fn open(planned: &[Planned], stem: impl Fn() -> String) -> Result<Self, Failure> {
        let mut outputs = Self { reports: Vec::new(), recording: None, recording_to_stdout: false };
        for planned in planned {
            let ending = match planned.what {
                What::Recording => ".farrier",
                What::Report(format) => format.ending().unwrap_or_default(),
            };
            let path = match &planned.place {
                Place::Stdout => None,
                Place::File(path) => Some(path.clone()),
                Place::Unnamed => Some(unused(&stem(), ending)),
            };
            match (planned.what, path) {
                (What::Recording, Some(path)) => {
                    outputs.recording = Some(RecordingFile::open(path)?);
                }
                (What::Recording, None) => outputs.recording_to_stdout = true,
                (What::Report(format), Some(path)) => {
                    check(&path).map_err(|error| Failure::file("write", &path, &error))?;
                    outputs.reports.push((format, Place::File(path), planned.gzip));
                }
                (What::Report(format), None) => {
                    outputs.reports.push((format, Place::Stdout, planned.gzip));
                }
            }
        }
        Ok(outputs)
    }

    /// Where the recording goes, if one is to be written.
    pub fn recording(&mut self) -> Option<Box<dyn Write + '_>> {
        if self.recording_to_stdout {
            return Some(Box::new(io::stdout()));
        }
        Some(Box::new(self.recording.as_mut()?))
    }

    /// Whether standard output is taken by data.
    pub fn uses_stdout(&self) -> bool {
        self.recording_to_stdout || self.reports.iter().any(|(_, place, _)| *place == Place::Stdout)
    }

    /// The file of the recording.
    pub fn recording_path(&self) -> Option<&Path> {
        self.recording.as_ref().map(|file| file.path.as_path())
    }

    /// Writes every report, each as a whole or not at all, and goes on with the next
    /// where one fails. Gives the files that were written.
    ///
    /// # Errors
    /// The first failure.
    pub fn write_reports(&self, profile: &Profile, view: &View) -> Result<Vec<PathBuf>, Failure> {
        let selected = profile.select(&view.selection);
        let (mut written, mut outcome) = (Vec::new(), Ok(()));
        for (format, place, gzip) in &self.reports {
            let to_terminal = *place == Place::Stdout && *format == Format::Text;
            let report = format.report(&view.drawing, &text(view, to_terminal));
            let mut write = |out: &mut dyn Write| report.write(&selected, out);
            let one = match place {
                Place::File(path) => write_file(path, |out| packed(out, *gzip, &mut write))
                    .map(|()| written.push(path.clone()))
                    .map_err(|error| Failure::file("write", path, &error)),
                _ => to_stdout(packed(&mut io::stdout().lock(), *gzip, &mut write)),
            };
            outcome = outcome.and(one);
        }
        outcome.map(|()| written)
    }
}

/// How the page for the terminal is written: with colour only where a terminal
/// shows it and nobody asked not to.
pub(super) fn text(view: &View, to_terminal: bool) -> Text {
    let choice = anstream::AutoStream::choice(&io::stdout());
    Text {
        colour: to_terminal && choice != anstream::ColorChoice::Never,
        full_filenames: view.drawing.frames.full_filenames,
        ..Text::default()
    }
}

/// Writes through a buffer, and through gzip if asked to.
fn packed(
    out: &mut dyn Write,
    gzip: bool,
    write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, out);
    if gzip {
        let mut packer = GzEncoder::new(&mut out, Compression::default());
        write(&mut packer)?;
        packer.finish()?;
    } else {
        write(&mut out)?;
    }
    out.flush()
}

/// Whether a file can be written, without changing anything.
fn check(path: &Path) -> io::Result<()> {
    if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    match fs::metadata(path) {
        // Opening a pipe would wait for its reader.
        Ok(meta) if meta.file_type().is_fifo() => Ok(()),
        Ok(_) => OpenOptions::new().write(true).open(path).map(drop),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let temporary = Temporary::beside(path)?;
            drop(temporary);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Writes a file as a whole: beside it first, then under its name. What is not a
/// regular file is written to directly.
fn write_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let meta = fs::metadata(path);
    if meta.as_ref().is_ok_and(|meta| !meta.is_file()) {
        return write(&mut OpenOptions::new().write(true).open(path)?);
    }
    // A link goes on pointing where it did.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut temporary = Temporary::beside(&path)?;
    if let Ok(meta) = meta {
        temporary.file.set_permissions(meta.permissions())?;
    }
    write(&mut temporary.file)?;
    fs::rename(&temporary.path, &path)?;
    temporary.kept = true;
    Ok(())
}

/// A new file in the folder of another, removed unless it is kept.
struct Temporary {
    file: File,
    path: PathBuf,
    kept: bool,
}

impl Temporary {
    fn beside(path: &Path) -> io::Result<Self> {
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        // A container gives out the same few PIDs again and again, and one that was killed
        // may have left its file.
        name.push(format!(".{}-{:08x}.part", std::process::id(), fastrand::u32(..)));
        let path = path.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok(Self { file, path, kept: false })
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            // It may be gone already; that is all that is wanted.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A recording's file. It is emptied by the first write and not before, and removed
/// again if it was new and nothing came.
#[derive(Debug)]
struct RecordingFile {
    file: File,
    path: PathBuf,
    new: bool,
    begun: bool,
}

impl RecordingFile {
    fn open(path: PathBuf) -> Result<Self, Failure> {
        let new = !path.exists();
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        match file {
            Ok(file) => Ok(Self { file, path, new, begun: false }),
            Err(error) => Err(Failure::file("write", &path, &error)),
        }
    }
}

impl Write for RecordingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.begun {
            if self.file.metadata()?.is_file() {
                self.file.set_len(0)?;
            }
            self.begun = true;
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for RecordingFile {
    fn drop(&mut self) {
        if self.new && !self.begun {
            // It may be gone already; that is all that is wanted.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A file's name that is not taken.
fn unused(stem: &str, ending: &str) -> PathBuf {
    let plain = PathBuf::from(format!("{stem}{ending}"));
    let numbered = (2..).map(|number| PathBuf::from(format!("{stem}-{number}{ending}")));
    std::iter::once(plain.clone()).chain(numbered).find(|path| !path.exists()).unwrap_or(plain)
}

/// What files are called that were not named: `farrier-NAME-PID-DATE`, where `target`
/// is the name and the PID. The name is a target's, so only plain letters stay.
pub(super) fn stem(target: &str, now: &jiff::Zoned) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let target: String = target.chars().map(plain).take(80).collect();
    format!("farrier-{target}-{}", now.strftime("%Y%m%d-%H%M%S"))
}
