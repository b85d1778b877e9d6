//! A real month of a city's service requests, in the demo.

pub mod boston;
mod findings;
mod hints;
mod playback;
pub mod sender;

use std::path::PathBuf;

use clap::Args;
use futures::future::{BoxFuture, FutureExt};

use self::playback::Speed;
use crate::families::demonstration::{Demo, Demonstration, Failure};
use crate::settings::Json;

/// The month, and how it is played.
#[derive(Debug, Args)]
pub(super) struct Month {
    /// Play the month slowly, e.g. 1d/s: a day of event time a second.
    #[arg(long, value_name = "SPAN/s")]
    speed: Option<Speed>,
    /// The folder with the city's files.
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data"))]
    files: PathBuf,
}

impl Demonstration for Month {
    /// The requests are sent in order: no allowance for disorder (I3).
    fn settings(&self) -> Option<Json> {
        Some(Json::from_iter([("allowance".to_owned(), "0s".into())]))
    }

    fn is_slow(&self) -> bool {
        self.speed.is_some()
    }

    fn send<'a>(&'a mut self, demo: &'a Demo) -> BoxFuture<'a, Result<(), Failure>> {
        playback::send(&self.files, self.speed, demo).boxed()
    }

    fn show<'a>(&'a self, demo: &'a Demo) -> BoxFuture<'a, Result<(), Failure>> {
        findings::print(demo, &self.files).boxed()
    }

    fn hints<'a>(&'a self, demo: &'a Demo) -> BoxFuture<'a, Result<String, Failure>> {
        async { Ok(hints::hints(demo)) }.boxed()
    }
}
