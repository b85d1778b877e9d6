//! Commands of `tidewatch generate`, which a family brings along.

use std::error::Error;

use clap::{ArgMatches, Args, Command};

/// A command of `tidewatch generate`.
pub trait GenerateCommand {
    /// What it is called, what it takes, and what it does.
    fn command(&self) -> Command;

    /// Does it.
    ///
    /// # Errors
    /// Why it could not.
    fn run(&self, matches: &ArgMatches) -> Result<(), Box<dyn Error + Send + Sync>>;
}

/// A command whose arguments are a type of `clap`.
pub struct Typed<A, E> {
    /// What it is called.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Does it.
    pub run: fn(&A) -> Result<(), E>,
}

impl<A, E> GenerateCommand for Typed<A, E>
where
    A: Args,
    E: Error + Send + Sync + 'static,
{
    fn command(&self) -> Command {
        A::augment_args(Command::new(self.name).about(self.about))
    }

    fn run(&self, matches: &ArgMatches) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok((self.run)(&A::from_arg_matches(matches)?)?)
    }
}
