//! The application's own line on a stack: the one that a person can change.

use rustc_hash::FxHashMap;

use crate::model::{FrameId, StackId, Tables};

/// Finds the application's line, and remembers where: most stacks are asked for often.
#[derive(Debug, Default)]
pub(super) struct Places {
    known: FxHashMap<StackId, Option<FrameId>>,
}

impl Places {
    /// The topmost frame of the application: of code that is neither the standard library's
    /// nor an installed package's. If there is none, the topmost one that is not the
    /// standard library's, as when a whole application is installed as a package.
    pub(super) fn of(&mut self, stack: StackId, tables: &Tables) -> Option<FrameId> {
        *self.known.entry(stack).or_insert_with(|| {
            let origin = |frame: FrameId| {
                let function = tables.function(tables.frame(frame).function);
                origin(tables.string(function.file))
            };
            let topmost =
                |wanted| tables.frames_from_leaf(stack).find(|&frame| origin(frame) == wanted);
            topmost(Origin::Application).or_else(|| topmost(Origin::Package))
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Application,
    Package,
    StandardLibrary,
    /// `(unsettled)` and other words that stand for frames.
    None,
}

/// Where a file comes from, by its path.
fn origin(file: &str) -> Origin {
    const PACKAGES: [&str; 2] = ["/site-packages/", "/dist-packages/"];
    const LIBRARIES: [&str; 3] = ["/lib/python3.", "/lib64/python3.", "/Lib/"];
    if file.is_empty() {
        Origin::None
    } else if PACKAGES.iter().any(|folder| file.contains(folder)) {
        Origin::Package
    } else if is_script(file) {
        Origin::Package
    } else if file.starts_with("<frozen ") || LIBRARIES.iter().any(|part| file.contains(part)) {
        Origin::StandardLibrary
    } else {
        Origin::Application
    }
}

/// Whether it is what a package installs to be called by: `…/bin/gunicorn`.
fn is_script(file: &str) -> bool {
    let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
    folder.ends_with("/bin") && !name.contains('.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Frame;

    #[test]
    fn the_application_s_line_is_the_topmost_of_its_own() {
        let library = "/usr/lib/python3.11/threading.py";
        let package = "/srv/venv/lib/python3.11/site-packages/sqlalchemy/pool.py";
        let server = "/srv/venv/lib/python3.11/site-packages/gunicorn/sync.py";
        let mut tables = Tables::new();
        let mut places = Places::default();
        let mut found = |files: &[&str]| {
            let frames: Vec<_> = files
                .iter()
                .map(|file| {
                    let function = tables.intern_function_named("f", file, 1);
                    tables.intern_frame(Frame { function, line: 7 })
                })
                .collect();
            let stack = tables.intern_stack_of(frames).unwrap();
            let place = places.of(stack, &tables)?;
            let function = tables.function(tables.frame(place).function);
            Some(tables.string(function.file).to_owned())
        };
        for (files, expected) in [
            (&[server, "/srv/app.py", "/srv/db.py", package, library][..], Some("/srv/db.py")),
            (&[server, package, library], Some(package)),
            (&[library, ""], None),
            (&["/srv/venv/bin/gunicorn", server, library], Some(server)),
            (&["/srv/app.py", "<frozen importlib._bootstrap>"], Some("/srv/app.py")),
        ] {
            assert_eq!(found(files).as_deref(), expected, "{files:?}");
        }
    }
}
