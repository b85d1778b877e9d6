//! The family civic: citizens' reports, and what becomes of the issues that they open.

#[cfg(feature = "local")]
pub mod demo;
pub mod event;
mod ingest;
mod queries;
pub mod settings;
pub mod sla;

use utoipa_axum::router::OpenApiRouter;

use self::settings::CivicSettings;
use self::sla::Sla;
#[cfg(feature = "local")]
use super::demonstration::DemonstrationKind;
use super::{Family, JobVisitor};
use crate::ingest::handler::Handler;
use crate::read::Shared;
use crate::runtime::Job;

/// The family.
pub struct Civic;

/// The job that keeps service levels.
pub fn sla_job() -> Job<Sla> {
    Job::new::<CivicSettings>(Sla::default)
}

impl Family for Civic {
    const ABOUT: &'static str = "Citizens' reports, and the issues that they open";
    type Settings = CivicSettings;

    fn routes() -> OpenApiRouter<Handler<Self>> {
        ingest::routes()
    }

    fn jobs<V: JobVisitor<Self>>(visitor: &mut V) {
        visitor.job(sla_job());
    }

    fn queries() -> OpenApiRouter<Shared> {
        queries::routes()
    }

    #[cfg(feature = "local")]
    fn demonstration() -> Option<DemonstrationKind> {
        Some(DemonstrationKind::of::<demo::Month>())
    }
}
