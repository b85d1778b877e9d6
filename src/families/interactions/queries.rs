//! What is answered of interactions beside their rows: the timeline of a session.

use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;

use crate::read::Shared;
use crate::read::timeline::{self, Beside, Column, Holds, Timeline};

/// `GET /v1/sessions/{id}/timeline`.
static TIMELINE: Timeline = Timeline {
    resource: "sessions",
    family: "interactions",
    view: "interaction_events_current",
    link: ("session_id", "session_id"),
    span: ("started_at", "ended_at"),
    // `Identity` in `crate::engine`.
    identity: "tab_id, ifNull(seq, -1), if(seq IS NULL, ifNull(event_id, ''), ''), \
        if(seq IS NULL AND ifNull(event_id, '') = '', log_offset, -1)",
    order: "occurred_at, tab_id, ifNull(seq, -1), log_offset",
    place: ("tab_id", "ifNull(seq, -1)"),
    columns: &[
        Column { name: "event_id", holds: Holds::OptionalText, doc: "The id that its producer gave it." },
        Column { name: "tab_id", holds: Holds::Text, doc: "Empty where there is but one." },
        Column {
            name: "seq",
            holds: Holds::OptionalNumber,
            doc: "The producer's count of the events of this session and tab.",
        },
        Column { name: "page_view_id", holds: Holds::OptionalText, doc: "The page view." },
        Column { name: "url", holds: Holds::OptionalText, doc: "The page's URL." },
        Column { name: "route", holds: Holds::Text, doc: "Its route." },
    ],
    type_of,
    beside: Beside { resource: "signals", filter: "session", within: ("from", "to"), time: "started_at" },
};

/// The routes.
pub fn routes() -> OpenApiRouter<Shared> {
    timeline::router(&TIMELINE)
}

/// What the API calls an event whose body is this record of the log.
fn type_of(record: &str, body: &str) -> Result<String, serde_json::Error> {
    #[derive(Deserialize)]
    struct Kind {
        kind: String,
    }
    let kind = || serde_json::from_str::<Kind>(body).map(|body| body.kind);
    Ok(match record {
        "Pointer" | "Field" => kind()?,
        "Page" => format!("page_{}", kind()?),
        "Validation" => "validation_error".to_owned(),
        "Moves" => "move".to_owned(),
        "Failure" => "error".to_owned(),
        record => record.to_lowercase(),
    })
}
