//! The subcommands that the binary `tidewatch` takes in.

use std::process::ExitCode;

use crate::Error;
use crate::doctor::{self, DoctorArgs};
use crate::local::{self, LocalArgs};
use crate::parts::LocalClickHouseArgs;
use crate::process::{self, LocalPartArgs};

/// What the local stack offers on the command line.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Run a real Kafka and a real ClickHouse on this machine, without Docker
    Local(LocalArgs),
    /// Check what the local stack needs on this machine
    Doctor(DoctorArgs),
    /// Become a program that dies with its parent
    #[command(hide = true)]
    LocalPart(LocalPartArgs),
    /// Host the ClickHouse engine
    #[command(hide = true, name = "local-clickhouse")]
    LocalClickHouse(LocalClickHouseArgs),
}

/// Runs a subcommand to its end. Call it on the main thread, before others are started.
pub fn run(command: Command) -> Result<ExitCode, Error> {
    match command {
        Command::Local(arguments) => local::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::LocalPart(arguments) => match process::become_part(&arguments)? {},
        Command::LocalClickHouse(arguments) => crate::parts::host(&arguments).map(|()| ExitCode::SUCCESS),
    }
}
