//! What a sample is attributed to.

use super::tables::StringId;

/// Who named an endpoint's route. Recordings have the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Framework {
    /// Nobody: the route is the request's path with its identifiers folded, or
    /// the endpoint is a `(label)`.
    None = 0,
    /// Flask's URL rule.
    Flask = 1,
    /// Django's pattern, with the prefixes of `include`s.
    Django = 2,
    /// The paths of Starlette's mounts and its route.
    Starlette = 3,
    /// The same of FastAPI.
    FastApi = 4,
    /// Bottle's rule.
    Bottle = 5,
    /// The pattern of Pyramid's route.
    Pyramid = 6,
    /// Falcon's URI template.
    Falcon = 7,
    /// The path of aiohttp's resource.
    Aiohttp = 8,
    /// The path of Sanic's route.
    Sanic = 9,
    /// Litestar's path template.
    Litestar = 10,
    /// The name of a task of Celery's.
    Celery = 11,
    /// The function of a job of RQ's.
    Rq = 12,
    /// What a person declared of a function of their own.
    Declared = 13,
    /// The method of a service of gRPC.
    Grpc = 14,
}

impl Framework {
    /// All there are, each at the position that is its number.
    pub const ALL: [Self; 15] = [
        Self::None,
        Self::Flask,
        Self::Django,
        Self::Starlette,
        Self::FastApi,
        Self::Bottle,
        Self::Pyramid,
        Self::Falcon,
        Self::Aiohttp,
        Self::Sanic,
        Self::Litestar,
        Self::Celery,
        Self::Rq,
        Self::Declared,
        Self::Grpc,
    ];

    /// The word used in print and in JSON; `None` where no framework named it.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Flask => Some("flask"),
            Self::Django => Some("django"),
            Self::Starlette => Some("starlette"),
            Self::FastApi => Some("fastapi"),
            Self::Bottle => Some("bottle"),
            Self::Pyramid => Some("pyramid"),
            Self::Falcon => Some("falcon"),
            Self::Aiohttp => Some("aiohttp"),
            Self::Sanic => Some("sanic"),
            Self::Litestar => Some("litestar"),
            Self::Celery => Some("celery"),
            Self::Rq => Some("rq"),
            Self::Declared => Some("declared"),
            Self::Grpc => Some("grpc"),
        }
    }
}

/// A method and a route (`GET /users/<int:uid>`), or a label such as `(idle)` where
/// no request is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// As it is printed.
    pub label: StringId,
    /// The HTTP method, or what kind of work it is (`task`); `None` for a label.
    pub method: Option<StringId>,
    /// The route, or the work's name; `None` for a label.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_positions() {
        for (position, framework) in Framework::ALL.into_iter().enumerate() {
            assert_eq!(framework as usize, position);
        }
    }
}
