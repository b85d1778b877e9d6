//! `tidewatch try`: the binary, over files.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tidewatch::families::civic::demo::boston;
use tidewatch::families::civic::demo::boston::Step;
use tidewatch::families::civic::demo::sender;
use tidewatch::families::civic::event::{UNKNOWN_AREA, issue_id};

use crate::system::BINARY;

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(["try", "--family", "civic"]).args(arguments).stdin(Stdio::null());
    command
}

/// Tries what stdin holds.
fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = command(arguments)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_owned());
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    // Who refuses its arguments doesn't read.
    let _ = writer.join().unwrap();
    output
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn rows(output: &Output) -> Vec<Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Each folder of `tests/data/try`: `events.ndjson` by `arguments` gives `expected.ndjson`, `expected.stderr`, and the exit
/// code that goes with them. With `UPDATE_EXPECTED` set they are written anew: read the difference.
#[test]
fn i2_each_case_gives_what_it_gave() {
    let update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let mut cases: Vec<PathBuf> =
        fs::read_dir(data("try")).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 15, "{cases:?}");
    for case in cases {
        let arguments = fs::read_to_string(case.join("arguments")).unwrap();
        let arguments: Vec<&str> = arguments.split_whitespace().chain(["events.ndjson"]).collect();
        let output = command(&arguments).current_dir(&case).output().unwrap();
        for (file, bytes) in [("expected.ndjson", &output.stdout), ("expected.stderr", &output.stderr)] {
            let file = case.join(file);
            if update {
                fs::write(file, bytes).unwrap();
            } else {
                let expected = fs::read_to_string(&file).unwrap();
                assert_eq!(text(bytes), expected, "{}", file.display());
            }
        }
        let is_refused = !text(&output.stderr).contains("+ 0 refused");
        assert_eq!(output.status.code(), Some(i32::from(is_refused)), "{}", case.display());
    }
}

/// The example of `--help` can be copied: its closing ends the breach of its report.
#[test]
fn the_example_in_the_help_works() {
    let help = Command::new(BINARY).args(["try", "--help"]).output().unwrap();
    let lines: Vec<&str> =
        text(&help.stdout).lines().map(str::trim).filter(|line| line.starts_with("{\"")).collect();
    assert_eq!(lines.len(), 3);
    let output = run(&["--receipts"], &lines.join("\n"));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let rows = rows(&output);
    let shown: Vec<_> = rows.iter().map(|row| (&row["topic"], &row["ended_at"], &row["met"])).collect();
    let (incident, end) = (json!("incidents"), json!("2024-05-01T15:00:00.000Z"));
    let (metric, no) = (json!("sla-metrics"), json!(false));
    let null = Value::Null;
    assert_eq!(shown, [(&incident, &null, &null), (&metric, &null, &no), (&incident, &end, &null)]);
    let issue = &rows[0]["subject"];
    assert!(text(&output.stderr).contains(&format!(r#"{{"line":1,"id":"r-1","issue_id":{issue}}}"#)));
}

/// The month as the lines of a file.
fn month() -> String {
    let requests = boston::requests(&data("2011-07_requests.csv")).unwrap();
    let mut lines = String::new();
    for step in boston::steps(&requests) {
        let line = match step {
            Step::Opened(request) => json!({ "report": sender::report(request) }),
            Step::Closed(request, at) => {
                let area = if request.area.is_empty() { UNKNOWN_AREA } else { &request.area };
                let issue = issue_id("try", area, &request.id).to_string();
                json!({ "status": sender::closing(request, at, &issue) })
            }
        };
        lines += &format!("{line}\n");
    }
    lines
}

#[test]
fn i2_the_month_of_boston_gives_the_citys_figures_and_twice_the_same_bytes() {
    let month = month();
    let current = run(&["--allowance", "0s", "--current"], &month);
    assert_eq!(current.status.code(), Some(0), "{}", text(&current.stderr));
    let (mut closed, mut met, mut breaches, mut open) = (0, 0, 0, 0);
    for row in rows(&current) {
        match row["topic"].as_str().unwrap() {
            "sla-metrics" if row["due_source"] == "reported" => {
                closed += 1;
                met += u32::from(row["met"] == true);
            }
            "incidents" if row["attributes"]["due_source"] == "reported" => {
                breaches += 1;
                open += u32::from(row["ended_at"].is_null());
            }
            _ => {}
        }
    }
    assert_eq!((closed, met, breaches, open), (7_511, 6_293, 1_864, 646));
    let summary = "19031 read = 19031 folded + 0 duplicate + 0 late + 0 dead-lettered + 0 refused";
    assert!(text(&current.stderr).contains(summary), "{}", text(&current.stderr));

    for arguments in [&["--allowance", "0s", "--current"][..], &["--idle", "90d"]] {
        let [a, b] = [run(arguments, &month), run(arguments, &month)];
        assert!(a.stdout == b.stdout && a.stderr == b.stderr, "{arguments:?}");
    }
    // A month in which nothing is held back for order is found earlier, not otherwise.
    let held_back = run(&["--current", "--idle", "1h"], &month);
    let count = |output: &Output| rows(output).iter().filter(|row| row["topic"] == "incidents").count();
    assert_eq!(count(&held_back), count(&run(&["--allowance", "0s", "--current", "--idle", "1h"], &month)));
}

/// Rows of all partitions come in the order in which time makes them due.
#[test]
fn i3_silence_passes_in_all_partitions_together() {
    let output = run(&["--allowance", "0s"], &month());
    let mut highest = String::new();
    let mut partitions = std::collections::BTreeSet::new();
    for row in rows(&output) {
        // The first version of a breach came when it was due, or at once where it was overdue on arrival.
        if row["topic"] == "incidents" && row["ended_at"].is_null() {
            let due = row["started_at"].as_str().unwrap().to_owned();
            let first_arrival = row["meta"]["first_arrival"].as_str().unwrap().to_owned();
            let at = due.max(first_arrival);
            assert!(highest <= at, "{at} after {highest}");
            highest = at;
            partitions.insert(row["meta"]["evidence"]["partition"].as_i64());
        }
    }
    assert_eq!(partitions.len(), 4);
}

#[test]
fn a_reader_that_leaves_early_ends_it_quietly() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = folder.path().join("month.ndjson");
    File::create(&file).unwrap().write_all(month().as_bytes()).unwrap();
    let mut child = command(&["--allowance", "0s"])
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 1];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

/// Who watches a pipe sees a row as soon as it follows.
#[test]
fn rows_are_printed_as_they_are_emitted() {
    let mut child =
        command(&["--allowance", "0s", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let case = fs::read(data("try/breach/events.ndjson")).unwrap();
    stdin.write_all(&case).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(stdout.read_exact(&mut [0; 1]).is_ok()));
    let seen = receiver.recv_timeout(Duration::from_secs(30));
    drop(stdin);
    child.wait().unwrap();
    assert_eq!(seen, Ok(true), "a row, while the input goes on");
}

/// The clock's own time, where it is asked for, and no other: it needs no `occurred_at`.
#[test]
fn by_now_an_event_is_appended_at_the_clocks_time() {
    let before = jiff::Timestamp::now();
    let line = json!({ "report": { "id": "r-1", "description": "d", "due_at": "2024-05-01T12:00:00Z" } });
    let output = run(&["--append-time", "now", "--allowance", "0s"], &line.to_string());
    let [row] = &rows(&output)[..] else { panic!("{output:?}") };
    let first_arrival: jiff::Timestamp = row["meta"]["first_arrival"].as_str().unwrap().parse().unwrap();
    assert!(
        first_arrival.as_millisecond() >= before.as_millisecond() && first_arrival <= jiff::Timestamp::now()
    );
    let ahead = json!({ "report": { "description": "d", "occurred_at": "2299-01-01T00:00:00Z" } });
    let output = run(&["--append-time", "now"], &ahead.to_string());
    assert!(text(&output.stderr).contains("line 1: future_event: report.occurred_at: "), "{output:?}");
}

/// Input that is no events at all.
#[test]
fn odd_input_is_named_by_line() {
    let long = format!("{}\n{{}}\n", "x".repeat(3 << 20));
    let zeros = "\0".repeat(1000);
    for (input, code, message) in [
        ("", 0, "events: 0 read"),
        ("\n\r\n  \n", 0, "events: 0 read"),
        (&long, 1, "line 1: too_large: a line may have 1048576 bytes\nline 2: invalid_value: occurred_at"),
        (&zeros, 1, "line 1: malformed_json: expected value at column 1"),
        ("{}{}", 1, "line 1: malformed_json: trailing characters at column 3"),
    ] {
        let output = run(&[], input);
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(code), &b""[..]));
        assert!(text(&output.stderr).contains(message), "{}", text(&output.stderr));
    }
}

/// What can't be run says why, by name, value and what is allowed.
#[test]
fn what_cannot_be_run_says_why() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let settings = |text: &str| {
        let path = folder.path().join(format!("{}.toml", text.len()));
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (misspelt, wrong) = (settings("civic.alowance = \"1h\""), settings("civic.grace = \"soon\""));
    for (arguments, parts) in [
        (&["--settings", &misspelt, "-"][..], &["`alowance`", "`allowance`", "expected"][..]),
        (&["--settings", &wrong, "-"], &["grace: ", "\"soon\"", "30d"]),
        (&["--settings", "nowhere.toml", "-"], &["nowhere.toml"]),
        (&["nowhere.ndjson"], &["can't read nowhere.ndjson"]),
        (&["."], &["can't read .: "]),
        (&["--allowance", "soon", "-"], &["--allowance", "soon", "72h"]),
        (&["--append-time", "later", "-"], &["--append-time", "later", "field:"]),
        (&["--tenant", "a/b", "-"], &["--tenant", "a/b", "letters"]),
        (&[], &["FILE.ndjson"]),
    ] {
        let output = command(arguments).output().unwrap();
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(2), &b""[..]), "{arguments:?}");
        for part in parts {
            assert!(text(&output.stderr).contains(part), "{arguments:?}: {}", text(&output.stderr));
        }
    }
    let output = Command::new(BINARY).args(["try", "--family", "trafic", "-"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("expected one of civic, interactions"), "{}", text(&output.stderr));
}

/// The file and the arguments say it all: neither the environment nor a server has a part in it.
#[test]
fn the_environment_has_no_say() {
    let case = data("try/breach/events.ndjson");
    let plain = command(&[case.to_str().unwrap()]).output().unwrap();
    let output = command(&[case.to_str().unwrap()])
        .env("TIDEWATCH_CIVIC__ALLOWANCE", "0s")
        .env("TIDEWATCH_KAFKA__BROKERS", "nowhere")
        .output()
        .unwrap();
    assert_eq!((&output.stdout, &output.stderr, output.status), (&plain.stdout, &plain.stderr, plain.status));
    assert!(plain.stdout.is_empty());
}
