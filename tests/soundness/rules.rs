//! What may be: the rules beside the fixtures, as functions of one stack, root first.

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

/// `stack_tree.py`: a binary tree of calls, 20 deep.
pub(crate) fn tree(stack: &[NamedFrame], truth: &Value, strictness: Strictness) -> Verdict {
    const DEPTH: usize = 20;
    const FILE: &str = "stack_tree_calls.py";
    let number = |value: &Value| value.as_u64().unwrap_or_default() as u32;
    for (depth, frame) in stack.iter().enumerate() {
        let sides = [(format!("n{depth}_L"), 0), (format!("n{depth}_R"), 1)];
        let side = sides.iter().find(|(name, _)| *name == frame.function).map(|side| side.1);
        let (first, calls) = match (depth, side) {
            (0, None) if frame.function == "<module>" && frame.file == "stack_tree.py" => {
                (1, vec![("n1_L".to_owned(), number(&truth["bottom"]))])
            }
            (1..=DEPTH, Some(right)) if frame.file == FILE => {
                let first = 100 * (2 * depth as u32 + right);
                let below = depth + 1;
                let calls =
                    [(format!("n{below}_L"), first + 10), (format!("n{below}_R"), first + 20)];
                (first, if depth < DEPTH { calls.to_vec() } else { Vec::new() })
            }
            _ => return Err(format!("{} at depth {depth}", frame.function)),
        };
        let Some(callee) = stack.get(depth + 1) else {
            let inside = depth == 0 || (first..=first + 20).contains(&frame.line);
            return if inside || strictness == Strictness::Functions {
                Ok(())
            } else {
                Err(format!("{} at line {}", frame.function, frame.line))
            };
        };
        let Some((_, line)) = calls.iter().find(|(name, _)| *name == callee.function) else {
            return Err(format!("{} called {}", frame.function, callee.function));
        };
        if strictness == Strictness::Lines && *line != frame.line {
            let (caller, callee) = (&frame.function, &callee.function);
            return Err(format!("{caller} called {callee} from line {}", frame.line));
        }
    }
    if stack.is_empty() { Err("no frames".to_owned()) } else { Ok(()) }
}
