//! Who may import whom. The rules are data; the checker reads `src/` and knows just
//! enough Rust to find paths: it drops comments, literals and test modules, and reads
//! `use` trees and paths in expressions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What each module may import of the crate's others. A module that is not listed
/// may not be there. `model` and `units` are the vocabulary of all.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("units", &[]),
    ("model", &["units"]),
    ("process", &["units"]),
    ("server", &["units", "model", "process"]),
    ("python", &["units", "model", "process"]),
    ("state", &["units", "model", "process", "python"]),
    ("endpoint", &["units", "model", "python"]),
    ("statement", &["units", "model", "python"]),
    (
        "sampler",
        &["units", "model", "process", "server", "python", "state", "endpoint", "statement"],
    ),
    ("profile", &["units", "model"]),
    ("recording", &["units", "model"]),
    ("analysis", &["units", "model", "profile"]),
    ("report", &["units", "model", "profile", "analysis"]),
    ("live", &["units", "model", "sampler", "profile", "analysis", "report"]),
    ("cli", ALL),
    ("main", &["cli"]),
    ("lib", ALL),
];

/// Every module but `main`.
const ALL: &[&str] = &[
    "units",
    "model",
    "process",
    "server",
    "python",
    "state",
    "endpoint",
    "statement",
    "sampler",
    "profile",
    "recording",
    "analysis",
    "report",
    "live",
    "cli",
];

/// Within a module that may be imported, what this one may not name all the same:
/// the interpreter is read through memory that was handed in, and states are told
/// from values, so neither opens a process.
const MAY_NOT_NAME: &[(&str, &[&str])] = &[
    ("python", &["process::Process", "process::LiveMemory", "process::tree", "process::hot"]),
    (
        "state",
        &["process::Process", "process::LiveMemory", "process::ReadMemory", "process::Batch"],
    ),
];

/// What has one home, or a few. A home is a module or a file of `src/`.
const HOMES: &[(&str, &[&str])] = &[
    ("std::fs", &["process", "cli"]),
    ("std::env", &["cli"]),
    ("std::process", &["process", "cli", "main"]),
    ("Instant::now", &["sampler/clock.rs"]),
    ("println!", &["cli"]),
    ("print!", &["cli"]),
    ("eprintln!", &["cli", "main"]),
    ("eprint!", &["cli", "main"]),
    ("process::exit", &["main"]),
    ("unsafe", &["process"]),
    ("clap", &["cli"]),
    ("indicatif", &["cli"]),
    ("signal_hook", &["cli"]),
    ("inferno", &["report"]),
    ("goblin", &["process"]),
    ("nix", &["process"]),
    ("procfs_core", &["process"]),
    ("read_process_memory", &["process"]),
    ("remoteprocess", &["process"]),
];

/// One source file, as far as the rules are concerned.
struct Source {
    /// Its path below `src/`, such as `python/walk.rs`.
    path: String,
    /// Its text without comments, literals and test modules.
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), code: without_tests(&without_literals(text)) }
    }

    /// The module of the crate that it belongs to.
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Its module path, such as `["python", "walk"]`.
    fn module_path(&self) -> Vec<&str> {
        let path = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        let path = path.strip_suffix("/mod").unwrap_or(path);
        if ["lib", "main"].contains(&path) { Vec::new() } else { path.split('/').collect() }
    }
}

/// The text with comments removed, and literals emptied.
fn without_literals(text: &str) -> String {
    let bytes: Vec<char> = text.chars().collect();
    let at = |index: usize| bytes.get(index).copied().unwrap_or('\0');
    let mut code = String::with_capacity(text.len());
    let mut index = 0;
    while index < bytes.len() {
        match at(index) {
            '/' if at(index + 1) == '/' => {
                while index < bytes.len() && at(index) != '\n' {
                    index += 1;
                }
            }
            '/' if at(index + 1) == '*' => {
                let mut depth = 0;
                loop {
                    match (at(index), at(index + 1)) {
                        ('/', '*') => (depth, index) = (depth + 1, index + 2),
                        ('*', '/') => (depth, index) = (depth - 1, index + 2),
                        _ => index += 1,
                    }
                    if depth == 0 || index >= bytes.len() {
                        break;
                    }
                }
            }
            // A raw string; an identifier that merely ends in r is none.
            'r' if (at(index + 1) == '"' || at(index + 1) == '#')
                && !code.ends_with(|c: char| c.is_alphanumeric() && c != 'b' || c == '_') =>
            {
                let hashes = bytes[index + 1..].iter().take_while(|c| **c == '#').count();
                if at(index + 1 + hashes) != '"' {
                    code.push('r');
                    index += 1;
                    continue;
                }
                let end: String =
                    std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
                let rest: String = bytes[index + 2 + hashes..].iter().collect();
                let length = rest.split(&end).next().unwrap_or_default().chars().count();
                index += 2 + hashes + length + end.len();
                code.push_str("\"\"");
            }
            '"' => {
                index += 1;
                while index < bytes.len() && at(index) != '"' {
                    index += if at(index) == '\\' { 2 } else { 1 };
                }
                index += 1;
                code.push_str("\"\"");
            }
            // A character; a lifetime has no closing quote.
            '\'' if at(index + 1) == '\\' || at(index + 2) == '\'' => {
                index += 2;
                while index < bytes.len() && at(index) != '\'' {
                    index += 1;
                }
                index += 1;
                code.push_str("' '");
            }
            other => {
                code.push(other);
                index += 1;
            }
        }
    }
    code
}

/// The code without what is behind `#[cfg(test)]`: tests may do anything.
fn without_tests(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some((before, after)) = rest.split_once("#[cfg(test)]") {
        kept.push_str(before);
        // An item ends at its first semicolon, or at the brace that closes its first.
        let mut depth = 0_usize;
        let end = after.char_indices().find_map(|(index, character)| {
            match character {
                '{' => depth += 1,
                '}' => {
                    depth = depth.saturating_sub(1);
                    return (depth == 0).then_some(index + 1);
                }
                ';' if depth == 0 => return Some(index + 1),
                _ => {}
            }
            None
        });
        rest = &after[end.unwrap_or(after.len())..];
    }
    kept + rest
}

/// Every path in the code, as segments: `use a::{b, c::d}` gives `a::b` and `a::c::d`,
/// and an expression `a::b(…)` gives `a::b`.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut tokens = Vec::new();
    let mut word = String::new();
    let mut characters = code.chars().peekable();
    while let Some(character) = characters.next() {
        if character.is_alphanumeric() || character == '_' {
            word.push(character);
            continue;
        }
        if !word.is_empty() {
            tokens.push(std::mem::take(&mut word));
        }
        match character {
            ':' if characters.peek() == Some(&':') => {
                characters.next();
                tokens.push("::".to_owned());
            }
            _ if character.is_whitespace() => {}
            _ => tokens.push(character.to_string()),
        }
    }
    tokens.extend((!word.is_empty()).then_some(word));

    let mut found = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        index = tree(&tokens, index, &[], &mut found).max(index + 1);
    }
    found
}

fn is_word(token: &str) -> bool {
    token.chars().all(|character| character.is_alphanumeric() || character == '_')
}

/// Reads the path or `use` tree that starts at a token, below `prefix`; returns where
/// it ends.
fn tree(tokens: &[String], start: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let token = |index: usize| tokens.get(index).map_or("", String::as_str);
    let mut path = prefix.to_vec();
    let mut index = start;
    // A path may begin with `::`.
    if token(index) == "::" {
        index += 1;
    }
    while !token(index).is_empty() && is_word(token(index)) {
        path.push(token(index).to_owned());
        index += 1;
        if token(index) == "!" {
            path.last_mut().expect("it was just pushed").push('!');
        }
        if token(index) != "::" {
            break;
        }
        index += 1;
        if token(index) == "{" {
            index += 1;
            while !["}", ""].contains(&token(index)) {
                index = tree(tokens, index, &path, found).max(index + 1);
            }
            return index + 1;
        }
    }
    if path.len() > prefix.len() {
        found.push(path);
    }
    index
}

/// The path from the crate's root, if it stays within the crate.
fn within_crate(source: &Source, path: &[String]) -> Option<Vec<String>> {
    let mut base: Vec<&str> = source.module_path();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" | "farrier" => (base, rest) = (Vec::new(), &path[1..]),
        "self" => rest = &path[1..],
        "super" => {
            while rest.first().is_some_and(|segment| segment == "super") {
                base.pop();
                rest = &rest[1..];
            }
        }
        _ => return None,
    }
    Some(base.into_iter().map(str::to_owned).chain(rest.iter().cloned()).collect())
}

/// Whether these segments begin with, or end in, the segments of a name.
fn names(path: &[String], name: &str) -> bool {
    let name: Vec<&str> = name.split("::").collect();
    path.windows(name.len()).enumerate().any(|(index, window)| {
        let starts = index == 0 || window.len() > 1;
        starts && window.iter().zip(&name).all(|(segment, part)| segment == part)
    })
}

fn row<'a, T: ?Sized>(table: &'a [(&str, &'a T)], key: &str) -> Option<&'a T> {
    table.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
}

/// Everything in one file that the rules forbid, in sentences.
fn violations(source: &Source) -> Vec<String> {
    let module = source.module();
    let Some(may_import) = row(MAY_IMPORT, module) else {
        return vec![format!("{}: no rule says what `{module}` may import", source.path)];
    };
    let may_not_name = row(MAY_NOT_NAME, module).unwrap_or_default();
    let mut said = Vec::new();
    for path in paths(&source.code) {
        let shown = path.join("::");
        if let Some(inner) = within_crate(source, &path) {
            let first = inner.first().map_or("", String::as_str);
            let known = ALL.contains(&first);
            if known && first != module && !may_import.contains(&first) {
                said.push(format!(
                    "{}: `{module}` may not import `{first}` ({shown})",
                    source.path
                ));
            }
            for name in may_not_name {
                let parts: Vec<&str> = name.split("::").collect();
                if inner.len() >= parts.len() && inner.iter().zip(&parts).all(|(a, b)| a == b) {
                    said.push(format!("{}: `{module}` may not name `{name}`", source.path));
                }
            }
            continue;
        }
        for (name, homes) in HOMES {
            let home = homes.iter().any(|home| *home == module || *home == source.path);
            if !home && names(&path, name) {
                said.push(format!(
                    "{}: `{name}` lives in {homes:?}, not here ({shown})",
                    source.path
                ));
            }
        }
    }
    said
}

/// Every file below `src/`, except those that only tests compile.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut texts = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("src is there") {
            let path = entry.expect("src can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("source is UTF-8");
                texts.insert(path.strip_prefix(&root).expect("it is below").to_path_buf(), text);
            }
        }
    }
    let for_tests = test_files(&texts);
    texts
        .iter()
        .filter(|(path, _)| !for_tests.iter().any(|test| path.starts_with(test)))
        .map(|(path, text)| Source::new(path.to_str().expect("UTF-8"), text))
        .collect()
}

/// Files (and folders) that are modules behind `#[cfg(test)]`.
fn test_files(texts: &BTreeMap<PathBuf, String>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (path, text) in texts {
        let code = without_literals(text);
        for after in code.split("#[cfg(test)]").skip(1) {
            let declaration = after.split([';', '{']).next().unwrap_or_default();
            if after[declaration.len()..].starts_with(';')
                && let Some((_, name)) = declaration.split_once("mod ")
            {
                let folder = match path.file_stem().and_then(|stem| stem.to_str()) {
                    Some("mod" | "lib" | "main") => path.with_file_name(""),
                    _ => path.with_extension(""),
                };
                found.push(folder.join(name.trim()));
                found.push(folder.join(name.trim()).with_extension("rs"));
            }
        }
    }
    found
}

#[test]
fn the_source_keeps_to_the_layers() {
    let sources = sources();
    assert!(sources.iter().any(|source| source.path == "lib.rs"), "the source was not found");
    let said: Vec<String> = sources.iter().flat_map(violations).collect();
    assert!(said.is_empty(), "{} violations:\n{}", said.len(), said.join("\n"));
}

#[test]
fn every_rule_speaks_of_modules_that_have_rules() {
    for (module, may_import) in MAY_IMPORT {
        for other in *may_import {
            assert!(
                row(MAY_IMPORT, other).is_some(),
                "{module} may import {other}, which has no row"
            );
        }
    }
}

/// What is said of a file with this text.
fn said(path: &str, text: &str) -> Vec<String> {
    violations(&Source::new(path, text))
}

#[test]
fn planted_violations_are_found() {
    let planted = [
        ("python/walk.rs", "use crate::sampler::Session;"),
        ("python/walk.rs", "use crate::{model::Tables, sampler::{clock, Session}};"),
        ("python/walk.rs", "use super::super::sampler::Session;"),
        ("python/mod.rs", "fn f() { super::sampler::run(); }"),
        ("python/walk.rs", "fn f() { let x = crate::report::draw(1); }"),
        ("python/walk.rs", "use crate::process::{Batch, LiveMemory};"),
        ("state/mod.rs", "fn f(p: &crate::process::Process) {}"),
        ("profile/mod.rs", "use crate::analysis;"),
        ("analysis/summary.rs", "use crate::report::numbers;"),
        ("report/mod.rs", "use std::fs::File;"),
        ("report/mod.rs", "use std::{io, fs::File};"),
        ("report/mod.rs", "fn f() { std::fs::read(p); }"),
        ("report/mod.rs", "use std::fs;"),
        ("report/mod.rs", "fn f() { println!(\"x\"); }"),
        ("sampler/mod.rs", "fn f() { std::env::var(\"X\"); }"),
        ("sampler/tick.rs", "use std::time::Instant; fn f() { Instant::now(); }"),
        ("sampler/tick.rs", "fn f() { std::time::Instant::now(); }"),
        ("cli/record.rs", "fn f() { std::process::exit(1); }"),
        ("cli/record.rs", "use std::process; fn f() { process::exit(1); }"),
        ("python/view.rs", "fn f() { unsafe { g() } }"),
        ("python/view.rs", "unsafe fn f() {}"),
        ("live/top.rs", "use clap::Parser;"),
        ("units.rs", "use crate::model::Sample;"),
        ("main.rs", "use farrier::sampler::Session;"),
        ("unheard_of/mod.rs", ""),
        ("python/walk.rs", "#[cfg(test)]\nmod tests { use a::b; }\nuse crate::sampler::Session;"),
    ];
    for (path, text) in planted {
        assert!(!said(path, text).is_empty(), "not found in {path}: {text}");
    }
}

#[test]
fn what_is_allowed_is_not_found_fault_with() {
    let allowed = [
        ("python/walk.rs", "use crate::process::{Batch, ReadMemory};\nuse super::layout::Layout;"),
        ("python/layout/tables.rs", "use super::super::version::Version;"),
        (
            "python/walk.rs",
            "// use crate::sampler;\n/* crate::sampler::x /* */ */ const A: &str = \"crate::sampler::x\";",
        ),
        ("python/walk.rs", "const A: &str = r#\"use crate::sampler::\"x\";\"#;"),
        ("python/walk.rs", "#[cfg(test)]\nmod tests { fn f() { if x { std::fs::read(p) } } }"),
        (
            "python/walk.rs",
            "#[cfg(test)]\nuse crate::sampler::Session;\nfn f<'a>(x: &'a str) -> char { '\"' }",
        ),
        ("cli/record.rs", "fn f() { println!(\"{}\", 1); std::fs::read(p); }"),
        ("sampler/clock.rs", "use std::time::Instant; fn f() { Instant::now(); }"),
        ("main.rs", "fn main() { std::process::exit(farrier::cli::run()) }"),
        ("report/mod.rs", "fn f(instant: Instant, print: bool) { writeln!(x, \"println!\"); }"),
        ("process/memory.rs", "use nix::sys::uio; fn f() { unsafe { g() } }"),
        ("lib.rs", "pub mod model;\npub mod sampler;"),
    ];
    for (path, text) in allowed {
        assert_eq!(said(path, text), Vec::<String>::new(), "in {path}: {text}");
    }
}
