//! What a log is for: looking back and trying out. What other settings would have found ([`backtest`]); why a row is what it is
//! ([`explain`]); tables made anew ([`rebuild`]); records that were not folded ([`dead_letters`]); a fold of a file, without any
//! server ([`dry_run`]); what is set ([`settings`]); events that are made up ([`generate`]).

pub mod backtest;
pub mod dead_letters;
pub mod dry_run;
pub mod explain;
pub mod generate;
pub mod rebuild;
pub mod recovery;
mod routes;
pub mod settings;
pub mod topology;

pub use self::routes::{router, routes};
