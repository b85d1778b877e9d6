//! What a family is.

use utoipa_axum::router::OpenApiRouter;

#[cfg(feature = "local")]
use super::demonstration::DemonstrationKind;
use super::generator::GenerateCommand;
use crate::engine::Operator;
use crate::engine::rows::OperatorRow;
use crate::ingest::Source;
use crate::ingest::handler::Handler;
use crate::read::Shared;
use crate::runtime::Job;
use crate::settings::Document;

/// A family: events that land on one topic, and what is made of them.
///
/// What comes in of it is its [`Source`], which names it; what can be set of it a [`Document`]; what folds it its jobs. Its
/// topics and rows are declared in `topics/` and `schemas/`.
pub trait Family: Source {
    /// What its events are, in a line.
    const ABOUT: &'static str;
    /// What can be set of its operators.
    type Settings: Document;

    /// Its HTTP routes for events.
    fn routes() -> OpenApiRouter<Handler<Self>>;

    /// Its jobs: each is given to `visitor`, in an order that stays.
    fn jobs<V: JobVisitor<Self>>(visitor: &mut V);

    /// Its answers that are more than rows.
    fn queries() -> OpenApiRouter<Shared> {
        OpenApiRouter::new()
    }

    /// What makes up events of it, and says how well they were understood; none where there is nothing of the kind.
    fn generators() -> Vec<Box<dyn GenerateCommand>> {
        Vec::new()
    }

    /// What `tidewatch demo` shows of it; none where there is nothing to show.
    #[cfg(feature = "local")]
    fn demonstration() -> Option<DemonstrationKind> {
        None
    }
}

/// Does something with each job of a family.
pub trait JobVisitor<F: Family> {
    /// Visits this job.
    fn job<O>(&mut self, job: Job<O>)
    where
        O: Operator<Event = F::Event, Row: OperatorRow, Settings: Send + Sync> + Send + Sync;
}
