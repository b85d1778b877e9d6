//! `tidewatch demo`, as a user runs it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tidewatch::families::interactions::generate::Rule;
use uuid::Uuid;

use crate::system::{BINARY, eventually};

/// The demo shows the city's figures, the same from the API and by SQL, beside the city's own labels; and of each kind of
/// frustration how well it was found.
#[test]
fn the_demo_shows_the_figures_of_both_families() {
    let output = Command::new(BINARY).args(["demo", "--", "--exit"]).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<Vec<String>> = text.lines().map(words).collect();
    for row in [
        "BTDT 662 556",
        "BWSC 1 1",
        "INFO 118 103",
        "ISD 1132 518",
        "PARK 674 580",
        "PROP 224 220",
        "PWDx 4700 4315",
        "all 7511 6293 1218",
    ] {
        assert!(lines.iter().any(|line| line.starts_with(&words(row))), "{row} is missing in:\n{text}");
    }
    for part in [
        "SLA-breach incidents: 1864, of them still open: 646",
        "7511 closed, 6293 on time, 1218 overdue; 1864 breaches, 646 open: the same.",
        "7491 of 7491 agree; 20 closings are unlabelled.",
        "300 sessions, 42897 events (854 more came twice).",
        "Abandoned forms planted besides: 7,",
        " compared, 0 different.",
    ] {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
    for rule in Rule::ALL {
        let line = lines.iter().find(|line| line.first().is_some_and(|first| first == rule.name()));
        let figures: Vec<f64> = line.unwrap()[1..].iter().map(|figure| figure.parse().unwrap()).collect();
        let [planted, signals, recall, precision, near_misses, fired] = figures[..] else {
            panic!("{figures:?} in:\n{text}")
        };
        assert!(planted > 10.0 && signals > 10.0 && near_misses > 5.0, "{} in:\n{text}", rule.name());
        assert!(recall >= 0.99 && precision >= 0.99 && fired == 0.0, "{} in:\n{text}", rule.name());
    }
    let incidents = text.lines().find_map(|line| line.split_once("GET /v1/incidents?family=interactions): "));
    assert!(incidents.unwrap().1.ends_with(" medium"), "{text}");
}

/// A family that is played alone is shown alone.
#[test]
fn the_demo_shows_a_family_alone() {
    let play = |family: &str| {
        let arguments = ["demo", "--exit", "--port", "0", "--family", family, "--sessions", "30"];
        Command::new(BINARY).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let text = |played: Child| {
        let output = played.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        text
    };
    let both = ["civic", "interactions"].map(play);
    let [civic, interactions] = both.map(text);
    let of_civic = ["7511 closed, 6293 on time, 1218 overdue; 1864 breaches, 646 open: the same.", "Boston"];
    let of_interactions =
        ["Generated browser sessions (tidewatch generate interactions --seed 1): 30 sessions", "rage_click"];
    let of_all = ["Live (GET /v1/incidents/stream): ", " compared, 0 different."];
    for (text, own, others) in
        [(&civic, of_civic, of_interactions), (&interactions, of_interactions, of_civic)]
    {
        for part in own.iter().chain(&of_all) {
            assert!(text.contains(part), "{part:?} is missing in:\n{text}");
        }
        for part in others {
            assert!(!text.contains(part), "{part:?} is in:\n{text}");
        }
    }
}

/// What the demo says can be pasted while it is up: an incident, its session, its clicks as the log has them, and what another
/// rule would have found. However the demo ends, its stack ends with it: here by SIGKILL.
#[tokio::test(flavor = "multi_thread")]
async fn the_demos_hints_work_and_killed_it_leaves_no_process() {
    let mut demo = Command::new(BINARY);
    let mut demo = demo.args(["demo", "--port", "0"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut hints = Vec::new();
    for line in BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap) {
        if line.starts_with("Up until Ctrl-C") {
            break;
        }
        hints.extend(line.strip_prefix("  ").map(str::to_owned));
    }
    let hint = |part: &str| {
        let found = hints.iter().find(|hint| hint.contains(part));
        found.unwrap_or_else(|| panic!("no hint has {part}: the demo has ended, or {hints:#?}")).clone()
    };

    let signals = asked(&hint("/signals'")).await;
    let rules: Vec<&Value> = signals["signals"].as_array().unwrap().iter().map(|it| &it["rule"]).collect();
    assert_eq!(rules, ["rage_click"]);
    let timeline = asked(&hint("/timeline?")).await;
    let events = timeline["events"].as_array().unwrap();
    assert!(events.iter().filter(|event| event["type"] == "click").count() >= 3, "{timeline}");

    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (stack, settings) = (hint("AT="), hint("four.json"));
    let pasted = |command: &str| {
        let command = command.replace("cargo run --", BINARY);
        let script = format!("{stack}\n{settings}\n{command}");
        let output = Command::new("sh").args(["-ec", &script]).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let explain = hint("explain");
    let incident = explain.split_whitespace().find(|word| Uuid::parse_str(word).is_ok()).unwrap();
    let explained = pasted(&explain);
    assert!(explained.contains("\nRecords behind it: 3\n"), "{explained}");
    assert_eq!(explained.matches(r#""body":{"kind":"click","#).count(), 3, "{explained}");

    let compared = pasted(&hint("backtest"));
    assert!(compared.contains("\nrules.rage_click.count.at_least: 3 -> 4\n"), "{compared}");
    // Of three clicks: two signals, and the incident of one of them, which has nothing else.
    let row = compared.lines().find(|line| line.starts_with("signals, rage_click ")).unwrap();
    let words: Vec<&str> = row.split_whitespace().skip(2).collect();
    assert_eq!(words, ["19", "17", "+0", "-2", "~0"], "{compared}");
    assert!(compared.contains(&format!("\n- incidents {incident} boston/generated-1-")), "{compared}");
    assert_eq!(compared.lines().filter(|line| line.starts_with("- signals ")).count(), 2, "{compared}");

    let processes = descendants(demo.id());
    assert!(processes.len() >= 3, "the stack's processes: {processes:?}");
    demo.kill().unwrap();
    demo.wait().unwrap();
    eventually("the end of the stack", async || {
        processes.iter().all(|(pid, started)| start_time(*pid) != Some(*started)).then_some(())
    })
    .await;
}

/// What the API answers to the `curl` of a hint.
async fn asked(hint: &str) -> Value {
    let url = hint.split('\'').find(|part| part.starts_with("http")).unwrap();
    let request = reqwest::Client::new().get(url).header("X-Api-Key", "demo-key");
    request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
}

/// All processes below `pid`, each with its start time, which tells it from a later one of the same number.
fn descendants(pid: u32) -> Vec<(u32, u64)> {
    let mut all = Vec::new();
    // Each thread has children of its own.
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten() {
        let children = std::fs::read_to_string(thread.unwrap().path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().map(|child| child.parse().unwrap()) {
            all.extend(start_time(child).map(|started| (child, started)));
            all.extend(descendants(child));
        }
    }
    all
}

/// Field 22 of `/proc/PID/stat`.
fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}
