//! The servers of the stack.
//!
//! A part is one file that implements [`Part`], and one line in [`PartName`].

mod chromium;
mod clickhouse;
mod kafka;

use std::ffi::OsString;
use std::fmt;
use std::path::Path;

pub use clickhouse::LocalClickHouseArgs;
pub(crate) use clickhouse::host;

use crate::Error;
use crate::fetch::Package;

/// One server: how to fetch, start and ask it.
pub trait Part: Send + Sync {
    /// The name in the command line, the JSON line, and the data folder.
    fn name(&self) -> &'static str;

    /// What is fetched for it.
    fn package(&self) -> &'static Package;

    /// How many TCP ports it listens on. The first is the one that clients use.
    fn ports(&self) -> usize {
        1
    }

    /// Prepares the data folder, and says what to start. Called again with other ports if these turn out taken,
    /// and on the data of earlier runs.
    fn launch(&self, place: &Place<'_>) -> Result<Launch, Error>;
}

/// What a part is given to start with.
pub struct Place<'a> {
    /// The folder of its package.
    pub package: &'a Path,
    /// Its data folder, which exists.
    pub data: &'a Path,
    /// As many free ports as it asked for.
    pub ports: &'a [u16],
}

/// How to start a part, and how to tell that it serves.
pub struct Launch {
    /// The program.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// What its environment has beyond this process's.
    pub environment: Vec<(&'static str, OsString)>,
    /// What clients connect to.
    pub endpoint: String,
    /// Whether it answers, and is itself and not another server on the same port.
    pub is_ready: Box<dyn Fn() -> bool + Send>,
    /// How it is asked to end.
    pub farewell: Farewell,
}

/// How a part is asked to end in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// By SIGTERM.
    Terminate,
    /// By the end of its standard input.
    EndOfInput,
}

/// The parts by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum PartName {
    /// Apache Kafka 4.2.0, one node with KRaft.
    Kafka,
    /// The ClickHouse 26.7 engine.
    #[value(name = "clickhouse")]
    ClickHouse,
    /// Chromium 153 without a window, in which the tests look at the page; not one of the stack's servers.
    Chromium,
}

impl PartName {
    /// Every part.
    pub const ALL: [Self; 3] = [Self::Kafka, Self::ClickHouse, Self::Chromium];
    /// What Tidewatch runs on: the parts of a stack that names none.
    pub const SERVERS: [Self; 2] = [Self::Kafka, Self::ClickHouse];

    /// The part of this name.
    pub fn part(self) -> &'static dyn Part {
        match self {
            Self::Kafka => &kafka::Kafka,
            Self::ClickHouse => &clickhouse::ClickHouse,
            Self::Chromium => &chromium::Chromium,
        }
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.part().name())
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;
    use crate::checksums::Checksums;

    #[test]
    fn every_part_has_a_valid_package_and_one_name() {
        assert_eq!(PartName::value_variants(), PartName::ALL);
        for name in PartName::ALL {
            let part = name.part();
            assert!(Checksums::parse(part.package().checksums).is_ok(), "{}", part.name());
            assert_eq!(name.to_possible_value().unwrap().get_name(), part.name());
        }
    }
}
