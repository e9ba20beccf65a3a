//! Command lines of Python programs: what is started, and with which arguments.

/// The arguments after `NAME`, `python … NAME` or `python … -m NAME`. `is_script` says of a
/// file's name whether it is it, `is_module` the same of a module. A wrapper such as `sh -c`,
/// `tini` or `uv run` has the word on its command line as well and is not it.
pub(super) fn arguments_of(
    words: &[String],
    is_script: impl Fn(&str) -> bool,
    is_module: impl Fn(&str) -> bool,
) -> Option<&[String]> {
    let (program, rest) = words.split_first()?;
    if is_script(file_name(program)) {
        return Some(rest);
    }
    if !is_interpreter(program) {
        return None;
    }
    let mut rest = rest;
    while let Some((word, after)) = rest.split_first() {
        rest = after;
        match word.as_str() {
            "-m" => {
                let (module, arguments) = after.split_first()?;
                return is_module(module).then_some(arguments);
            }
            "-c" | "-" => return None,
            // Their value is the next word.
            "-W" | "-X" | "--check-hash-based-pycs" => rest = after.split_first()?.1,
            option if option.starts_with('-') => {}
            script => return is_script(file_name(script)).then_some(after),
        }
    }
    None
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

pub(super) fn is_interpreter(path: &str) -> bool {
    ["python", "pypy"].iter().any(|name| file_name(path).starts_with(name))
}

/// The name of an option and the value in the same word, if it has one; `None` for a
/// word that is no option.
pub(super) fn split_option(word: &str) -> Option<(&str, Option<&str>)> {
    if word.starts_with("--") {
        return Some(match word.split_once('=') {
            Some((option, value)) => (option, Some(value)),
            None => (word, None),
        });
    }
    if word.len() > 1 && word.starts_with('-') {
        let (option, value) = word.split_at_checked(2)?;
        return Some((option, Some(value.trim_start_matches('=')).filter(|v| !v.is_empty())));
    }
    None
}
