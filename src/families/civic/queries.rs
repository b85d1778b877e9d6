//! What is answered of civic reports beside their rows: `GET /v1/sla`, how many issues were resolved in time.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use clickhouse::Row;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::sla::rows::DueSource;
use crate::http::ApiError;
use crate::read::Shared;
use crate::read::answers::{self, Answer, Body};
use crate::read::parameters::Parameters;
use crate::read::positions::{Reader, Source};
use crate::read::queries::{Select, SqlFilter, TenantQueries};

/// The topic whose rows are counted.
const SLA_METRICS: &str = "sla-metrics";

/// The routes.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(compliance))
}

type ComplianceAnswer = Answer<Compliance>;

/// By what resolved issues are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ToSchema)]
#[schema(rename_all = "snake_case")]
enum By {
    /// The department, where it is known.
    Department,
    /// The area.
    Area,
}

impl By {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "department" => Some(Self::Department),
            "area" => Some(Self::Area),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Department => "department",
            Self::Area => "area",
        }
    }

    fn select(self) -> Select<'static> {
        let columns = match self {
            Self::Department => {
                "toNullable(toString(department)) AS name, toString(due_source) AS due_source, \
                 count() AS closed, countIf(met) AS met"
            }
            Self::Area => {
                "toNullable(toString(area)) AS name, toString(due_source) AS due_source, \
                 count() AS closed, countIf(met) AS met"
            }
        };
        Select { columns, from: "sla_metrics_current", tail: "GROUP BY name, due_source" }
    }
}

/// The issues of one group whose due times have the same source.
#[derive(Debug, Row, Deserialize)]
struct Counted {
    name: Option<String>,
    due_source: String,
    closed: u64,
    met: u64,
}

/// How many were resolved, and how many of them in time, which is at most as many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(into = "Ratio")]
struct Counts {
    closed: u64,
    met: u64,
}

impl Counts {
    fn add(&mut self, closed: u64, met: u64) {
        self.closed += closed;
        self.met += met;
    }
}

/// Counts as they are answered.
#[derive(Serialize, ToSchema)]
struct Ratio {
    closed: u64,
    met: u64,
    overdue: u64,
    /// The share that was met, to four digits; `null` where nothing was resolved.
    compliance: Option<f64>,
}

impl From<Counts> for Ratio {
    fn from(Counts { closed, met }: Counts) -> Self {
        let share = met as f64 / closed as f64;
        let compliance = (closed > 0).then(|| (share * 1e4).round() / 1e4);
        Self { closed, met, overdue: closed - met, compliance }
    }
}

/// A group's counts, whole and by whose word the due time is.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = ComplianceGroup)]
struct Group {
    #[serde(flatten)]
    #[schema(value_type = Ratio)]
    all: Counts,
    /// By the report's own due time.
    #[schema(value_type = Ratio)]
    reported: Counts,
    /// By the tenant's.
    #[schema(value_type = Ratio)]
    default: Counts,
}

impl Group {
    fn add(&mut self, row: &Counted) {
        self.all.add(row.closed, row.met);
        if row.due_source == DueSource::Reported.as_str() {
            self.reported.add(row.closed, row.met);
        } else {
            self.default.add(row.closed, row.met);
        }
    }
}

/// The answer: a row a group, sorted by its name (unknown first), and the total.
#[derive(Debug, Serialize, ToSchema)]
struct Compliance {
    rows: Vec<NamedGroup>,
    total: Group,
}

#[derive(Debug, Serialize, ToSchema)]
struct NamedGroup {
    /// One entry: `department` or `area`, and the group's name.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    name: BTreeMap<&'static str, Option<String>>,
    #[serde(flatten)]
    group: Group,
}

impl Compliance {
    fn new(by: By, counted: &[Counted]) -> Self {
        let mut total = Group::default();
        let mut groups: BTreeMap<Option<&str>, Group> = BTreeMap::new();
        for row in counted {
            total.add(row);
            groups.entry(row.name.as_deref()).or_default().add(row);
        }
        let rows = groups
            .into_iter()
            .map(|(name, group)| NamedGroup {
                name: BTreeMap::from([(by.name(), name.map(str::to_owned))]),
                group,
            })
            .collect();
        Self { rows, total }
    }
}

/// How many issues were resolved in time, by department or area.
#[utoipa::path(
    get,
    path = "/v1/sla",
    operation_id = "getSlaCompliance",
    tag = "read",
    security(("bearer" = ["read"]), ("api_key" = ["read"])),
    params(
        ("by" = inline(By), Query, description = "What a row of the answer is about."),
        answers::MinAsOf,
        answers::IfNoneMatch,
    ),
    responses(
        (status = 200, description = "A row a group, sorted by its name (unknown first), and the total.",
            body = inline(ComplianceAnswer),
            headers(("ETag" = String, description = "Of the rows."), ("X-As-Of" = String, description = "`as_of`."))),
        (status = 304, description = "The client has these rows."),
    )
)]
async fn compliance(
    queries: TenantQueries,
    State(Shared { live, cache, .. }): State<Shared>,
    headers: HeaderMap,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let expected = "department or area";
    let by = parameters.parsed("by", expected, By::parse)?;
    let wanted = answers::wanted(&mut parameters)?;
    parameters.finish()?;
    let by = by.ok_or_else(|| ApiError::invalid("by", format!("is missing; expected {expected}")))?;
    let freshness = live.reached(&[Source::Rows(SLA_METRICS, Reader::Tables)], wanted.as_ref()).await;
    let read = async {
        let counted = queries.fetch(by.select(), &SqlFilter::default(), u64::MAX).await?;
        Body::of(&Compliance::new(by, &counted))
    };
    let (request, generation) = (by.name().to_owned(), live.generation(SLA_METRICS));
    let compliance = cache.body(queries.tenant(), "/v1/sla", request, generation, read).await?;
    Ok(compliance.respond(&headers, &freshness))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_add_up() {
        let row = |name: Option<&str>, due_source: &str, closed, met| Counted {
            name: name.map(str::to_owned),
            due_source: due_source.to_owned(),
            closed,
            met,
        };
        let rows = [
            row(Some("BTDT"), "default", 38, 34),
            row(None, "default", 1, 0),
            row(Some("BTDT"), "reported", 662, 556),
        ];
        let none = json!({ "closed": 0, "met": 0, "overdue": 0, "compliance": null });
        let one = json!({ "closed": 1, "met": 0, "overdue": 1, "compliance": 0.0 });
        let reported = json!({ "closed": 662, "met": 556, "overdue": 106, "compliance": 0.8399 });
        assert_eq!(
            serde_json::to_value(Compliance::new(By::Department, &rows)).unwrap(),
            json!({
                "rows": [
                    { "department": null, "closed": 1, "met": 0, "overdue": 1, "compliance": 0.0,
                      "reported": none, "default": one },
                    { "department": "BTDT", "closed": 700, "met": 590, "overdue": 110, "compliance": 0.8429,
                      "reported": reported,
                      "default": { "closed": 38, "met": 34, "overdue": 4, "compliance": 0.8947 } },
                ],
                "total": { "closed": 701, "met": 590, "overdue": 111, "compliance": 0.8417,
                    "reported": reported,
                    "default": { "closed": 39, "met": 34, "overdue": 5, "compliance": 0.8718 } },
            })
        );
    }
}
