//! The way out of the log: from a 202 to a row that ClickHouse shows, and the read API under load, beside raw reads of the
//! store. `cargo bench --bench serve`; `-- --seconds 60` for a longer run.
//!
//! Requests are sent at their times whatever came of those before (an open loop), and a latency counts from the time at which
//! its request was due: a server that stalls is not asked less.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidewatch::config::Config;
use tidewatch::store;
use tidewatch_local::parts::PartName;
use tidewatch_local::{Stack, StackOptions};
use tokio::task::JoinSet;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const KEY: &str = "key-of-a-bench";
const PORT: u16 = 18_099;
/// Events a second that are sent while visibility is measured.
const EVENTS: usize = 5_000;
/// Requests a second to the read API.
const REQUESTS: u32 = 1_000;
/// Incidents that there are to be read.
const INCIDENTS: usize = 20_000;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let seconds = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--seconds", seconds] => seconds.parse()?,
        [] => 20,
        _ => return Err(format!("unknown arguments: {arguments:?}").into()),
    };
    let options =
        StackOptions { parts: vec![PartName::Kafka, PartName::ClickHouse], ..StackOptions::default() };
    let stack = Stack::start(env!("CARGO_BIN_EXE_tidewatch").as_ref(), &options)?;
    let file = std::env::temp_dir().join(format!("tidewatch-bench-{}.toml", std::process::id()));
    std::fs::write(
        &file,
        format!(
            r#"
            kafka.brokers = "{}"
            clickhouse.url = "{}"
            http.listen = "127.0.0.1:{PORT}"
            [[api_keys]]
            key = "{KEY}"
            tenant = "bench"
            scopes = ["ingest", "read", "admin"]
            "#,
            stack.kafka()?,
            stack.clickhouse()?
        ),
    )?;
    let program = |subcommand: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidewatch"));
        command
            .arg(subcommand)
            .arg("--config")
            .arg(&file)
            .env("TIDEWATCH_LOG", "error")
            .stdout(Stdio::null());
        command
    };
    if !program("migrate").status()?.success() {
        return Err("the tables could not be made".into());
    }
    let server = Server(program("all").spawn()?);
    let runtime = tokio::runtime::Runtime::new()?;
    let measured = runtime.block_on(measure(&Config::load(Some(&file), &[])?, seconds));
    drop(server);
    std::fs::remove_file(&file)?;
    measured
}

/// The process under test; killed when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already, which the requests have told.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn measure(config: &Config, seconds: u64) -> Result<(), Failure> {
    let client = reqwest::Client::new();
    let api = Arc::new(Api { client, url: format!("http://127.0.0.1:{PORT}") });
    while api
        .client
        .get(format!("{}/readyz", api.url))
        .send()
        .await
        .map_or(true, |r| !r.status().is_success())
    {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    api.put("/v1/settings/civic", &json!({ "allowance": "0s" })).await?;
    visibility(&api, config, seconds).await?;
    reads(&api, config, seconds).await
}

struct Api {
    client: reqwest::Client,
    url: String,
}

impl Api {
    async fn put(&self, path: &str, body: &Value) -> Result<(), Failure> {
        let request = self.client.put(format!("{}{path}", self.url)).bearer_auth(KEY).json(body);
        request.send().await?.error_for_status()?;
        Ok(())
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.client.post(format!("{}{path}", self.url)).bearer_auth(KEY).json(body);
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    async fn get(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let request = self.client.get(format!("{}{path}", self.url)).bearer_auth(KEY);
        Ok(request.send().await?.error_for_status()?.bytes().await?.to_vec())
    }
}

/// Half of the events open issues, the other half close those of half a second before: each closing makes a row.
async fn visibility(api: &Arc<Api>, config: &Config, seconds: u64) -> Result<(), Failure> {
    const BATCHES: usize = 10;
    let clickhouse = store::client(&config.clickhouse);
    let (sender, mut accepted) = tokio::sync::mpsc::unbounded_channel::<(String, Instant)>();
    let watcher = tokio::spawn(async move {
        let (mut waiting, mut latencies) = (Vec::<(String, Instant)>::new(), Vec::new());
        loop {
            let mut is_over = false;
            loop {
                match accepted.try_recv() {
                    Ok(probe) => waiting.push(probe),
                    Err(tokio::sync::mpsc::error::TryRecvError::Empty) => break,
                    Err(tokio::sync::mpsc::error::TryRecvError::Disconnected) => {
                        is_over = true;
                        break;
                    }
                }
            }
            if waiting.is_empty() && is_over {
                return Ok::<_, Failure>(latencies);
            }
            let ids: Vec<&str> = waiting.iter().map(|(id, _)| id.as_str()).collect();
            let seen: Vec<String> = clickhouse
                .query("SELECT DISTINCT toString(issue_id) FROM sla_metrics WHERE has(?, toString(issue_id))")
                .bind(ids)
                .fetch_all()
                .await?;
            let now = Instant::now();
            waiting.retain(|(id, since)| {
                let is_seen = seen.contains(id);
                if is_seen {
                    latencies.push(now - *since);
                }
                !is_seen
            });
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut requests = JoinSet::new();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / BATCHES as u32);
    for batch in 0..seconds as usize * BATCHES {
        ticks.tick().await;
        let (api, sender) = (api.clone(), sender.clone());
        requests.spawn(async move {
            let size = EVENTS / BATCHES / 2;
            let report =
                |index: usize| json!({ "report": { "description": "x", "area": (index % 64).to_string() } });
            let opened = api
                .post("/v1/civic", &json!({ "events": (0..size).map(report).collect::<Vec<_>>() }))
                .await?;
            let issues: Vec<String> = opened["accepted"]
                .as_array()
                .ok_or("nothing was accepted")?
                .iter()
                .filter_map(|item| item["issue_id"].as_str().map(str::to_owned))
                .collect();
            let close = |issue: &String| json!({ "status": { "issue_id": issue, "status": "closed" } });
            api.post("/v1/civic", &json!({ "events": issues.iter().map(close).collect::<Vec<_>>() })).await?;
            // One of them is looked for.
            sender.send((issues[batch % size].clone(), Instant::now()))?;
            Ok::<(), Failure>(())
        });
    }
    while let Some(request) = requests.join_next().await {
        request??;
    }
    drop(sender);
    let latencies = watcher.await??;
    println!("accept → a row in ClickHouse, at {EVENTS} events a second: {}", Quantiles::of(latencies));
    Ok(())
}

/// Reads by id and lists, each at [`REQUESTS`] a second; and the same reads of the store, one at a time.
async fn reads(api: &Arc<Api>, config: &Config, seconds: u64) -> Result<(), Failure> {
    let report = |index: usize| json!({ "report": { "description": "x", "area": (index % 64).to_string(), "due_at": "2020-01-01T00:00:00Z" } });
    for batch in 0..INCIDENTS / 1_000 {
        let events: Vec<Value> = (0..1_000).map(|index| report(batch * 1_000 + index)).collect();
        api.post("/v1/civic", &json!({ "events": events })).await?;
    }
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page: Value =
            serde_json::from_slice(&api.get(&format!("/v1/incidents?limit=1000{cursor}")).await?)?;
        let rows = page["incidents"].as_array().ok_or("no page")?;
        ids.extend(rows.iter().filter_map(|row| row["id"].as_str().map(str::to_owned)));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None if ids.len() >= INCIDENTS => break,
            None => {
                (ids, cursor) = (Vec::new(), String::new());
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
    // A thousand of them are asked for again and again, as a page or a dashboard does.
    let by_id: Vec<String> = ids.iter().step_by(20).map(|id| format!("/v1/incidents/{id}")).collect();
    let lists: Vec<String> = (0..64)
        .map(|area| format!("/v1/incidents?limit=20&attribute.area={area}"))
        .chain(["/v1/sla?by=department", "/v1/sla?by=area"].map(str::to_owned))
        .collect();
    for (what, paths) in [("by id", by_id), ("lists of 20", lists)] {
        let first = open_loop(api, &paths, 1).await?;
        let latencies = open_loop(api, &paths, seconds).await?;
        println!("read API, {what}, {REQUESTS} requests a second: {}", Quantiles::of(latencies));
        println!("  the first second of them, nothing known yet: {}", Quantiles::of(first));
    }
    let clickhouse = store::client(&config.clickhouse);
    let (mut points, mut pages) = (Vec::new(), Vec::new());
    for (index, id) in ids.iter().step_by(ids.len() / 500).enumerate() {
        let began = Instant::now();
        let select = "SELECT * FROM incidents_current WHERE tenant = 'bench' AND id = toUUID(?)";
        let row = clickhouse.query(select).bind(id).fetch_bytes("JSONEachRow")?.collect().await?;
        points.push(began.elapsed());
        let began = Instant::now();
        let select = "SELECT * FROM incidents_current WHERE tenant = 'bench' AND attributes['area'] = ? \
                      ORDER BY first_arrival DESC, id DESC LIMIT 20";
        let page = clickhouse.query(select).bind((index % 64).to_string());
        let page = page.fetch_bytes("JSONEachRow")?.collect().await?;
        pages.push(began.elapsed());
        if row.is_empty() || page.is_empty() {
            return Err("the store does not have what the API has".into());
        }
    }
    println!("the store itself, one read at a time: by id {}", Quantiles::of(points));
    println!("the store itself, one read at a time: lists of 20 {}", Quantiles::of(pages));
    Ok(())
}

async fn open_loop(api: &Arc<Api>, paths: &[String], seconds: u64) -> Result<Vec<Duration>, Failure> {
    let began = Instant::now();
    let mut requests = JoinSet::new();
    for (number, path) in (0..REQUESTS * seconds as u32).zip(paths.iter().cycle()) {
        let due = began + Duration::from_secs(1) / REQUESTS * number;
        tokio::time::sleep_until(due.into()).await;
        let (api, path) = (api.clone(), path.clone());
        requests.spawn(async move {
            api.get(&path).await?;
            Ok::<_, Failure>(due.elapsed())
        });
    }
    let mut latencies = Vec::new();
    while let Some(request) = requests.join_next().await {
        latencies.push(request??);
    }
    Ok(latencies)
}

/// p50, p99 and the most of some latencies.
struct Quantiles(Vec<Duration>);

impl Quantiles {
    fn of(mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        Self(latencies)
    }
}

impl std::fmt::Display for Quantiles {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(sorted) = self;
        let at = |share: f64| {
            let index = (sorted.len() as f64 * share) as usize;
            sorted.get(index.min(sorted.len().saturating_sub(1))).map_or(0.0, |l| l.as_secs_f64() * 1e3)
        };
        let (p50, p99, most) = (at(0.5), at(0.99), at(1.0));
        write!(formatter, "p50 {p50:.1} ms, p99 {p99:.1} ms, most {most:.1} ms, of {}", sorted.len())
    }
}
