//! `tidewatch local`: fetches, starts and watches the parts, until it is told to stop.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Instant;

use clap::Args;
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cache::Cache;
use crate::ground::Ground;
use crate::parts::PartName;
use crate::progress::Progress;
use crate::supervisor::{Order, Report, Supervisors};
use crate::{Error, doctor};

/// Arguments of `tidewatch local`.
#[derive(Debug, Args)]
pub struct LocalArgs {
    /// Keep the data in this folder; without it the data is temporary
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Kafka's port; without it a free one
    #[arg(long, value_name = "PORT")]
    kafka_port: Option<u16>,
    /// ClickHouse's port for HTTP; without it a free one
    #[arg(long, value_name = "PORT")]
    clickhouse_port: Option<u16>,
    /// The parts to start
    #[arg(long, value_delimiter = ',', default_values_t = PartName::SERVERS)]
    parts: Vec<PartName>,
    /// Print the endpoints as one line of JSON
    #[arg(long)]
    json: bool,
    /// Stop when standard input ends, as it does when the parent process ends in whatever way
    #[arg(long)]
    with_parent: bool,
    /// Fetch what is missing, and start nothing
    #[arg(long)]
    fetch_only: bool,
}

/// Where a started stack serves: the JSON line of `tidewatch local --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serving {
    /// Kafka's `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<String>,
    /// ClickHouse's URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clickhouse: Option<String>,
    /// The URL of Chromium's DevTools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chromium: Option<String>,
    /// The data folder.
    pub data: PathBuf,
    /// The process of each part.
    pub pids: BTreeMap<String, u32>,
    /// How long the start took, in milliseconds; fetching is not counted.
    pub started_in_ms: u64,
}

/// What the main thread waits for.
enum Event {
    /// A package is in the cache, or can't be had.
    Fetched(Result<(PartName, PathBuf), Error>),
    /// A supervisor's report.
    Part(Report),
    /// A signal came, or the parent went.
    Stop,
}

/// Runs the stack; returns when it is stopped.
pub(crate) fn run(arguments: &LocalArgs) -> Result<ExitCode, Error> {
    doctor::platform()?;
    let cache = Cache::locate()?;
    let (sender, events) = mpsc::channel();
    watch_for_stop(&sender, arguments.with_parent)?;

    let mut parts = arguments.parts.clone();
    parts.sort_unstable();
    parts.dedup();
    let Some(packages) = fetch(&parts, &cache, &sender, &events)? else { return Ok(ExitCode::SUCCESS) };
    if arguments.fetch_only {
        eprintln!("everything is in {}", cache.path().display());
        return Ok(ExitCode::SUCCESS);
    }

    let begin = Instant::now();
    // Declared first, so removed last: after the parts have ended.
    let ground = arguments.data.as_deref().map_or_else(|| Ground::temporary(&cache), Ground::keep)?;
    let mut supervisors = Supervisors::default();
    for (part, package) in packages {
        let port = match part {
            PartName::Kafka => arguments.kafka_port,
            PartName::ClickHouse => arguments.clickhouse_port,
            PartName::Chromium => None,
        };
        let (data, sender) = (ground.path().to_path_buf(), sender.clone());
        let order = Order { part, package, data, port, kept: ground.is_kept() };
        // The receiver goes only when this function returns, and then nobody needs the report.
        supervisors.start(order, move |report| drop(sender.send(Event::Part(report))));
    }
    let pids = BTreeMap::new();
    let data = ground.path().to_path_buf();
    let mut serving = Serving { kafka: None, clickhouse: None, chromium: None, data, pids, started_in_ms: 0 };
    while serving.pids.len() < parts.len() {
        match next(&events) {
            Event::Part(Report::Ready { part, endpoint, pid }) => serving.add(part, endpoint, pid),
            Event::Part(Report::Failed(error)) => return Err(error),
            Event::Stop => return Ok(ExitCode::SUCCESS),
            Event::Fetched(_) => {}
        }
    }
    serving.started_in_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    serving.announce(arguments)?;
    loop {
        match next(&events) {
            Event::Part(Report::Failed(error)) => return Err(error),
            Event::Stop => return Ok(ExitCode::SUCCESS),
            Event::Part(Report::Ready { .. }) | Event::Fetched(_) => {}
        }
    }
}

fn next(events: &Receiver<Event>) -> Event {
    // The caller holds a sender, so the channel can't end; if it did, stopping would be right.
    events.recv().unwrap_or(Event::Stop)
}

/// Fetches the packages at once; none if it is told to stop meanwhile. Then this process soon ends, and with it
/// the threads and tools of the fetches; what they leave, the next fetch removes.
fn fetch(
    parts: &[PartName],
    cache: &Cache,
    sender: &Sender<Event>,
    events: &Receiver<Event>,
) -> Result<Option<Vec<(PartName, PathBuf)>>, Error> {
    let progress = std::sync::Arc::new(Progress::new());
    for &part in parts {
        let (cache, progress, sender) = (cache.clone(), progress.clone(), sender.clone());
        thread::spawn(move || {
            let fetched = part.part().package().fetch(&cache, &progress).map(|home| (part, home));
            drop(sender.send(Event::Fetched(fetched)));
        });
    }
    let mut packages = Vec::new();
    while packages.len() < parts.len() {
        match next(events) {
            Event::Fetched(fetched) => packages.push(fetched?),
            Event::Stop => return Ok(None),
            Event::Part(_) => {}
        }
    }
    Ok(Some(packages))
}

/// Has signals, and the end of standard input if that means the parent's end, arrive as events.
fn watch_for_stop(sender: &Sender<Event>, with_parent: bool) -> Result<(), Error> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(Error::spawn("the signal handler"))?;
    let on_signal = sender.clone();
    thread::spawn(move || {
        for _ in signals.forever() {
            drop(on_signal.send(Event::Stop));
        }
    });
    if with_parent {
        let on_end = sender.clone();
        thread::spawn(move || {
            // However it ends, by a failure too, there is no parent to serve any more.
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            drop(on_end.send(Event::Stop));
        });
    }
    Ok(())
}

impl Serving {
    fn add(&mut self, part: PartName, endpoint: String, pid: u32) {
        self.pids.insert(part.part().name().to_owned(), pid);
        let place = match part {
            PartName::Kafka => &mut self.kafka,
            PartName::ClickHouse => &mut self.clickhouse,
            PartName::Chromium => &mut self.chromium,
        };
        *place = Some(endpoint);
    }

    fn announce(&self, arguments: &LocalArgs) -> Result<(), Error> {
        let text = if arguments.json {
            // Strings, numbers and a map with strings as keys: always valid JSON.
            serde_json::to_string(self).unwrap_or_default() + "\n"
        } else {
            self.lines(arguments)
        };
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        written.map_err(Error::file("write to", "standard output".as_ref()))
    }

    fn lines(&self, arguments: &LocalArgs) -> String {
        let endpoints =
            [("kafka", &self.kafka), ("clickhouse", &self.clickhouse), ("chromium", &self.chromium)];
        let endpoints = endpoints.iter().filter_map(|(name, endpoint)| {
            let pid = self.pids.get(*name)?;
            Some(format!("{name:10} {}  (process {pid})\n", endpoint.as_deref()?))
        });
        let fate = if arguments.data.is_some() { "kept" } else { "temporary" };
        let until = if arguments.with_parent { "standard input ends" } else { "Ctrl-C" };
        format!(
            "{}data       {} ({fate})\nstarted in {} ms; runs until {until}\n",
            endpoints.collect::<String>(),
            self.data.display(),
            self.started_in_ms
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_line_has_the_documented_form() {
        let mut serving = Serving {
            kafka: None,
            clickhouse: None,
            chromium: None,
            data: "/data".into(),
            pids: BTreeMap::new(),
            started_in_ms: 3,
        };
        serving.add(PartName::ClickHouse, "http://127.0.0.1:2".to_owned(), 20);
        let one = r#"{"clickhouse":"http://127.0.0.1:2","data":"/data","pids":{"clickhouse":20},"started_in_ms":3}"#;
        assert_eq!(serde_json::to_string(&serving).unwrap(), one);
        assert_eq!(serde_json::from_str::<Serving>(one).unwrap(), serving);

        serving.add(PartName::Kafka, "127.0.0.1:1".to_owned(), 10);
        let both = serde_json::to_string(&serving).unwrap();
        assert!(both.starts_with(r#"{"kafka":"127.0.0.1:1","clickhouse""#), "{both}");
    }
}
