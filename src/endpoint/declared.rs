//! What a person says of functions of their own: the rows of a table, from a file.
//!
//! ```text
//! { "endpoints": [
//!   { "function": "Consumer.handle", "file": "shop/consumer.py",
//!     "name": "message.headers['subject']", "request": "message", "kind": "message" }
//! ] }
//! ```
//!
//! An expression is the name of a local and steps from there: `.attribute`, from the object's
//! `__dict__` or its slots, and `['key']` of a dict. Nothing of the program is run.

use serde::Deserialize;

use super::rows::{Known, Mark, Naming, Place, Says, Serves, Standing};
use crate::model::Framework;
use crate::python::Step;

/// Functions that serve requests or carry out tasks, as a person declared them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Declared {
    rows: &'static [Known],
}

/// What is wrong with a declaration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct DeclaredError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong, and what to write.
    pub message: String,
}

/// The most functions that one file may declare, and the most steps of an expression.
const MOST_RULES: usize = 100;
const MOST_STEPS: usize = 8;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    endpoints: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    function: String,
    #[serde(default)]
    file: String,
    name: String,
    request: Option<String>,
    method: Option<String>,
    kind: Option<String>,
}

impl Declared {
    /// From the text of a file. What it names stays in memory to the end of the program, so it
    /// is to be read once.
    ///
    /// # Errors
    /// What is wrong with the text, in which line, and what to write there.
    pub fn parse(text: &str) -> Result<Self, DeclaredError> {
        let file: File = serde_json::from_str(text).map_err(|error| DeclaredError {
            line: error.line().max(1),
            message: format!("{}; {EXAMPLE}", without_place(&error.to_string())),
        })?;
        if file.endpoints.len() > MOST_RULES {
            let message = format!("more than {MOST_RULES} endpoints: write fewer");
            return Err(DeclaredError { line: 1, message });
        }
        let mut rows = Vec::with_capacity(file.endpoints.len());
        for rule in file.endpoints {
            rows.push(rule.row().map_err(|Wrong { what, message }| {
                let quoted = serde_json::to_string(&what).unwrap_or_default();
                let line = text.lines().position(|line| line.contains(&quoted)).unwrap_or(0) + 1;
                DeclaredError { line, message }
            })?);
        }
        Ok(Self { rows: rows.leak() })
    }

    pub(super) const fn rows(self) -> &'static [Known] {
        self.rows
    }
}

/// What a rule looks like, for who wrote another.
const EXAMPLE: &str = "write {\"endpoints\": [{\"function\": \"Consumer.handle\", \"name\": \
                       \"message.subject\"}]}, with \"file\", \"request\", \"method\" and \
                       \"kind\" if need be";

/// The message of an error without the place that stands at its end.
fn without_place(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |(message, _)| message)
}

/// A value that is wrong, and why.
struct Wrong {
    what: String,
    message: String,
}

impl Rule {
    fn row(self) -> Result<Known, Wrong> {
        let Self { function, file, name, request, method, kind } = self;
        let is_name = |part: &str| is_identifier(part) || part == "<locals>";
        if !function.split('.').all(is_name) {
            let message = format!(
                "{function:?} is no function's name: write it as Python does, such as \
                 \"Consumer.handle\""
            );
            return Err(Wrong { what: function, message });
        }
        let kind = kind.unwrap_or_else(|| "task".to_owned());
        if !is_identifier(&kind) {
            let message = format!("{kind:?} is no word: write one, such as \"message\"");
            return Err(Wrong { what: kind, message });
        }
        let name = place(&name)?;
        let request = match request {
            Some(request) => place(&request)?,
            // What the name is read from.
            None => Place { local: name.local, steps: &[] },
        };
        let naming = match method {
            Some(method) => Naming::Declared { method: place(&method)?, name },
            None => Naming::Work { kind: kind.leak(), name, framework: Framework::Declared },
        };
        let serves = Serves {
            standing: Standing::Declared,
            request,
            mark: Mark::Named,
            naming,
            carrier: None,
            suspends: true,
        };
        let functions: &'static [&'static str] = vec![&*function.leak()].leak();
        let says = Says { serves: Some(Box::leak(Box::new(serves))), routes: None };
        Ok(Known { file: file.leak(), functions, says })
    }
}

fn is_identifier(text: &str) -> bool {
    let is_part = |c: char| c == '_' || c.is_ascii_alphanumeric();
    !text.is_empty()
        && text.len() <= 100
        && text.chars().all(is_part)
        && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// An expression as a place.
fn place(text: &str) -> Result<Place, Wrong> {
    let wrong = |why: &str| Wrong {
        what: text.to_owned(),
        message: format!(
            "{text:?} {why}: write a local and steps from there, such as \"self.job.name\" or \
             \"environ['PATH_INFO']\""
        ),
    };
    let end = text.find(['.', '[']).unwrap_or(text.len());
    let (local, mut rest) = text.split_at(end);
    if !is_identifier(local) {
        return Err(wrong("does not begin with a local's name"));
    }
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let (step, after) = if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let (name, after) = after.split_at(end);
            if !is_identifier(name) {
                return Err(wrong("has an attribute without a name"));
            }
            (Step::Attribute(name.to_owned().leak()), after)
        } else {
            let key = rest.strip_prefix("['").and_then(|rest| rest.split_once("']"));
            let Some((key, after)) = key.filter(|(key, _)| key.is_ascii() && !key.is_empty())
            else {
                return Err(wrong("has a step that is neither .attribute nor ['key']"));
            };
            (Step::Item(key.to_owned().leak()), after)
        };
        if steps.len() == MOST_STEPS {
            return Err(wrong("has too many steps"));
        }
        steps.push(step);
        rest = after;
    }
    Ok(Place { local: local.to_owned().leak(), steps: steps.leak() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> (usize, String) {
        let error = Declared::parse(text).expect_err(text);
        (error.line, error.message)
    }

    #[test]
    fn a_rule_is_a_row() {
        let text = r#"{"endpoints": [{"function": "Consumer.handle", "file": "shop/consumer.py",
            "name": "self.message['subject'].text", "kind": "message"}]}"#;
        let declared = Declared::parse(text).unwrap();
        let [row] = declared.rows() else { panic!("one row") };
        assert!(row.is_declared_of("Consumer.handle", "/srv/shop/consumer.py"));
        assert!(row.is_declared_of("handle", "/srv/shop/consumer.py"));
        assert!(row.is_declared_of("make.<locals>.Consumer.handle", "/srv/shop/consumer.py"));
        assert!(!row.is_declared_of("Other.handle", "/srv/shop/consumer.py"));
        assert!(!row.is_declared_of("Consumer.handle", "/srv/other.py"));
        let Some(Serves { naming: Naming::Work { kind, name, .. }, request, .. }) = row.says.serves
        else {
            panic!("it is work")
        };
        assert_eq!((*kind, name.local, request.local), ("message", "self", "self"));
        let steps = [Step::Attribute("message"), Step::Item("subject"), Step::Attribute("text")];
        assert_eq!(name.steps, steps);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_what_to_write() {
        let (line, message) = wrong("{\"endpoints\": [\n {\"function\": \"f\"}\n]}");
        assert_eq!(line, 2);
        assert!(message.starts_with("missing field `name`; write {"), "{message}");
        let (line, message) = wrong("{\"endpoints\": [{\"function\": \"f\",\n\"name\": \"7up\"}]}");
        assert_eq!(line, 2);
        assert!(message.starts_with("\"7up\" does not begin with a local"), "{message}");
        for (name, why) in [
            ("a..b", "has an attribute without"),
            ("a[0]", "has a step that is neither"),
            ("a['']", "has a step that is neither"),
            ("a.b.c.d.e.f.g.h.i.j", "has too many steps"),
        ] {
            let (_, message) = wrong(&format!(
                "{{\"endpoints\": [{{\"function\": \"f\", \"name\": \"{name}\"}}]}}"
            ));
            assert!(message.contains(why), "{message}");
        }
        assert_eq!(wrong("[]").0, 1);
        assert!(wrong(r#"{"endpoints": [{"function": "a b", "name": "x"}]}"#).1.contains("a b"));
        assert!(wrong(r#"{"endpoints": [], "more": 1}"#).1.contains("more"));
    }
}
