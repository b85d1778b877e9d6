//! What every HTTP role shares: the error body, API keys, health and metrics, and the server itself.

pub mod auth;
mod docs;
pub mod errors;
pub mod health;
pub mod openapi;
pub mod server;

pub use auth::{ApiKeys, CanAdmin, CanIngest, CanRead, Tenant};
pub use errors::ApiError;
pub use health::{Health, Readiness};
pub use server::{Server, ServerError};
