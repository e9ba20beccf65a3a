//! Which request a thread serves, and under which endpoint: told from the frames on its
//! stack and from locals of a few well-known functions of servers and frameworks.
//!
//! ```text
//! gunicorn handle_request   locals req, request_start ─► which request, method, path
//!                           local environ ─► "werkzeug.request" ─► url_rule ─► rule
//!   …the application…                        "/users/<int:uid>"
//! uvicorn run_asgi          local self ─► scope ─► method, path
//!   Mount.handle            local self ─► path      "/api"
//!     Route.handle          local self ─► path      "/users/{uid}"
//! ```
//!
//! What is known of a server or a framework is data: a known function, and what to do
//! with its locals. The rows are in `rows/`. Without a framework's route
//! the endpoint is the method and the path with identifiers folded.
//!
//! A request is told by the server's own request object *and* the moment the server
//! wrote down as its start, or else what of it is made anew for each request. Both are
//! compared again at every tick, so that an address that is reused is not taken for the
//! request that had it before; `rows::Mark` says how safe each of them is.

mod attribution;
mod counter;
mod declared;
mod in_flight;
mod key;
mod request;
mod roles;
mod route;
mod routing;
mod rows;
mod shared;

pub use attribution::{Attributed, Attribution, Serving, ThreadRequest};
pub use counter::RequestCounter;
pub use declared::{Declared, DeclaredError};
pub use request::InProgress;
pub use shared::Shared;
