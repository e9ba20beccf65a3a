//! Shortening files to their package part.
//!
//! `/srv/venv/lib/python3.11/site-packages/flask/app.py` is `flask/app.py`, the
//! standard library's `/usr/lib/python3.11/threading.py` is `threading.py`, and
//! the application's own files are named from its topmost folder that has any of
//! the profile's files in it. Two files never get the same short name: where they
//! would, they keep as many folders as it takes to tell them apart.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::model::Tables;

/// Whose code a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The application's own.
    Application,
    /// A package that was installed.
    Package,
    /// The standard library, or what is frozen into the interpreter.
    Standard,
    /// No file: a frame that farrier put there.
    Synthetic,
}

/// The short names and origins of all files of a profile.
#[derive(Debug)]
pub(crate) struct Files<'a> {
    short: FxHashMap<&'a str, (&'a str, Origin)>,
}

impl<'a> Files<'a> {
    /// Works out the names of all files that functions of the tables are in.
    pub(crate) fn of(tables: &'a Tables, full_names: bool) -> Self {
        let files: FxHashSet<&'a str> =
            tables.functions().iter().map(|function| tables.string(function.file)).collect();
        let mut folders: FxHashSet<&str> = FxHashSet::default();
        for &path in &files {
            if library_part(path).is_none() {
                // A file right in `/` must not make that the topmost folder of all.
                let end = path.rfind('/').filter(|&end| end > 0);
                folders.extend(end.map(|end| &path[..=end]));
            }
        }
        let mut names: Vec<Name> = files
            .into_iter()
            .map(|path| {
                let (start, origin) = match library_part(path) {
                    Some(library) => library,
                    None => (topmost_folder(path, &folders), Origin::Application),
                };
                let start = if full_names { 0 } else { start };
                Name { path, start, origin }
            })
            .collect();
        tell_apart(&mut names);
        let short = names
            .into_iter()
            .map(|name| (name.path, (&name.path[name.start..], name.origin)))
            .collect();
        Self { short }
    }

    /// The name to print for the file at this path; empty for no file.
    pub(crate) fn name(&self, path: &str) -> &'a str {
        self.short.get(path).map_or("", |&(name, _)| name)
    }

    /// Whose code it is.
    pub(crate) fn origin(&self, path: &str) -> Origin {
        self.short.get(path).map_or(Origin::Synthetic, |&(_, origin)| origin)
    }
}

struct Name<'a> {
    path: &'a str,
    /// Where the part begins that is printed.
    start: usize,
    origin: Origin,
}

/// Where a library file's package part begins, and what it is; `None` for what may
/// be the application's.
fn library_part(path: &str) -> Option<(usize, Origin)> {
    if path.is_empty() {
        return Some((0, Origin::Synthetic));
    }
    if path.starts_with('<') {
        return Some((0, Origin::Standard));
    }
    for folder in ["/site-packages/", "/dist-packages/"] {
        if let Some(at) = path.rfind(folder) {
            return Some((at + folder.len(), Origin::Package));
        }
    }
    // …/lib/python3.11/threading.py
    let at = path.find("/python3.").filter(|&at| path[..at].contains("lib"))? + 1;
    let end = at + path[at..].find('/')? + 1;
    let version = &path[at + "python3.".len()..end - 1];
    let is_version = version.trim_end_matches('t').chars().all(|c| c.is_ascii_digit());
    is_version.then_some((end, Origin::Standard))
}

/// The length of the path's topmost folder that has files in it.
fn topmost_folder(path: &str, folders: &FxHashSet<&str>) -> usize {
    path.match_indices('/')
        .map(|(at, _)| at + 1)
        .find(|&end| folders.contains(&path[..end]))
        .unwrap_or(0)
}

/// Gives names that are the same one more folder each, until none are.
fn tell_apart(names: &mut [Name<'_>]) {
    loop {
        let mut seen: FxHashMap<&str, usize> = FxHashMap::default();
        for name in names.iter() {
            *seen.entry(&name.path[name.start..]).or_default() += 1;
        }
        let mut changed = false;
        for name in names.iter_mut() {
            if name.start > 0 && seen[&name.path[name.start..]] > 1 {
                name.start = name.path[..name.start - 1].rfind('/').map_or(0, |at| at + 1);
                changed = true;
            }
        }
        if !changed {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shortened(paths: &[&str]) -> Vec<String> {
        let mut tables = Tables::new();
        for path in paths {
            tables.intern_function_named("f", path, 1);
        }
        let files = Files::of(&tables, false);
        paths.iter().map(|path| files.name(path).to_owned()).collect()
    }

    #[test]
    fn files_are_named_from_their_package() {
        assert_eq!(
            shortened(&[
                "/srv/venv/lib/python3.11/site-packages/flask/app.py",
                "/usr/lib/python3/dist-packages/yaml/__init__.py",
                "/usr/lib/python3.11/threading.py",
                "/opt/python/lib/python3.13t/json/decoder.py",
                "<frozen importlib._bootstrap>",
                "/srv/shop/wsgi.py",
                "/srv/shop/shop/api/views.py",
                "/etc/gunicorn/conf.py",
                "plain.py",
                "",
            ]),
            [
                "flask/app.py",
                "yaml/__init__.py",
                "threading.py",
                "json/decoder.py",
                "<frozen importlib._bootstrap>",
                "wsgi.py",
                "shop/api/views.py",
                "conf.py",
                "plain.py",
                "",
            ]
        );
    }

    #[test]
    fn two_files_never_share_a_short_name() {
        assert_eq!(
            shortened(&[
                "/srv/a/orders/views.py",
                "/srv/a/users/views.py",
                "/venv1/site-packages/x/y.py",
                "/venv2/site-packages/x/y.py",
                "/x.py",
                "x.py",
            ]),
            [
                "orders/views.py",
                "users/views.py",
                "venv1/site-packages/x/y.py",
                "venv2/site-packages/x/y.py",
                "/x.py",
                "x.py",
            ]
        );
    }
}
