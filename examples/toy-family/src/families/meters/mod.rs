//! The family meters: what electricity meters read, hour by hour, and an alarm while one of them reads too much.

pub mod alarms;
pub mod event;
pub mod hours;
mod ingest;
pub mod settings;

use utoipa_axum::router::OpenApiRouter;

use self::alarms::Alarms;
use self::settings::MetersSettings;
use super::{Family, JobVisitor};
use crate::ingest::handler::Handler;
use crate::runtime::Job;

/// The family.
pub struct Meters;

impl Family for Meters {
    const ABOUT: &'static str = "Readings of electricity meters";
    type Settings = MetersSettings;

    fn routes() -> OpenApiRouter<Handler<Self>> {
        ingest::routes()
    }

    fn jobs<V: JobVisitor<Self>>(visitor: &mut V) {
        visitor.job(Job::new::<MetersSettings>(hours::operator));
        visitor.job(Job::new::<MetersSettings>(Alarms::default));
    }
}
