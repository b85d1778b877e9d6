//! The family civic: reports and changes of status, from the API's JSON to [`CivicEvent`].

mod json;
mod routes;

use serde_json::value::RawValue;

pub use self::json::Receipt;
use self::json::{ADDRESS, AREA, DEPARTMENT, SOURCE, Shape, change_of, described, either, report};
pub use self::routes::routes;
use super::Civic;
use super::event::{Body, CivicEvent, ReportSubmitted, UNKNOWN_AREA};
use crate::config::{IngestConfig, Secret};
use crate::http::ApiError;
use crate::ingest::body::{Form, parse};
use crate::ingest::item::{Item, Origin, Submission};
use crate::ingest::{Source, fields};

impl Source for Civic {
    const NAME: &'static str = "civic";
    const FORM: Form = Form::OneOrBatch;
    type Event = CivicEvent;
    type Receipt = Receipt;
    type Rules = ();

    fn rules(_: &IngestConfig, _: &Secret) {}

    /// An item of any route: of the batch of both kinds, a bare report, or a bare change of status that names its issue.
    fn read(item: &Item<'_>, (): &()) -> Result<Submission<CivicEvent, Receipt>, ApiError> {
        let is_object = |json: &RawValue| json.get().starts_with('{');
        match parse::<Shape<'_>>(item.json, item.path)? {
            Shape { report: Some(_), .. } => either(item, &()),
            Shape { status: Some(status), .. } if is_object(status) => either(item, &()),
            Shape { report: None, status: None, issue_id: None } => {
                report(item, parse(item.json, item.path)?, item.path)
            }
            _ => change_of(item, item.json, item.path),
        }
    }

    fn adopt(mut event: CivicEvent, origin: &Origin<'_>, (): &()) -> Result<CivicEvent, ApiError> {
        let id = Some(event.event_id).filter(|id| !id.is_empty());
        event.event_id = fields::event_id(id, &|| origin.place.to_owned(), "")?;
        event.tenant = origin.tenant.to_owned();
        fields::check_time(event.occurred_at, "occurred_at")?;
        if let Body::ReportSubmitted(report) = &mut event.body {
            report.check()?;
        }
        Ok(event)
    }

    fn key(event: &CivicEvent) -> String {
        event.record_key()
    }

    /// A report goes to the partition of its key. A change of status knows only the issue, whose id carries the hash of that
    /// same key.
    fn route(event: &CivicEvent) -> u32 {
        event.route()
    }
}

impl ReportSubmitted {
    /// Brings what a Kafka client wrote into the bounds that [`Report`] has.
    fn check(&mut self) -> Result<(), ApiError> {
        let text = |text: &mut Option<String>, most, name| {
            *text = fields::text(text.take(), most, "", name)?;
            Ok::<_, ApiError>(())
        };
        let area = fields::text(Some(std::mem::take(&mut self.area)), AREA, "", "area")?;
        self.area = area.unwrap_or_else(|| UNKNOWN_AREA.to_owned());
        self.description = described(Some(std::mem::take(&mut self.description)), "")?;
        self.due_at.map_or(Ok(()), |due_at| fields::check_time(due_at, "due_at"))?;
        text(&mut self.department, DEPARTMENT, "department")?;
        text(&mut self.address, ADDRESS, "address")?;
        text(&mut self.source, SOURCE, "source")?;
        fields::place(self.latitude, self.longitude, "").map(drop)
    }
}

#[cfg(test)]
mod tests;
