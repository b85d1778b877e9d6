//! What `tidewatch demo` takes: options of its own, and those that families bring along.

use std::path::PathBuf;

use clap::{ArgMatches, Args, Command, FromArgMatches};

use crate::families::demonstration::{Demonstration, DemonstrationKind};
use crate::families::{self, Family, Visitor};

/// Options of `tidewatch demo`.
pub struct Options {
    pub(super) own: Own,
    /// What is played, each under the name of its family.
    pub(super) demonstrations: Vec<(&'static str, Box<dyn Demonstration>)>,
}

#[derive(Debug, Args)]
pub(super) struct Own {
    /// Play this family alone, or several: --family civic --family interactions. Without it, all.
    #[arg(long = "family", value_name = "NAME", value_parser = with_demonstration)]
    families: Vec<&'static str>,
    /// Leave as soon as the findings are printed.
    #[arg(long)]
    pub exit: bool,
    /// Keep the stack's data in this folder.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Where the API listens on 127.0.0.1, if that port is free; else on a free one.
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// Chooses what is generated.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

struct Kinds;

impl Visitor for Kinds {
    type Output = Option<(&'static str, DemonstrationKind)>;

    fn family<F: Family>(self) -> Self::Output {
        F::demonstration().map(|kind| (F::NAME, kind))
    }
}

/// What there is to play, each under the name of its family.
fn kinds() -> impl Iterator<Item = (&'static str, DemonstrationKind)> {
    families::each(|| Kinds).into_iter().flatten()
}

/// The name of a family that has something to show.
fn with_demonstration(name: &str) -> Result<&'static str, String> {
    let name = families::parse(name)?;
    let is_shown = kinds().any(|(known, _)| known == name);
    if is_shown { Ok(name) } else { Err(format!("{name} has nothing to show")) }
}

impl Args for Options {
    fn augment_args(command: Command) -> Command {
        kinds().fold(Own::augment_args(command), |command, (name, kind)| {
            (kind.augment)(command.next_help_heading(name))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Options {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let own = Own::from_arg_matches(matches)?;
        let is_chosen = |name: &&str| own.families.is_empty() || own.families.contains(name);
        let demonstrations = kinds()
            .filter(|(name, _)| is_chosen(name))
            .map(|(name, kind)| Ok((name, (kind.make)(matches)?)))
            .collect::<Result<_, clap::Error>>()?;
        Ok(Self { own, demonstrations })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(arguments: &[&str]) -> Result<Vec<&'static str>, String> {
        let command = Options::augment_args(Command::new("demo").no_binary_name(true));
        let matches = command.try_get_matches_from(arguments).map_err(|error| error.to_string())?;
        let options = Options::from_arg_matches(&matches).map_err(|error| error.to_string())?;
        Ok(options.demonstrations.iter().map(|(name, _)| *name).collect())
    }

    #[test]
    fn families_are_chosen_by_name_and_all_without_one() {
        assert_eq!(chosen(&[]), Ok(kinds().map(|(name, _)| name).collect()));
        assert_eq!(chosen(&["--family", "civic"]), Ok(vec!["civic"]));
        assert_eq!(
            chosen(&["--family", "interactions", "--family", "civic", "--sessions", "9"]),
            Ok(vec!["civic", "interactions"])
        );
        let refused = chosen(&["--family", "weather"]).unwrap_err();
        assert!(refused.contains(&families::NAMES.join(", ")), "{refused}");
    }
}
