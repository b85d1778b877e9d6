//! `tidewatch rebuild` on the command line.

use std::io::{self, Write};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::{RebuildError, Report, rebuild, tables};
use crate::config::Config;

const EXAMPLE: &str = "Everything may run meanwhile. A row is named by the table's sorting key and compared in every column that comes from the
log, as readers see it (FINAL); retracted rows take part. The new table is removed again, or with --swap the former one, which
needs as much disk for a while.

A run that is killed does no harm: the next one removes what it left, and completes a swap that was cut short. Of two runs of one
table the later goes on, and the other ends.

Exit status: 0, no row is different; 2, some were (with --swap, they were before); 1, it could not be done.";

/// What `tidewatch rebuild` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub struct Options {
    /// The table
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    table: Option<String>,
    /// Every table, one after the other
    #[arg(long)]
    all: bool,
    /// Puts the new table in the live one's place
    #[arg(long)]
    swap: bool,
    /// Prints JSON, an object a table and line
    #[arg(long)]
    json: bool,
}

/// Why the tool could not do it.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The rebuild.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// Printing.
    #[error("can't write the answer: {0}")]
    Write(#[from] io::Error),
    /// Printing.
    #[error("can't print JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Does it; `false`: a table is not what its log gives.
///
/// # Errors
/// If a table could not be rebuilt; those after it are not tried.
pub async fn run(options: &Options, config: &Config) -> Result<bool, ToolError> {
    let names: Vec<&str> = match &options.table {
        Some(table) => vec![table],
        None => tables().map(|(_, table)| table).collect(),
    };
    let mut is_equal = true;
    for name in names {
        let style = ProgressStyle::with_template("{msg}  {bar:40} {pos}/{len}  {per_sec}  {eta} left");
        let bar = ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let report = rebuild(config, name, options.swap, &bar).await?;
        is_equal &= report.is_equal();
        print(&report, options.json)?;
    }
    Ok(is_equal)
}

fn print(report: &Report, json: bool) -> Result<(), ToolError> {
    let text = if json { format!("{}\n", serde_json::to_string(report)?) } else { report.to_string() };
    match io::stdout().lock().write_all(text.as_bytes()) {
        // `| head` has seen enough; the tables after it are still to be done.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}
