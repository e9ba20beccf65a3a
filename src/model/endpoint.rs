//! What a sample is attributed to.

use super::tables::StringId;

/// Who named an endpoint's route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Framework {
    /// Nobody: the route is the request's path with its identifiers folded, or
    /// the endpoint is a `(label)`.
    None = 0,
    /// Flask's URL rule.
    Flask = 1,
}

impl Framework {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::None, Self::Flask];

    /// The word used in print and in JSON; `None` where no framework named it.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Flask => Some("flask"),
        }
    }
}

/// A method and a route (`GET /users/<int:uid>`), or a label such as `(idle)` where
/// no request is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// As it is printed.
    pub label: StringId,
    /// The HTTP method; `None` for a label.
    pub method: Option<StringId>,
    /// The route; `None` for a label.
    pub route: Option<StringId>,
    /// Who named the route.
    pub framework: Framework,
    /// The framework's name for what serves it (Flask's `endpoint`), in words.
    pub handler: Option<StringId>,
}

impl Endpoint {
    /// Whether a request is served under it.
    pub const fn is_request(&self) -> bool {
        self.method.is_some()
    }
}
