//! The city's service requests as a client would send them: each opened with its own due time, each
//! closing a status change, in the order of event time, openings first where equal.

use std::path::Path;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::engine::Millis;
use crate::families::civic::event::{
    Body, CivicEvent, IssueStatus, IssueStatusChanged, ReportSubmitted, UNKNOWN_AREA, issue_id,
};

/// Why the file can't be read.
#[derive(Debug, thiserror::Error)]
pub enum BostonError {
    /// Not there, or not CSV.
    #[error("{path}: {source}; the file comes with the sources, see tests/data/README.md")]
    Csv {
        /// The file.
        path: String,
        /// What is wrong.
        source: csv::Error,
    },
    /// A field that isn't what the header says.
    #[error("{path}, line {line}: {field} is {value:?}, expected {expected}")]
    Field {
        /// The file.
        path: String,
        /// Its line.
        line: u64,
        /// The column.
        field: &'static str,
        /// What it holds.
        value: String,
        /// What was expected.
        expected: &'static str,
    },
}

/// A service request of the file.
#[derive(Debug, Clone)]
pub struct Request {
    /// The city's id.
    pub id: String,
    /// When it was opened.
    pub opened_at: Millis,
    /// When it was promised to be closed.
    pub due_at: Option<Millis>,
    /// When it was closed.
    pub closed_at: Option<Millis>,
    /// What it is about.
    pub title: String,
    /// The department's code.
    pub department: String,
    /// The neighbourhood; may be empty.
    pub area: String,
    /// The address.
    pub address: String,
    /// Degrees north.
    pub latitude: Option<f64>,
    /// Degrees east.
    pub longitude: Option<f64>,
    /// The channel through which it came.
    pub source: String,
}

/// One thing that happened to a request.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    /// It was opened.
    Opened(&'a Request),
    /// It was closed.
    Closed(&'a Request, Millis),
}

impl Step<'_> {
    /// What `ingest` puts on the log for it, in the name of `tenant`: for tests and benches that need no door.
    pub fn event(&self, tenant: &str) -> CivicEvent {
        let (Self::Opened(request) | Self::Closed(request, _)) = *self;
        let area = if request.area.is_empty() { UNKNOWN_AREA } else { &request.area };
        let (event_id, body) = match self {
            Self::Opened(_) => (
                request.id.clone(),
                Body::ReportSubmitted(ReportSubmitted {
                    area: area.to_owned(),
                    description: request.title.clone(),
                    due_at: request.due_at,
                    department: Some(request.department.clone()),
                    address: Some(request.address.clone()),
                    latitude: request.latitude,
                    longitude: request.longitude,
                    source: Some(request.source.clone()),
                }),
            ),
            Self::Closed(..) => {
                let issue_id = issue_id(tenant, area, &request.id);
                let change = IssueStatusChanged { issue_id, status: IssueStatus::Closed };
                (format!("{}/closed", request.id), Body::IssueStatusChanged(change))
            }
        };
        CivicEvent { tenant: tenant.to_owned(), event_id, occurred_at: self.at(), body }
    }

    /// When it happened.
    pub fn at(&self) -> Millis {
        match self {
            Self::Opened(request) => request.opened_at,
            Self::Closed(_, at) => *at,
        }
    }
}

/// Reads the requests of the file, in its order.
pub fn requests(path: &Path) -> Result<Vec<Request>, BostonError> {
    rows(path)?.into_iter().map(|row| request(&row)).collect()
}

/// The city's own labels: request id to whether it was closed on time. Unlabelled ones are left out.
pub fn labels(path: &Path) -> Result<Vec<(String, bool)>, BostonError> {
    let rows = rows(path)?;
    let labelled = |row: &Row| match row.text("ontime") {
        "ONTIME" => Ok(Some((row.text("case_enquiry_id").to_owned(), true))),
        "OVERDUE" => Ok(Some((row.text("case_enquiry_id").to_owned(), false))),
        "" => Ok(None),
        _ => Err(row.error("ontime", "ONTIME, OVERDUE or nothing")),
    };
    rows.iter().filter_map(|row| labelled(row).transpose()).collect()
}

/// Everything that happened, in order.
pub fn steps(requests: &[Request]) -> Vec<Step<'_>> {
    let opened = requests.iter().map(Step::Opened);
    let closed = requests.iter().filter_map(|request| Some(Step::Closed(request, request.closed_at?)));
    let mut steps: Vec<Step<'_>> = opened.chain(closed).collect();
    steps.sort_by_key(|step| (step.at(), matches!(step, Step::Closed(..))));
    steps
}

struct Row {
    path: String,
    headers: csv::StringRecord,
    record: csv::StringRecord,
}

fn rows(path: &Path) -> Result<Vec<Row>, BostonError> {
    let name = path.display().to_string();
    let fault = |source| BostonError::Csv { path: name.clone(), source };
    let mut reader = csv::Reader::from_path(path).map_err(fault)?;
    let headers = reader.headers().map_err(fault)?.clone();
    reader
        .records()
        .map(|record| {
            Ok(Row { path: name.clone(), headers: headers.clone(), record: record.map_err(fault)? })
        })
        .collect()
}

impl Row {
    /// A column's text; empty where the file has no such column.
    fn text(&self, field: &str) -> &str {
        let index = self.headers.iter().position(|header| header == field);
        index.and_then(|index| self.record.get(index)).unwrap_or_default().trim()
    }

    fn error(&self, field: &'static str, expected: &'static str) -> BostonError {
        BostonError::Field {
            path: self.path.clone(),
            line: self.record.position().map_or(0, csv::Position::line),
            field,
            value: self.text(field).to_owned(),
            expected,
        }
    }

    /// A time without zone is taken as UTC: no verdict changes.
    fn time(&self, field: &'static str) -> Result<Option<Millis>, BostonError> {
        let text = self.text(field);
        if text.is_empty() {
            return Ok(None);
        }
        let time = text.parse::<DateTime>().and_then(|time| time.to_zoned(TimeZone::UTC));
        time.map(|time| Some(time.timestamp().as_millisecond()))
            .map_err(|_| self.error(field, "a time like 2011-07-01 01:32:33"))
    }

    fn number(&self, field: &'static str) -> Result<Option<f64>, BostonError> {
        let text = self.text(field);
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| self.error(field, "a number"))
    }
}

fn request(row: &Row) -> Result<Request, BostonError> {
    Ok(Request {
        id: row.text("case_enquiry_id").to_owned(),
        opened_at: row.time("open_dt")?.ok_or_else(|| row.error("open_dt", "a time"))?,
        due_at: row.time("target_dt")?,
        closed_at: row.time("closed_dt")?,
        title: row.text("case_title").to_owned(),
        department: row.text("department").to_owned(),
        area: row.text("neighborhood").to_owned(),
        address: row.text("location").to_owned(),
        latitude: row.number("latitude")?,
        longitude: row.number("longitude")?,
        source: row.text("source").to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::engine::rows::OperatorRow;
    use crate::engine::{FamilySettings, Outcome, TestDriver};
    use crate::families::civic::sla::Sla;
    use crate::families::civic::sla::rows::SlaRow;

    const DAY: Millis = 86_400_000;

    /// The last version of each row that isn't retracted.
    fn current(rows: Vec<SlaRow>) -> Vec<SlaRow> {
        let mut last = BTreeMap::new();
        for row in rows {
            let meta = row.meta().unwrap();
            let (id, version, retracted) = (meta.id, meta.version, meta.retracted);
            if let Some((former, ..)) = last.insert(id, (version, retracted, row)) {
                assert!(former < version, "versions of a row grow, also within one offset");
            }
        }
        last.into_values().filter(|(_, retracted, _)| !retracted).map(|(.., row)| row).collect()
    }

    #[test]
    fn the_month_of_boston_folds_to_the_citys_figures() {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        let requests = requests(&data.join("2011-07_requests.csv")).unwrap();
        let settings = FamilySettings::new(0, 30 * DAY);
        let mut driver = TestDriver::new(Sla::default, settings);
        let steps = steps(&requests);
        assert_eq!(steps.len(), 9_854 + 9_177);
        for round in [Outcome::Folded, Outcome::Duplicate] {
            for (index, step) in steps.iter().enumerate() {
                let (event, append_time) = (step.event("boston"), 1_800_000_000_000 + index as i64 / 4);
                assert_eq!(driver.append(&event.record_key(), append_time, event), round);
            }
        }
        let rows = driver.take();
        let (mut closed, mut met, mut breaches, mut open) = (0, 0, 0, 0);
        let mut departments = BTreeSet::new();
        for row in current(rows) {
            match row {
                SlaRow::Metric(metric) if metric.due_source.as_str() == "reported" => {
                    closed += 1;
                    met += u32::from(metric.met);
                    departments.insert(metric.department);
                }
                SlaRow::Incident(incident) if incident.attributes["due_source"] == "reported" => {
                    breaches += 1;
                    open += u32::from(incident.ended_at.is_none());
                }
                _ => {}
            }
        }
        assert_eq!((closed, met, departments.len()), (7_511, 6_293, 7));
        assert_eq!((breaches, open), (1_864, 646));
    }
}
