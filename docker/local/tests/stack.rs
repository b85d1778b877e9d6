//! The real stack: it serves, it leaves nothing behind however it ends, and kept data stays.
//!
//! The first run fetches the parts into the user's cache.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tidewatch_local::local::Serving;
use tidewatch_local::parts::PartName;
use tidewatch_local::{Error, Stack, StackOptions};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tidewatch-local");

#[test]
fn both_parts_serve_and_go_with_the_stack() {
    let stack = start(&StackOptions::default());
    assert_serves(&stack);
    let (pids, data) = (pids_of(&stack), stack.serving().data.clone());
    assert!(data.is_dir());
    drop(stack);
    // No wait: a dropped stack has ended.
    assert!(!data.exists());
    assert!(pids.iter().all(|&pid| !lives(pid)), "{pids:?}");
}

#[test]
fn nothing_stays_when_the_parent_is_killed() {
    // The shell stands for a demo or a test: it holds the pipe to the stack's standard input, then never ends.
    let script = format!(
        "mkfifo \"$0/in\" && exec 3<>\"$0/in\" && {{ {PROGRAM} local --json --with-parent <\"$0/in\" 3>&- >\"$0/out\" & }} && \
         exec 4>\"$0/in\" 3>&- && echo $! && exec sleep 1000"
    );
    let folder = Folder::new("parent");
    let mut parent = Command::new("sh");
    parent.args(["-c", &script]).arg(folder.path()).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut parent = parent.spawn().unwrap();
    let local = first_line(&mut parent).trim().parse().unwrap();
    let serving = await_serving(&folder.path().join("out"));
    let pids: Vec<u32> = serving.pids.values().copied().chain([local]).collect();
    assert!(pids.iter().all(|&pid| lives(pid)), "{pids:?}");

    kill(&mut parent);
    eventually("the stack is gone with its parent", || {
        pids.iter().all(|&pid| !lives(pid)) && !serving.data.exists()
    });
}

#[test]
fn nothing_stays_when_the_stack_itself_is_killed() {
    let mut local = Command::new(PROGRAM);
    local.args(["local", "--json", "--with-parent"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut local = local.spawn().unwrap();
    let serving: Serving = serde_json::from_str(&first_line(&mut local)).unwrap();
    let pids: Vec<u32> = serving.pids.values().copied().collect();

    kill(&mut local);
    eventually("the parts are gone with the stack", || pids.iter().all(|&pid| !lives(pid)));
    // Nobody was left to remove the folder; the next start does, here or in a test beside this one.
    let next = start(&StackOptions { parts: vec![PartName::ClickHouse], ..StackOptions::default() });
    assert!(!serving.data.exists());
    assert!(next.serving().data.exists());
}

#[test]
fn kept_data_survives_a_restart_on_other_ports() {
    let folder = Folder::new("kept");
    let options = StackOptions { data: Some(folder.path().join("data")), ..StackOptions::default() };
    let cluster = |stack: &Stack| fs::read_to_string(stack.serving().data.join("kafka/cluster-id")).unwrap();

    let stack = start(&options);
    query(&stack, "CREATE DATABASE kept");
    query(&stack, "CREATE TABLE kept.numbers (n UInt64) ENGINE = MergeTree ORDER BY n");
    query(&stack, "INSERT INTO kept.numbers SELECT number FROM numbers(1000)");
    let first_cluster = cluster(&stack);
    assert!(matches!(Stack::start(PROGRAM.as_ref(), &options), Err(Error::StackEnded { .. })));
    drop(stack);

    for _ in 0..2 {
        let stack = start(&options);
        assert_serves(&stack);
        assert_eq!(query(&stack, "SELECT sum(n) FROM kept.numbers"), "499500\n");
        assert_eq!(cluster(&stack), first_cluster);
    }
}

#[test]
fn the_death_of_a_part_ends_the_stack_with_an_error() {
    let mut local = Command::new(PROGRAM);
    local.args(["local", "--json", "--with-parent"]);
    local.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut local = local.spawn().unwrap();
    let serving: Serving = serde_json::from_str(&first_line(&mut local)).unwrap();
    signal(serving.pids["clickhouse"], "KILL");

    let mut said = String::new();
    local.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(!local.wait().unwrap().success());
    assert!(said.contains("clickhouse ended with signal: 9"), "{said}");
    assert!(!lives(serving.pids["kafka"]));
    assert!(!serving.data.exists());
}

#[test]
fn a_taken_port_is_named() {
    let stack = start(&StackOptions { parts: vec![PartName::ClickHouse], ..StackOptions::default() });
    let port = stack.clickhouse().unwrap().rsplit_once(':').unwrap().1;
    let mut second = Command::new(PROGRAM);
    second.args(["local", "--parts", "clickhouse", "--clickhouse-port", port]).stdin(Stdio::null());
    let said = String::from_utf8(second.output().unwrap().stderr).unwrap();
    assert!(said.contains(&format!("port {port} of 127.0.0.1 is taken")), "{said}");
    assert!(matches!(stack.kafka(), Err(Error::NoSuchPart("kafka"))));
}

/// The browser answers, is of the pinned version, and none of its processes outlives the stack.
#[test]
fn the_browser_serves_and_goes_with_the_stack() {
    let stack = start(&StackOptions { parts: vec![PartName::Chromium], ..StackOptions::default() });
    let mut stream = TcpStream::connect(stack.chromium().unwrap().strip_prefix("http://").unwrap()).unwrap();
    write!(stream, "GET /json/version HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
    let browser =
        BufReader::new(stream).lines().map(Result::unwrap).find(|line| line.contains("\"Browser\""));
    assert!(browser.unwrap().contains("HeadlessChrome/153."));
    let group = stack.part_pid(PartName::Chromium).unwrap();
    assert!(living_of_group(group).len() > 1, "a browser is several processes");
    drop(stack);
    eventually("all its processes are gone", || living_of_group(group).is_empty());
}

#[test]
fn a_termination_signal_ends_the_stack_in_order() {
    let mut local = Command::new(PROGRAM);
    local.args(["local", "--json", "--parts", "clickhouse"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut local = local.spawn().unwrap();
    let serving: Serving = serde_json::from_str(&first_line(&mut local)).unwrap();
    signal(local.id(), "TERM");
    assert!(local.wait().unwrap().success());
    assert!(!lives(serving.pids["clickhouse"]) && !serving.data.exists());
}

fn start(options: &StackOptions) -> Stack {
    Stack::start(Path::new(PROGRAM), options).unwrap()
}

fn pids_of(stack: &Stack) -> Vec<u32> {
    stack.serving().pids.values().copied().chain([stack.pid()]).collect()
}

fn assert_serves(stack: &Stack) {
    assert_eq!(query(stack, "SELECT 1"), "1\n");
    // ApiVersions (18), version 0, correlation 7, no client id: the answer repeats the correlation, then no error.
    let mut kafka = TcpStream::connect(stack.kafka().unwrap()).unwrap();
    kafka.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff]).unwrap();
    let mut answer = [0; 10];
    kafka.read_exact(&mut answer).unwrap();
    assert_eq!(answer[4..], [0, 0, 0, 7, 0, 0]);
}

/// Sends a query to ClickHouse; returns the body of its answer.
fn query(stack: &Stack, sql: &str) -> String {
    let address = stack.clickhouse().unwrap().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let length = sql.len();
    write!(stream, "POST / HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{sql}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 200 "), "{answer}");
    body.to_owned()
}

/// Whether the process runs; a zombie, which only waits to be reaped, doesn't.
fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

/// The processes of a process group that run.
fn living_of_group(group: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_of_group = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // After the name in brackets: the state, the parent, the group.
        let group_of = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(2));
        group_of == Some(&group.to_string())
    };
    pids.filter(|pid| lives(*pid) && is_of_group(pid)).collect()
}

fn kill(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap().success());
}

fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    line
}

fn await_serving(file: &Path) -> Serving {
    let mut serving = None;
    let deadline = Instant::now() + Duration::from_secs(600);
    wait("the stack serves", deadline, || {
        let text = fs::read_to_string(file).unwrap_or_default();
        serving = text.ends_with('\n').then(|| serde_json::from_str(&text).unwrap());
        serving.is_some()
    });
    serving.unwrap()
}

fn eventually(what: &str, condition: impl FnMut() -> bool) {
    wait(what, Instant::now() + Duration::from_secs(10), condition);
}

fn wait(what: &str, deadline: Instant, mut condition: impl FnMut() -> bool) {
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A folder of a test's own, removed when it ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("stack-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
