//! The family interactions: what people do in a browser, and the frustration that shows in it.

#[cfg(feature = "local")]
mod demo;
pub mod event;
pub mod frustration;
pub mod generate;
pub mod ingest;
mod queries;
pub mod settings;

use utoipa_axum::router::OpenApiRouter;

use self::frustration::Frustration;
use self::settings::InteractionsSettings;
#[cfg(feature = "local")]
use super::demonstration::DemonstrationKind;
use super::generator::GenerateCommand;
use super::{Family, JobVisitor};
use crate::ingest::handler::Handler;
use crate::read::Shared;
use crate::runtime::Job;

/// The family.
pub struct Interactions;

/// The job that finds sessions and the frustration in them.
pub fn frustration_job() -> Job<Frustration> {
    Job::new::<InteractionsSettings>(Frustration::default)
}

impl Family for Interactions {
    const ABOUT: &'static str = "What people do in a browser";
    type Settings = InteractionsSettings;

    fn routes() -> OpenApiRouter<Handler<Self>> {
        ingest::routes()
    }

    fn jobs<V: JobVisitor<Self>>(visitor: &mut V) {
        visitor.job(frustration_job());
    }

    fn queries() -> OpenApiRouter<Shared> {
        queries::routes()
    }

    fn generators() -> Vec<Box<dyn GenerateCommand>> {
        generate::commands()
    }

    #[cfg(feature = "local")]
    fn demonstration() -> Option<DemonstrationKind> {
        Some(DemonstrationKind::of::<demo::Visitors>())
    }
}
