//! `tidewatch demo`, as a user runs it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::system::{BINARY, eventually};

/// The demo shows the city's figures, the same from the API and by SQL, beside the city's own labels.
#[test]
fn the_demo_shows_the_citys_figures() {
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
    ] {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}

/// However the demo ends, its stack ends with it: here by SIGKILL.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_demo_leaves_no_process() {
    let mut demo = Command::new(BINARY).args(["demo", "--port", "0"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("Up until Ctrl-C")), "the demo stays up");
    let processes = descendants(demo.id());
    assert!(processes.len() >= 3, "the stack's processes: {processes:?}");
    demo.kill().unwrap();
    demo.wait().unwrap();
    eventually("the end of the stack", async || {
        processes.iter().all(|(pid, started)| start_time(*pid) != Some(*started)).then_some(())
    })
    .await;
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
