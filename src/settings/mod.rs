//! What can be set of a family's operators, by tenant, through the log (I4).
//!
//! A change is a record of the topic `settings`; its offset is a version. Every process reads them all, in order, into a
//! [`History`]; workers bring a version into force by marks. Two changes that are made at once are decided by the log: one
//! that names the version it replaces is void for every reader if another one came before it.

mod document;
mod file;
mod history;
mod reader;
mod span;
mod versions;

pub use document::{Changed, Document, Json, Problem, SettingsKind, difference, merged, within};
pub use file::{FileError, document, from_file};
pub use history::{Entry, History, SettingsChange};
pub use reader::{Reader, SettingsError, append, create};
pub use span::Span;
pub use versions::{ReadSettings, SettingsVersions};
