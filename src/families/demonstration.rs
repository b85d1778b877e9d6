//! What a family shows in `tidewatch demo`.

use std::error::Error;
use std::io::{IsTerminal, Write};

use clap::{ArgMatches, Args, Command};
use futures::future::BoxFuture;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::config::Config;
use crate::settings::Json;
use crate::store;

/// The tenant whose events are played.
pub const TENANT: &str = "boston";
/// The demo's own API key; it is of no use elsewhere.
pub const KEY: &str = "demo-key";

/// Why the demo had to end.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Events of a family, and what is to be said of what was found in them. The methods are called in the order in which they
/// stand here.
pub trait Demonstration {
    /// The tenant's settings, put on record before the roles start; the defaults where there are none.
    fn settings(&self) -> Option<Json> {
        None
    }

    /// Whether sending takes so long that its user wants to look around meanwhile: then hints are also printed before.
    fn is_slow(&self) -> bool {
        false
    }

    /// Sends the events.
    fn send<'a>(&'a mut self, demo: &'a Demo) -> BoxFuture<'a, Result<(), Failure>>;

    /// Prints what was found. All that was sent is folded by now, and its rows are in the tables; what only the passing of
    /// time brings is waited for here.
    fn show<'a>(&'a self, demo: &'a Demo) -> BoxFuture<'a, Result<(), Failure>>;

    /// Commands to paste while the demo is up; empty where there is nothing to try yet.
    fn hints<'a>(&'a self, demo: &'a Demo) -> BoxFuture<'a, Result<String, Failure>>;
}

/// A kind of [`Demonstration`]: a type whose fields are its options on the command line.
pub struct DemonstrationKind {
    /// Adds the options; no two families may have one of the same name.
    pub augment: fn(Command) -> Command,
    /// Makes it as the options have it.
    pub make: fn(&ArgMatches) -> Result<Box<dyn Demonstration>, clap::Error>,
}

impl DemonstrationKind {
    /// That of a type.
    pub fn of<D: Demonstration + Args + 'static>() -> Self {
        Self {
            augment: D::augment_args,
            make: |matches| D::from_arg_matches(matches).map(|made| Box::new(made) as _),
        }
    }
}

/// The demo that is running.
pub struct Demo {
    /// The settings of its roles.
    pub config: Config,
    /// Where its API is, e.g. `http://127.0.0.1:8080`.
    pub url: String,
    /// Chooses what is generated.
    pub seed: u64,
}

#[derive(Deserialize)]
struct Page {
    total: u64,
}

impl Demo {
    /// What the API answers to `GET path`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let request = reqwest::Client::new().get(format!("{}{path}", self.url)).bearer_auth(KEY);
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    /// How many incidents the API knows, under filters, e.g. `rule=sla_breach&open=true`.
    pub async fn count_incidents(&self, filters: &str) -> Result<u64, Failure> {
        let page: Page = self.get(&format!("/v1/incidents?limit=1&{filters}")).await?;
        Ok(page.total)
    }

    /// A client of its tables.
    pub fn clickhouse(&self) -> clickhouse::Client {
        store::client(&self.config.clickhouse)
    }

    /// A shell's line that sets `$AT`, by which the tools of the command line find its log and its tables.
    pub fn at(&self) -> String {
        let (brokers, clickhouse) = (&self.config.kafka.brokers, &self.config.clickhouse.url);
        format!("AT='--set kafka.brokers={brokers} --set clickhouse.url={clickhouse}'")
    }
}

/// Prints a line.
pub fn say(line: &str) {
    // Beside the progress bar, findings are the product: they go to standard output.
    let mut out = std::io::stdout();
    let written = writeln!(out, "{line}").and_then(|()| out.flush());
    if let (Err(error), true) = (written, std::io::stderr().is_terminal()) {
        eprintln!("tidewatch: {error}");
    }
}
