//! `tidewatch settings`: what is set of a family, on the command line.

mod reference;
pub mod routes;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::config::ConfigError;
use crate::families;
use crate::log::Log;
use crate::settings::{
    Changed, FileError, History, Json, Problem, Reader, SettingsError, SettingsKind, append, difference,
    document,
};

/// What `tidewatch settings` takes.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

/// The tenant and family whose settings are meant.
#[derive(Debug, Args)]
struct Subject {
    /// The family
    #[arg(long, value_parser = families::parse_settings)]
    family: &'static SettingsKind,
    /// The tenant; without one, what holds for all that have set nothing themselves
    #[arg(long, value_name = "NAME", value_parser = crate::config::tenant)]
    tenant: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Prints what holds, as JSON; its version goes to stderr
    Get {
        #[command(flatten)]
        subject: Subject,
        /// What held under this version
        #[arg(long, value_name = "VERSION")]
        at: Option<i64>,
    },
    /// Replaces what the tenant has set by a file's document, and prints what holds then
    Set {
        #[command(flatten)]
        subject: Subject,
        /// JSON, or TOML; what it does not name is inherited
        file: PathBuf,
        /// Only if this is still the version of what is set
        #[arg(long, value_name = "VERSION")]
        if_version: Option<i64>,
    },
    /// Prints what a file's document would change
    Diff {
        #[command(flatten)]
        subject: Subject,
        /// JSON, or TOML
        file: PathBuf,
    },
    /// Prints every setting there is, of a process and of the families, as Markdown
    Reference,
}

/// Why the tool could not do it.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// What the file says.
    #[error(transparent)]
    Problem(#[from] Problem),
    /// Printing.
    #[error("can't write: {0}")]
    Write(#[from] io::Error),
    /// Printing.
    #[error("can't print JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The defaults of a process.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Does what was asked for.
pub fn run(options: &Options, log: &Log) -> Result<(), ToolError> {
    let mut out = io::stdout().lock();
    match &options.action {
        Action::Get { subject, at } => {
            let reader = Reader::start(log)?;
            print(&mut out, subject, reader.history(), at.unwrap_or(i64::MAX))
        }
        Action::Set { subject, file, if_version } => {
            let document = document(file, subject.family.name)?;
            append(log, subject.family, subject.tenant.as_deref(), *if_version, &document)?;
            print(&mut out, subject, Reader::start(log)?.history(), i64::MAX)
        }
        Action::Diff { subject, file } => {
            let document = document(file, subject.family.name)?;
            let reader = Reader::start(log)?;
            let (history, tenant) = (reader.history(), subject.tenant.as_deref());
            history.check(subject.family, tenant, &document)?;
            let before = history.effective(subject.family, tenant, i64::MAX);
            let other = history.with(subject.family, tenant, &document);
            let after = other.effective(subject.family, tenant, i64::MAX);
            print_difference(&mut out, &before, &after)
        }
        Action::Reference => Ok(write!(out, "{}", reference::reference()?)?),
    }
}

fn print(out: &mut impl Write, subject: &Subject, history: &History, version: i64) -> Result<(), ToolError> {
    let tenant = subject.tenant.as_deref();
    let holds = history.effective(subject.family, tenant, version);
    writeln!(out, "{}", serde_json::to_string_pretty(&holds)?)?;
    let entry = history.entry(subject.family.name, tenant, version);
    eprintln!("version {}", entry.map_or(0, |entry| entry.version));
    Ok(())
}

fn print_difference(out: &mut impl Write, before: &Json, after: &Json) -> Result<(), ToolError> {
    for (name, Changed { from, to }) in difference(before, after) {
        writeln!(out, "{name}: {from} -> {to}")?;
    }
    Ok(())
}
