//! What every HTTP role shares: the error body, API keys, health and metrics, and the server itself.

pub mod auth;
pub mod body;
mod docs;
pub mod errors;
pub mod extract;
pub mod frame;
pub mod health;
pub mod openapi;
pub mod server;

pub use auth::{ApiKeys, CanAdmin, CanIngest, CanRead, Tenant};
pub use body::JsonBytes;
pub use errors::ApiError;
pub use extract::{NoParameters, Path};
pub use health::{Health, Readiness};
pub use server::{Server, ServerError};
