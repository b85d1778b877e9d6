//! The stack's subcommands alone, for the tests of this crate; users run them as `tidewatch local` and so on.

use std::process::ExitCode;

use clap::Parser;
use tidewatch_local::{Command, run};

#[derive(Parser)]
#[command(name = "tidewatch-local", about = "The local stack without Docker")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    run(Arguments::parse().command).unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}
