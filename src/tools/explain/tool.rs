//! `tidewatch explain`: a row's story, on the command line.

use std::io::{self, Write};

use clap::Args;
use uuid::Uuid;

use super::{ExplainError, explain, find};
use crate::config::Config;
use crate::log::Log;
use crate::settings::{Reader, SettingsError};
use crate::store;

/// What `tidewatch explain` takes.
#[derive(Debug, Args)]
pub struct Options {
    /// The id of a row that has versions: an incident's, an SLA metric's
    id: Uuid,
    /// Prints JSON, as `GET /v1/incidents/{id}/evidence` answers
    #[arg(long)]
    json: bool,
}

/// Why the tool could not do it.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The explanation.
    #[error(transparent)]
    Explain(#[from] ExplainError),
    /// The settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Nothing has this id.
    #[error(
        "no table has a row {0}; an issue's id is its rows' subject: GET /v1/incidents?subject=… has their ids"
    )]
    Unknown(Uuid),
    /// Printing.
    #[error("can't write: {0}")]
    Write(#[from] io::Error),
    /// Printing.
    #[error("can't print JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Prints what there is to say.
pub async fn run(options: &Options, config: &Config) -> Result<(), ToolError> {
    let rows = find(&store::reader(&config.clickhouse), &[options.id]).await?;
    if rows.is_empty() {
        return Err(ToolError::Unknown(options.id));
    }
    tokio::task::block_in_place(|| {
        let log = Log::new(&config.kafka);
        let explained = explain(&log, rows, None)?;
        let reader = Reader::start(&log)?;
        let mut out = io::stdout().lock();
        for explanation in explained {
            let explanation = explanation.with_settings(reader.history());
            let text = if options.json {
                format!("{}\n", serde_json::to_string_pretty(&explanation)?)
            } else {
                explanation.to_string()
            };
            match out.write_all(text.as_bytes()) {
                // `| head` has seen enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
                written => written?,
            }
        }
        Ok(())
    })
}
