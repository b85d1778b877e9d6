//! `tidewatch generate`: makes up events of a family, and says how well they were understood.

use std::error::Error;

use clap::{ArgMatches, Args, Command, FromArgMatches};

use crate::families::generator::GenerateCommand;
use crate::families::{self, Family, Visitor};

const EXAMPLE: &str = "Example: how well the rules find what is planted
  $ tidewatch generate interactions --seed 7 --sessions 1000 --out events.ndjson --truth truth.ndjson
  $ tidewatch try --family interactions --append-time field:arrived_at --idle 3h --current events.ndjson > rows.ndjson
  $ tidewatch generate evaluate --truth truth.ndjson --signals rows.ndjson

The same seed and options give the same bytes. Each event says that it is generated: its sdk is tidewatch-generate.";

/// What `tidewatch generate` takes: the commands that the families bring along.
#[derive(Debug)]
pub struct Options {
    name: String,
    matches: ArgMatches,
}

struct Commands;

impl Visitor for Commands {
    type Output = Vec<Box<dyn GenerateCommand>>;

    fn family<F: Family>(self) -> Self::Output {
        F::generators()
    }
}

fn commands() -> impl Iterator<Item = Box<dyn GenerateCommand>> {
    families::each(|| Commands).into_iter().flatten()
}

impl Args for Options {
    fn augment_args(command: Command) -> Command {
        let command = command.after_help(EXAMPLE).subcommand_required(true).arg_required_else_help(true);
        commands().fold(command, |command, one| command.subcommand(one.command()))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Options {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let (name, matches) = matches
            .subcommand()
            .ok_or_else(|| clap::Error::new(clap::error::ErrorKind::MissingSubcommand))?;
        Ok(Self { name: name.to_owned(), matches: matches.clone() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Runs it.
///
/// # Errors
/// Those of the command.
pub fn run(options: &Options) -> Result<(), Box<dyn Error + Send + Sync>> {
    let named = commands().find(|command| command.command().get_name() == options.name);
    named.map_or(Ok(()), |command| command.run(&options.matches))
}
