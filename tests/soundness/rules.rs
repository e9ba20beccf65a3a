//! What may be: the rules beside the fixtures, as functions of one stack, root first.
//!
//! Every rule says of one frame what it may call and from which line; [`judge`] goes through
//! a stack with it. So no frame may be missing, and none may be of another stack.

use std::collections::HashSet;

use serde_json::Value;

use crate::common::NamedFrame;

/// How much of a stack is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// Who called whom, and from which line.
    Lines,
    /// Who called whom.
    Functions,
}

/// What is wrong with a stack, if anything is.
pub(crate) type Verdict = Result<(), String>;

/// What is known of a fixture's stacks. `truth` is the JSON that it printed.
pub(crate) struct Rule {
    /// Whether there may be threads without a Python frame.
    pub(crate) frameless: bool,
    /// Whether a stack may begin with this frame.
    pub(crate) root: fn(truth: &Truth, frame: &NamedFrame) -> bool,
    /// Whether this frame may call this one, and if so from which lines; `None` if not at
    /// all, no lines if from any.
    pub(crate) calls:
        fn(truth: &Truth, caller: &NamedFrame, callee: &NamedFrame) -> Option<Vec<u32>>,
    /// The lines that a frame may be at, from the first to the last.
    pub(crate) lines: fn(truth: &Truth, frame: &NamedFrame) -> (u32, u32),
}

/// What a fixture says of itself.
pub(crate) struct Truth {
    said: Value,
    edges: HashSet<(String, u32, String)>,
}

impl Truth {
    /// Of the JSON that it printed.
    pub(crate) fn new(said: Value) -> Self {
        let edge = |edge: &Value| {
            let word = |index: usize| Some(edge[index].as_str()?.to_owned());
            Some((word(0)?, u32::try_from(edge[1].as_u64()?).ok()?, word(2)?))
        };
        let edges = said["edges"].as_array().into_iter().flatten().filter_map(edge).collect();
        Self { said, edges }
    }

    fn line(&self, name: &str) -> u32 {
        let line = self.said[name].as_u64().and_then(|line| line.try_into().ok());
        line.unwrap_or_else(|| panic!("the fixture does not tell {name}"))
    }
}

/// Goes through a stack, root first.
pub(crate) fn judge(
    rule: &Rule,
    truth: &Truth,
    stack: &[NamedFrame],
    strictness: Strictness,
) -> Verdict {
    let Some(root) = stack.first() else {
        return if rule.frameless { Ok(()) } else { Err("no frames".to_owned()) };
    };
    if !(rule.root)(truth, root) {
        return Err(format!("{} at the root", root.function));
    }
    for pair in stack.windows(2) {
        let [caller, callee] = pair else { continue };
        let Some(lines) = (rule.calls)(truth, caller, callee) else {
            return Err(format!("{} called {}", caller.function, callee.function));
        };
        if strictness == Strictness::Lines && !lines.is_empty() && !lines.contains(&caller.line) {
            let (from, to, line) = (&caller.function, &callee.function, caller.line);
            return Err(format!("{from} called {to} from line {line}"));
        }
    }
    let leaf = &stack[stack.len() - 1];
    let (first, last) = (rule.lines)(truth, leaf);
    if strictness == Strictness::Lines && !(first..=last).contains(&leaf.line) {
        return Err(format!("{} at line {}", leaf.function, leaf.line));
    }
    Ok(())
}

/// A generated function: the numbers in its name (`n7_R` is 7 and 1), if that begins with
/// `letter` and the file is the one that belongs to it.
fn numbers(frame: &NamedFrame, letter: char) -> Option<(u32, u32)> {
    let (one, other) = frame.function.strip_prefix(letter)?.split_once('_')?;
    let other = match other {
        "L" => 0,
        "R" => 1,
        number => number.parse().ok()?,
    };
    Some((one.parse().ok()?, other))
}

fn is_module(frame: &NamedFrame, file: &str) -> bool {
    frame.function == "<module>" && frame.file == file
}

const ANY: (u32, u32) = (0, u32::MAX);

/// `stack_tree.py`: a binary tree of calls, 20 deep.
pub(crate) const TREE: Rule = Rule {
    frameless: false,
    root: |_, frame| is_module(frame, "stack_tree.py"),
    calls: |truth, caller, callee| {
        let (depth, right) = tree_node(callee)?;
        if is_module(caller, "stack_tree.py") {
            return ((depth, right) == (1, 0)).then(|| vec![truth.line("bottom")]);
        }
        let (above, above_right) = tree_node(caller)?;
        let first = 100 * (2 * above + above_right);
        (depth == above + 1).then(|| vec![first + 10 + 10 * right])
    },
    lines: |_, frame| match tree_node(frame) {
        Some((depth, right)) => {
            let first = 100 * (2 * depth + right);
            (first, first + 20)
        }
        None => ANY,
    },
};

fn tree_node(frame: &NamedFrame) -> Option<(u32, u32)> {
    let node = numbers(frame, 'n')?;
    (frame.file == "stack_tree_calls.py" && (1..=20).contains(&node.0)).then_some(node)
}

/// `stack_churn.py`: functions made and freed, chains of one generation each.
pub(crate) const CHURN: Rule = Rule {
    frameless: false,
    root: |_, frame| is_module(frame, "stack_churn.py"),
    calls: |truth, caller, callee| {
        const FILE: &str = "stack_churn.py";
        if caller.file == FILE {
            return match (caller.function.as_str(), callee.function.as_str()) {
                ("<module>", "make") if callee.file == FILE => Some(vec![truth.line("make")]),
                ("make", "compiled") if callee.file == FILE => Some(vec![truth.line("compiled")]),
                ("<module>", _) => (churned(callee)?.1 == 0).then(|| vec![truth.line("chain")]),
                _ => None,
            };
        }
        let ((generation, level), called) = (churned(caller)?, churned(callee)?);
        let first = 1000 * level + 10 * (generation % 64) + 1;
        (called == (generation, level + 1)).then(|| vec![first + 3 + level])
    },
    lines: |_, frame| match churned(frame) {
        Some((generation, level)) => {
            let first = 1000 * level + 10 * (generation % 64) + 1;
            (first, first + 3 + level)
        }
        None => ANY,
    },
};

fn churned(frame: &NamedFrame) -> Option<(u32, u32)> {
    let (generation, level) = numbers(frame, 'c')?;
    let of_its_file = frame.file == format!("churn_{generation}.py");
    (of_its_file && generation < 997 && level < 6).then_some((generation, level))
}

/// `stack_deep.py`: up and down through many chunks.
pub(crate) const DEEP: Rule = Rule {
    frameless: false,
    root: |_, frame| is_module(frame, "stack_deep.py"),
    calls: |truth, caller, callee| {
        let (depth, colour) = deep(callee)?;
        if is_module(caller, "stack_deep.py") {
            return (depth == 1).then(|| vec![truth.line("bottom")]);
        }
        let (above, above_colour) = deep(caller)?;
        let first = 10 * (4 * above + above_colour);
        if depth != above + 1 || depth > truth.line("deepest") {
            return None;
        }
        if colour == above_colour {
            let thrice = above % 100 == 90;
            return Some(if thrice {
                vec![first + 2, first + 3, first + 4]
            } else {
                vec![first + 2]
            });
        }
        (above.is_multiple_of(50) && colour == (above_colour + 1) % 4).then(|| vec![first + 4])
    },
    lines: |_, frame| match deep(frame) {
        Some((depth, colour)) => {
            let first = 10 * (4 * depth + colour);
            (first, first + 4)
        }
        None => ANY,
    },
};

fn deep(frame: &NamedFrame) -> Option<(u32, u32)> {
    numbers(frame, 'd').filter(|node| frame.file == "stack_deep_calls.py" && node.1 < 4)
}

/// `stack_generators.py`: it tells all its edges.
pub(crate) const GENERATORS: Rule = Rule {
    frameless: false,
    root: |_, frame| is_module(frame, "stack_generators.py"),
    calls: |truth, caller, callee| {
        const FILE: &str = "stack_generators_calls.py";
        if is_module(caller, "stack_generators.py") {
            let called = callee.function == "turn" && callee.file == FILE;
            return called.then(|| vec![truth.line("bottom")]);
        }
        let of =
            |edge: &&(String, u32, String)| edge.0 == caller.function && edge.2 == callee.function;
        let lines: Vec<u32> = truth.edges.iter().filter(of).map(|edge| edge.1).collect();
        (!lines.is_empty() && caller.file == FILE && callee.file == FILE).then_some(lines)
    },
    lines: |_, _| ANY,
};

/// `stack_threads.py`: short threads, each with functions of its own.
pub(crate) const THREADS: Rule = Rule {
    frameless: true,
    root: |_, frame| {
        is_module(frame, "stack_threads.py")
            || short(frame).is_some_and(|node| node.1 == 0)
            || bootstrap(frame) == Some(0)
            // After a thread's last function has returned, `thread_run` in C lets go of its
            // `Thread`, and the set of all of them is called back, from no Python function.
            || (frame.file == "_weakrefset.py" && frame.function.ends_with("_remove"))
    },
    calls: |_, caller, callee| {
        let library = ["threading.py", "_weakrefset.py"];
        let main = |frame: &NamedFrame| frame.file == "stack_threads.py";
        match (short(caller), short(callee)) {
            (Some((thread, level)), Some(called)) => {
                let line = 100 * level + 2 + thread % 50;
                let calls = called == (thread, level + 1) && level < 2 + thread % 7;
                calls.then(|| vec![line])
            }
            (None, Some((_, level))) => (level == 0 && bootstrap(caller) == Some(2)).then(Vec::new),
            (Some(_), None) => None,
            (None, None) if is_module(caller, "stack_threads.py") => {
                (callee.function == "main" && main(callee)).then(Vec::new)
            }
            (None, None) => match (bootstrap(caller), bootstrap(callee)) {
                (Some(above), Some(below)) => (below == above + 1).then(Vec::new),
                (None, Some(_)) => None,
                _ => library.contains(&callee.file.as_str()).then(Vec::new),
            },
        }
    },
    lines: |_, frame| match short(frame) {
        Some((_, level)) => (100 * level + 1, 100 * level + 70),
        None => ANY,
    },
};

fn short(frame: &NamedFrame) -> Option<(u32, u32)> {
    let (thread, level) = numbers(frame, 't')?;
    let of_its_file = frame.file == format!("threads_{thread}.py");
    (of_its_file && thread < 199 && level <= 2 + thread % 7).then_some((thread, level))
}

/// The place among those that `threading` begins a thread with.
fn bootstrap(frame: &NamedFrame) -> Option<usize> {
    let name = frame.function.strip_prefix("Thread.").unwrap_or(&frame.function);
    let place = ["_bootstrap", "_bootstrap_inner", "run"].iter().position(|each| *each == name);
    place.filter(|_| frame.file == "threading.py")
}
