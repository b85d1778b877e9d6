//! One stack for all tests, and for each test a system of its own on it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::topic_partition_list::Offset;
use tidewatch::config::{ClickHouseConfig, Config};
use tidewatch::families;
use tidewatch::log::{Log, lag, topics};
use tidewatch::settings;
use tidewatch::{runtime, sink};
use tidewatch_local::{Stack, StackOptions};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_tidewatch");
/// The key of the tenant that sends in order.
pub const KEY: &str = "key-of-boston";
/// The key of a tenant with the default allowance.
pub const OTHER_KEY: &str = "key-of-salem";
/// A key that may only read.
pub const READ_KEY: &str = "key-of-a-reader";

const TIMEOUT: Duration = Duration::from_secs(90);

/// The stack of this test run. It ends with the process, whatever way that ends.
fn stack() -> &'static Stack {
    static STACK: OnceLock<Stack> = OnceLock::new();
    // The stack is a process of its own, bound to ours by a pipe, so it outlives the test that starts it.
    STACK.get_or_init(|| {
        Stack::start(Path::new(BINARY), &StackOptions::default()).expect("the local stack starts")
    })
}

/// Polls until `condition` gives something; `what` names what was waited for in vain.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A system of its own: topics, tables, settings.
pub struct System {
    pub config: Config,
    pub log: Log,
    file: PathBuf,
    folder: tempfile::TempDir,
}

impl System {
    /// A system with its topics and tables; `settings` are lines of TOML beyond what it needs to be one.
    pub async fn new(settings: &str) -> Self {
        Self::on(stack().kafka().unwrap(), settings).await
    }

    /// A system on a Kafka of the test's own.
    pub async fn on(kafka: &str, settings: &str) -> Self {
        Self::with(kafka, stack().clickhouse().unwrap(), settings).await
    }

    /// A system on a ClickHouse of the test's own.
    pub async fn on_clickhouse(clickhouse: &str, settings: &str) -> Self {
        Self::with(stack().kafka().unwrap(), clickhouse, settings).await
    }

    async fn with(kafka: &str, clickhouse: &str, settings: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let file = folder.path().join("tidewatch.toml");
        let text = format!(
            r#"
            kafka.brokers = "{kafka}"
            kafka.prefix = "{name}."
            clickhouse.url = "{clickhouse}"
            clickhouse.database = "{name}"
            sink.batch_age = "100ms"
            {settings}
            [[api_keys]]
            key = "{KEY}"
            tenant = "boston"
            scopes = ["ingest", "read", "admin"]
            [[api_keys]]
            key = "{OTHER_KEY}"
            tenant = "salem"
            scopes = ["ingest", "read"]
            [[api_keys]]
            key = "{READ_KEY}"
            tenant = "boston"
            scopes = ["read"]
            "#
        );
        std::fs::write(&file, text).unwrap();
        let config = Config::load(Some(&file), &[]).unwrap();
        let log = Log::new(&config.kafka);
        topics::create(&log).await.unwrap();
        sink::migrate(&config.clickhouse).await.unwrap();
        let system = Self { config, log, file, folder };
        tokio::task::block_in_place(|| settings::create(&system.log, &families::SETTINGS)).unwrap();
        system.set(Some("boston"), serde_json::json!({"allowance": "0s"}));
        system
    }

    /// Sets what is set of the family civic, for a tenant or for all; the version.
    pub fn set(&self, tenant: Option<&str>, document: serde_json::Value) -> i64 {
        let (family, document) =
            (families::settings("civic").unwrap(), serde_json::from_value(document).unwrap());
        tokio::task::block_in_place(|| settings::append(&self.log, family, tenant, None, &document)).unwrap()
    }

    /// Makes and deletes topics and records, as an administrator does.
    pub fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.log.client().create().unwrap()
    }

    /// The file of its settings.
    pub fn file(&self) -> &str {
        self.file.to_str().unwrap()
    }

    /// A folder of the test's own.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a role as a process, on a free port.
    pub fn start(&self, role: &str, settings: &[&str]) -> Process {
        self.start_with(role, settings, &[]).0
    }

    /// Starts a worker that stops for good at a step of its commits, once its transaction holds outputs; and waits until it
    /// has. Returns how many outputs there are.
    pub async fn start_until(&self, step: &str, settings: &[&str]) -> (Process, usize) {
        self.start_role_until("process", step, settings).await
    }

    /// As [`start_until`](Self::start_until), of any role whose transactions have such steps.
    pub async fn start_role_until(&self, role: &str, step: &str, settings: &[&str]) -> (Process, usize) {
        let (process, lines) = self.start_with(role, settings, &[("FAIL_POINT", step)]);
        let outputs = told(step, lines, move |line| {
            let outputs = line.strip_prefix("fail point ")?.split_once(" with ")?.1;
            outputs.strip_suffix(" outputs")?.parse().ok()
        });
        (process, outputs.await)
    }

    /// Starts a worker whose transactions fail now and then at a step.
    pub fn start_failing(&self, step: &str, settings: &[&str]) -> Process {
        self.start_with("process", settings, &[("FAIL_POINT", step)]).0
    }

    /// Starts a sink that stops for good at a step of a batch, and waits until it has.
    pub async fn start_sink_until(&self, step: &str, settings: &[&str]) -> Process {
        let (process, lines) = self.start_with("sink", settings, &[("FAIL_POINT", step)]);
        told(step, lines, |line| line.strip_prefix("fail point ").map(drop)).await;
        process
    }

    fn start_with(
        &self,
        role: &str,
        settings: &[&str],
        environment: &[(&str, &str)],
    ) -> (Process, BufReader<ChildStdout>) {
        self.start_telling(role, settings, environment, Stdio::inherit())
    }

    /// Starts a role that says all it ever says into a file, and waits until it is ready.
    pub async fn start_talkative(&self, role: &str, settings: &[&str], file: &Path) -> Process {
        let told = std::fs::File::create(file).unwrap();
        let (process, _) = self.start_telling(role, settings, &[("TIDEWATCH_LOG", "trace")], told.into());
        process.ready().await;
        process
    }

    /// Starts a role that says what is worth a warning into a file.
    pub fn start_telling_into(&self, role: &str, settings: &[&str], file: &Path) -> Process {
        self.start_telling(role, settings, &[], std::fs::File::create(file).unwrap().into()).0
    }

    fn start_telling(
        &self,
        role: &str,
        settings: &[&str],
        environment: &[(&str, &str)],
        told: Stdio,
    ) -> (Process, BufReader<ChildStdout>) {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        // Bound to this thread: a test that fails leaves nothing behind.
        let mut command = Command::new(BINARY);
        command.args(["local-part", &std::process::id().to_string(), "--", BINARY, role]);
        command.arg("--config").arg(&self.file).arg("--set").arg(format!("http.listen=127.0.0.1:{port}"));
        for setting in settings {
            command.args(["--set", setting]);
        }
        command.env("TIDEWATCH_LOG", "warn").envs(environment.iter().copied()).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(told).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        (Process { child, url: format!("http://127.0.0.1:{port}") }, lines)
    }

    /// Runs a command with the system's configuration; what it ended with, and what it said.
    pub async fn run(&self, command: &str, arguments: &[&str]) -> (ExitStatus, String) {
        let mut run = Command::new(BINARY);
        run.arg(command).arg("--config").arg(&self.file).args(arguments).stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || run.output().unwrap()).await.unwrap();
        (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Starts a role and waits until it is ready.
    pub async fn start_ready(&self, role: &str, settings: &[&str]) -> Process {
        let process = self.start(role, settings);
        process.ready().await;
        process
    }

    /// Waits until each partition of the log begins with a mark, by which what is set has come into force (I4).
    pub async fn settings_in_force(&self) {
        eventually("the first marks", async || {
            let bounds = tokio::task::block_in_place(|| self.bounds("civic"));
            bounds.iter().all(|(_, end)| *end > 0).then_some(())
        })
        .await;
    }

    /// Waits until the workers have folded and the sink has written all that is in the log.
    pub async fn caught_up(&self) {
        self.folded().await;
        self.stored().await;
    }

    /// Waits until the sink has written all that is in the topics that have tables.
    pub async fn stored(&self) {
        let log = self.log.clone();
        let wait = move || {
            for topic in topics::all().iter().filter(|topic| topic.table.is_some()) {
                let read = lag::wait_until_read(&log, sink::GROUP, &topic.name);
                read.unwrap_or_else(|error| panic!("the sinks don't read {}: {error}", topic.name));
            }
        };
        tokio::task::spawn_blocking(wait).await.unwrap();
    }

    /// Waits until the workers have folded all that is in the log of each family.
    pub async fn folded(&self) {
        let log = self.log.clone();
        let wait = move || {
            for job in families::jobs() {
                let read = lag::wait_until_read(&log, &runtime::group(job.name), job.input);
                read.unwrap_or_else(|error| panic!("the workers don't read {}: {error}", job.input));
            }
        };
        tokio::task::spawn_blocking(wait).await.unwrap();
    }

    /// What ClickHouse answers to a statement; times are RFC 3339 and numbers numbers.
    pub async fn query(&self, statement: &str) -> String {
        let ClickHouseConfig { url, database, .. } = &self.config.clickhouse;
        let settings = [
            ("database", database.as_str()),
            ("date_time_output_format", "iso"),
            ("output_format_json_quote_64bit_integers", "0"),
        ];
        let request = reqwest::Client::new().post(reqwest::Url::parse_with_params(url, settings).unwrap());
        let response = request.body(statement.to_owned()).send().await.unwrap();
        let is_success = response.status().is_success();
        let text = response.text().await.unwrap();
        assert!(is_success, "{statement}: {text}");
        text
    }

    /// A topic as a plain consumer reads it: each partition's committed records in order.
    pub fn read_committed(&self, topic: &str) -> BTreeMap<i32, Vec<OwnedMessage>> {
        self.read(topic, "read_committed")
    }

    /// A topic with what is not or never will be committed.
    pub fn read_uncommitted(&self, topic: &str) -> BTreeMap<i32, Vec<OwnedMessage>> {
        self.read(topic, "read_uncommitted")
    }

    fn read(&self, topic: &str, isolation: &str) -> BTreeMap<i32, Vec<OwnedMessage>> {
        let consumer: BaseConsumer = self
            .log
            .consumer("reader")
            .set("isolation.level", isolation)
            .set("enable.partition.eof", "true")
            .create()
            .unwrap();
        let name = self.log.name(topic);
        let partitions = partitions(topic);
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(&name, partition, Offset::Beginning).unwrap();
        }
        // A client that does not know the leader yet waits for half a second before it asks again.
        consumer.fetch_metadata(Some(&name), TIMEOUT).unwrap();
        consumer.assign(&list).unwrap();
        let mut records: BTreeMap<i32, Vec<OwnedMessage>> =
            (0..partitions).map(|p| (p, Vec::new())).collect();
        let mut ended = 0;
        let deadline = Instant::now() + TIMEOUT;
        while ended < partitions {
            assert!(Instant::now() < deadline, "reading {name} takes too long");
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => records.get_mut(&message.partition()).unwrap().push(message.detach()),
                Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
                Some(Err(error)) => panic!("{error}"),
                None => {}
            }
        }
        records
    }

    /// A group's committed offsets in a topic.
    pub fn committed(&self, group: &str, topic: &str) -> BTreeMap<i32, i64> {
        let consumer: BaseConsumer = self.log.consumer(group).create().unwrap();
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions(topic) {
            list.add_partition(&self.log.name(topic), partition);
        }
        let committed = consumer.committed_offsets(list, Duration::from_secs(10)).unwrap();
        let offset = |offset| if let Offset::Offset(offset) = offset { offset } else { 0 };
        committed.elements().iter().map(|element| (element.partition(), offset(element.offset()))).collect()
    }

    /// (first offset that is not stable, end) of each partition: they differ while a transaction is open.
    pub fn bounds(&self, topic: &str) -> Vec<(i64, i64)> {
        self.try_bounds(topic).unwrap()
    }

    /// The first offset that is left of each partition.
    pub fn starts(&self, topic: &str) -> Vec<i64> {
        let client: BaseConsumer = self.log.client().create().unwrap();
        let name = self.log.name(topic);
        let start = |partition| client.fetch_watermarks(&name, partition, Duration::from_secs(10)).unwrap().0;
        (0..partitions(topic)).map(start).collect()
    }

    /// Deletes the topic `civic` and makes it anew, as it is declared.
    pub async fn remake_civic(&self) {
        let (admin, name) = (self.admin(), self.log.name("civic"));
        admin.delete_topics(&[&name], &AdminOptions::new()).await.unwrap();
        let partitions = topics::named("civic").unwrap().partitions;
        eventually("the topic's new life", async || {
            let new = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
            let new = new.set("message.timestamp.type", "LogAppendTime").set("retention.ms", "-1");
            admin.create_topics(&[new], &AdminOptions::new()).await.unwrap()[0].is_ok().then_some(())
        })
        .await;
    }

    /// Deletes the records of a partition before an offset.
    pub async fn delete_before(&self, topic: &str, partition: i32, offset: i64) {
        let admin: AdminClient<DefaultClientContext> = self.log.client().create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.log.name(topic), partition, Offset::Offset(offset)).unwrap();
        let deleted = admin.delete_records(&list, &AdminOptions::new()).await.unwrap();
        deleted.elements().iter().for_each(|element| element.error().unwrap());
    }

    /// As [`bounds`](Self::bounds), where the broker may be away.
    pub fn try_bounds(&self, topic: &str) -> KafkaResult<Vec<(i64, i64)>> {
        let client = |isolation| -> BaseConsumer {
            self.log.consumer("reader").set("isolation.level", isolation).create().unwrap()
        };
        let (committed, all) = (client("read_committed"), client("read_uncommitted"));
        let name = self.log.name(topic);
        let end = |client: &BaseConsumer, partition| -> KafkaResult<i64> {
            Ok(client.fetch_watermarks(&name, partition, Duration::from_secs(10))?.1)
        };
        (0..partitions(topic))
            .map(|partition| Ok((end(&committed, partition)?, end(&all, partition)?)))
            .collect()
    }
}

/// Waits until a process prints a line that says something of a step.
async fn told<T: Send + 'static>(
    step: &str,
    lines: BufReader<ChildStdout>,
    read: impl Fn(&str) -> Option<T> + Send + 'static,
) -> T {
    let wait = move || lines.lines().map_while(Result::ok).find_map(|line| read(&line));
    let told = tokio::time::timeout(TIMEOUT, tokio::task::spawn_blocking(wait)).await;
    let told = told.unwrap_or_else(|_| panic!("waited in vain for the step {step}"));
    told.unwrap().expect("the process reaches the step")
}

/// How many partitions a topic has.
pub fn partitions(topic: &str) -> i32 {
    topics::all().iter().find(|t| t.name == topic).unwrap().partitions
}

impl Drop for System {
    fn drop(&mut self) {
        let log = self.log.clone();
        let names: Vec<String> = topics::all().iter().map(|topic| log.name(&topic.name)).collect();
        let (url, database) = (self.config.clickhouse.url.clone(), self.config.clickhouse.database.clone());
        // A thread of its own: a test's runtime does not block. The data go with the stack in any case.
        let clean = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let admin: AdminClient<DefaultClientContext> = log.client().create().unwrap();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                admin.delete_topics(&names, &AdminOptions::new()).await.unwrap();
                let drop = format!("DROP DATABASE IF EXISTS {database}");
                reqwest::Client::new().post(url).body(drop).send().await.unwrap().error_for_status().unwrap();
            });
        });
        if clean.join().is_err() && !std::thread::panicking() {
            panic!("a test's topics and tables could not be removed");
        }
    }
}

/// A role at work. It is killed when dropped.
pub struct Process {
    child: Child,
    pub url: String,
}

impl Process {
    pub async fn ready(&self) {
        let url = format!("{}/readyz", self.url);
        eventually("readiness", async || {
            let response = reqwest::get(&url).await.ok()?;
            response.status().is_success().then_some(())
        })
        .await;
    }

    /// SIGKILL: it can't tidy up.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and what it ended with.
    pub async fn terminate(self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// The sum of a metric over its labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = reqwest::get(format!("{}/metrics", self.url)).await.unwrap().text().await.unwrap();
        let values = text.lines().filter_map(|line| line.strip_prefix(name));
        let values = values.filter(|rest| rest.starts_with(['{', ' ']));
        values.filter_map(|rest| rest.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    /// Waits for its end, and tells what it ended with.
    pub async fn ended(mut self) -> ExitStatus {
        eventually("the end of a process", async || self.child.try_wait().unwrap()).await
    }

    pub async fn get(&self, key: &str, path: &str) -> (u16, serde_json::Value) {
        let request = reqwest::Client::new().get(format!("{}{path}", self.url)).bearer_auth(key);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    pub async fn post(&self, key: &str, path: &str, body: &serde_json::Value) -> (u16, serde_json::Value) {
        let request = reqwest::Client::new().post(format!("{}{path}", self.url)).bearer_auth(key).json(body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    pub async fn delete(&self, key: &str, path: &str) -> u16 {
        let request = reqwest::Client::new().delete(format!("{}{path}", self.url)).bearer_auth(key);
        request.send().await.unwrap().status().as_u16()
    }

    pub async fn put(
        &self,
        key: &str,
        path: &str,
        if_match: Option<&str>,
        body: &serde_json::Value,
    ) -> (u16, serde_json::Value) {
        let mut request =
            reqwest::Client::new().put(format!("{}{path}", self.url)).bearer_auth(key).json(body);
        if let Some(version) = if_match {
            request = request.header("if-match", version);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
