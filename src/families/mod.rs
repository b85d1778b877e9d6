//! The families, each in a folder of its own, and the list of them. Whoever asks which families there are asks here.
//!
//! A further family is a folder, its schemas and topics, and a line of the list below: `docs/adding-a-family.md`.

#[cfg(feature = "local")]
pub mod client;
#[cfg(feature = "local")]
pub mod demonstration;
mod family;
pub mod generator;
pub mod incident;
#[cfg(test)]
pub(crate) mod tests;

pub use self::family::{Family, JobVisitor};
use crate::engine::Operator;
use crate::engine::rows::OperatorRow;
use crate::runtime::Job;
use crate::settings::SettingsKind;

/// Does something with a family, whatever its type.
pub trait Visitor {
    /// What comes of it.
    type Output;

    /// Visits this family.
    fn family<F: Family>(self) -> Self::Output;
}

/// Makes the list of families.
macro_rules! families {
    ($($module:ident :: $family:ident),+ $(,)?) => {
        $(pub mod $module;)+

        /// The names of all families.
        pub const NAMES: &[&str] = &[$(<$module::$family as crate::ingest::Source>::NAME),+];

        /// The settings of all families, in the order of [`NAMES`].
        pub static SETTINGS: [SettingsKind; NAMES.len()] =
            [$(SettingsKind::of::<<$module::$family as Family>::Settings>()),+];

        /// Does something with the family of that name; `None` where there is none.
        pub fn with<V: Visitor>(name: &str, visitor: V) -> Option<V::Output> {
            $(if name == <$module::$family as crate::ingest::Source>::NAME {
                return Some(visitor.family::<$module::$family>());
            })+
            None
        }
    };
}

families! {
    civic::Civic,
    interactions::Interactions,
}

/// Does something with each family, in the order of [`NAMES`].
pub fn each<V: Visitor>(mut visitor: impl FnMut() -> V) -> Vec<V::Output> {
    NAMES.iter().filter_map(|name| with(name, visitor())).collect()
}

/// A job, described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobDescription {
    /// Its name: the operator's.
    pub name: &'static str,
    /// The operator's semantic version.
    pub version: i32,
    /// The topic that it folds.
    pub input: &'static str,
    /// The topics to which it writes rows.
    pub outputs: &'static [&'static str],
}

/// Every job of every family.
pub fn jobs() -> Vec<JobDescription> {
    struct Describe(Vec<JobDescription>);

    impl Visitor for Describe {
        type Output = Vec<JobDescription>;

        fn family<F: Family>(mut self) -> Self::Output {
            F::jobs(&mut self);
            self.0
        }
    }

    impl<F: Family> JobVisitor<F> for Describe {
        fn job<O>(&mut self, job: Job<O>)
        where
            O: Operator<Event = F::Event, Row: OperatorRow, Settings: Send + Sync> + Send + Sync,
        {
            let (name, input, outputs) = (job.name(), job.topic, O::Row::TOPICS);
            self.0.push(JobDescription { name, version: O::VERSION, input, outputs });
        }
    }

    each(|| Describe(Vec::new())).concat()
}

/// The settings of the family of that name.
pub fn settings(name: &str) -> Option<&'static SettingsKind> {
    SETTINGS.iter().find(|kind| kind.name == name)
}

/// The name of a family, as a command line has it; the error names those that there are.
pub fn parse(name: &str) -> Result<&'static str, String> {
    let known = NAMES.iter().find(|known| **known == name);
    known.copied().ok_or_else(|| format!("expected one of {}", NAMES.join(", ")))
}

/// As [`parse`], with its settings.
pub fn parse_settings(name: &str) -> Result<&'static SettingsKind, String> {
    parse(name).and_then(|name| settings(name).ok_or_else(|| format!("{name} has no settings")))
}
