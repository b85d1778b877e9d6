//! A system of the toy family's binary, on a stack of its own.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::Offset;
use serde_json::Value;
use tidewatch::config::{ClickHouseConfig, Config};
use tidewatch::log::Log;
use tidewatch_local::{Stack, StackOptions};

/// The binary without the toy family: it starts the stack.
const BINARY: &str = env!("CARGO_BIN_EXE_tidewatch");
const KEY: &str = "key-of-acme";
const TIMEOUT: Duration = Duration::from_secs(90);

/// Partitions of each topic of the family.
pub const PARTITIONS: i32 = 4;

/// Polls until `condition` gives something; `what` names what was waited for in vain.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Topics, tables and settings.
pub struct System {
    binary: PathBuf,
    folder: tempfile::TempDir,
    file: PathBuf,
    config: Config,
    pub log: Log,
    _stack: Stack,
}

impl System {
    /// A system of this binary, with its topics and tables.
    pub fn new(binary: PathBuf) -> Self {
        let stack =
            Stack::start(Path::new(BINARY), &StackOptions::default()).expect("the local stack starts");
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let file = folder.path().join("tidewatch.toml");
        let (kafka, clickhouse) = (stack.kafka().unwrap(), stack.clickhouse().unwrap());
        let text = format!(
            r#"
            kafka.brokers = "{kafka}"
            kafka.prefix = "toy."
            clickhouse.url = "{clickhouse}"
            clickhouse.database = "toy"
            sink.batch_age = "100ms"
            [[api_keys]]
            key = "{KEY}"
            tenant = "acme"
            scopes = ["ingest", "read", "admin"]
            "#
        );
        std::fs::write(&file, text).unwrap();
        let config = Config::load(Some(&file), &[]).unwrap();
        let log = Log::new(&config.kafka);
        let system = Self { binary, folder, file, config, log, _stack: stack };
        system.tool(&["migrate"]);
        system
    }

    /// Writes a file, and returns its path.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// What the binary prints, and what it says on stderr; it has to succeed.
    pub fn tool(&self, arguments: &[&str]) -> (String, String) {
        let (code, out, err) = self.run(arguments);
        assert_eq!(code, Some(0), "{arguments:?}");
        (out, err)
    }

    /// Runs the binary: exit status, standard output, standard error.
    pub fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(&self.binary);
        command.args(arguments).env("TIDEWATCH_LOG", "warn").stdin(Stdio::null());
        // These have no system.
        if !["try", "topology"].contains(&arguments[0]) {
            command.arg("--config").arg(&self.file);
        }
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (out, err) = (text(output.stdout), text(output.stderr));
        println!("$ tidewatch {}\n{out}{err}", arguments.join(" "));
        (output.status.code(), out, err)
    }

    /// Starts all roles in one process, on a free port.
    pub fn start(&self) -> Process {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut command = Command::new(&self.binary);
        // Bound to this process: a test that fails leaves nothing behind.
        command.args(["local-part", &std::process::id().to_string(), "--"]).arg(&self.binary).arg("all");
        command.arg("--config").arg(&self.file).arg("--set").arg(format!("http.listen=127.0.0.1:{port}"));
        let child = command.env("TIDEWATCH_LOG", "warn").stdin(Stdio::null()).spawn().unwrap();
        Process { child, url: format!("http://127.0.0.1:{port}") }
    }

    /// Appends a value to the family's intake topic, as a Kafka client does.
    pub fn produce(&self, key: &str, value: &str) {
        let producer: BaseProducer = self.log.producer().create().unwrap();
        let headers = OwnedHeaders::new().insert(Header { key: "tidewatch-key", value: Some(KEY) });
        let topic = self.log.name("intake.meters");
        producer.send(BaseRecord::to(&topic).key(key).payload(value).headers(headers)).unwrap();
        producer.flush(TIMEOUT).unwrap();
    }

    /// What a statement gives, a value a row.
    pub async fn query(&self, statement: &str) -> Vec<Value> {
        let ClickHouseConfig { url, database, .. } = &self.config.clickhouse;
        let settings = [("database", database.as_str()), ("output_format_json_quote_64bit_integers", "0")];
        let url = reqwest::Url::parse_with_params(url, settings).unwrap();
        let statement = format!("{statement} FORMAT JSONCompactEachRow");
        let text =
            reqwest::Client::new().post(url).body(statement).send().await.unwrap().text().await.unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{text}"))).collect()
    }

    /// Waits until a statement gives these rows.
    pub async fn gives(&self, statement: &str, rows: Value) {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let found = Value::from(self.query(statement).await);
            if found == rows {
                return;
            }
            assert!(Instant::now() < deadline, "{statement}\n gives {found}\n  and not {rows}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// How far the workers of a job have come: the sum of its offsets.
    pub fn folded(&self, job: &str) -> i64 {
        let consumer: BaseConsumer = self.log.consumer(&format!("process-{job}")).create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&self.log.name("meters"), 0, PARTITIONS - 1);
        let committed = consumer.committed_offsets(list, TIMEOUT).unwrap();
        let offset = |offset| if let Offset::Offset(offset) = offset { offset } else { 0 };
        committed.elements().iter().map(|element| offset(element.offset())).sum()
    }

    /// How many records a topic has had.
    pub fn length(&self, topic: &str) -> i64 {
        let consumer: BaseConsumer = self.log.consumer("reader").create().unwrap();
        let end = |partition| consumer.fetch_watermarks(&self.log.name(topic), partition, TIMEOUT).unwrap().1;
        (0..PARTITIONS).map(end).sum()
    }
}

/// All roles at work. It is killed when dropped.
pub struct Process {
    child: Child,
    pub url: String,
}

impl Process {
    /// Whether it is ready, and what it says of its parts.
    pub async fn readiness(&self) -> Option<(bool, String)> {
        let response = reqwest::get(format!("{}/readyz", self.url)).await.ok()?;
        Some((response.status().is_success(), response.text().await.ok()?))
    }

    pub async fn ready(&self) {
        let is_ready = async || self.readiness().await.filter(|(is_ready, _)| *is_ready);
        eventually("readiness", is_ready).await;
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        let request = reqwest::Client::new().get(format!("{}{path}", self.url)).bearer_auth(KEY);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = reqwest::Client::new().post(format!("{}{path}", self.url)).bearer_auth(KEY).json(body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// Ends it in order.
    pub async fn end(mut self) {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        let ended = eventually("the end of a process", async || self.child.try_wait().unwrap()).await;
        assert!(ended.success(), "{ended}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
