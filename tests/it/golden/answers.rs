//! What is asked, what the answers were, and where one is another now.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Client, Response};
use serde_json::Value;

use super::key;
use crate::system::Process;

/// The headers of an answer that count.
const HEADERS: [&str; 6] =
    ["etag", "x-as-of", "cache-control", "content-type", "retry-after", "www-authenticate"];
/// What stands before each answer of a file. No body holds it: JSON has no line feeds.
const HEAD: &str = "\n== ";
/// How long a stream may say nothing.
const TIMEOUT: Duration = Duration::from_secs(60);
/// What is shown of two lines before and behind the byte in which they differ.
const AROUND: usize = 160;
/// How many lines of an answer are shown.
const LINES: usize = 4;
/// How often a file is asked, where the stores are slow.
const TURNS: usize = 5;

/// The answers on record, and what differs from them.
#[derive(Default)]
pub struct Golden {
    /// Who is asked, in words.
    pub node: &'static str,
    client: Client,
    /// The files that this run has recorded.
    recorded: BTreeSet<String>,
    differences: Vec<String>,
}

impl Golden {
    /// Asks a node what `asked/ASKED.txt` says, and compares the answers with `answered/ANSWERED.txt`.
    pub async fn ask(&mut self, node: &Process, asked: &str, answered: &str) {
        let questions = std::fs::read_to_string(path("asked", asked)).unwrap();
        let recorded = std::fs::read_to_string(path("answered", answered)).unwrap_or_default();
        let allowed = if is_recording() { usize::MAX } else { for_now(&recorded) };
        let mut found = String::new();
        for _ in 0..TURNS {
            found = self.answers(node, &questions, allowed).await;
            if for_now(&found) <= allowed {
                break;
            }
        }
        self.compare(answered, &found);
    }

    /// The answers to questions, up to the first of those beyond `allowed` that are so for now only: a store that is slow makes
    /// answers say that they may be old, or that there is none. These are no other answers, so all is asked again.
    async fn answers(&self, node: &Process, questions: &str, allowed: usize) -> String {
        let mut answers = String::new();
        for question in questions.lines().filter(|line| !line.starts_with('#')) {
            let (tenant, rest) = question.split_once(' ').unwrap();
            let (path, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            let mut next = Some(path.to_owned());
            while let Some(path) = next {
                let (answer, cursor) = ask(&self.client, node, tenant, &path, rest.split_once(": ")).await;
                answers.push_str(&answer);
                if for_now(&answers) > allowed {
                    return answers;
                }
                next = cursor.filter(|_| rest == "pages").map(|cursor| with_cursor(&path, &cursor));
            }
        }
        answers
    }

    /// Compares with `answered/NAME.txt`, or records it: a file once a run, with which what follows is compared, too.
    pub fn compare(&mut self, name: &str, found: &str) {
        let path = path("answered", name);
        if is_recording() && self.recorded.insert(name.to_owned()) {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, found).unwrap();
        }
        let expected = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}; GOLDEN_RECORD=1 records it", path.display()));
        if expected != found {
            self.differences.push(format!("{name}.txt, {}: {}", self.node, difference(&expected, found)));
        }
    }

    /// Fails if anything differed.
    pub fn finish(self) {
        let differences = self.differences.join("\n\n");
        assert!(differences.is_empty(), "answers are others than before:\n\n{differences}");
    }
}

fn is_recording() -> bool {
    std::env::var_os("GOLDEN_RECORD").is_some()
}

fn path(folder: &str, name: &str) -> PathBuf {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/golden");
    [data, folder, &format!("{name}.txt")].iter().collect()
}

/// How many answers hold for now only.
fn for_now(answers: &str) -> usize {
    answers.matches("\"stale\":true}\n").count() + answers.matches("\n503\n").count()
}

/// The page behind `cursor`.
fn with_cursor(path: &str, cursor: &str) -> String {
    match path.split_once("&cursor=") {
        Some((first, _)) => format!("{first}&cursor={cursor}"),
        None => format!("{path}&cursor={cursor}"),
    }
}

/// An answer as it is recorded, and the cursor of the next page.
async fn ask(
    client: &Client,
    node: &Process,
    tenant: &str,
    path: &str,
    header: Option<(&str, &str)>,
) -> (String, Option<String>) {
    let mut request = client.get(format!("{}{path}", node.url)).bearer_auth(key(tenant));
    let mut answer = format!("{HEAD}{tenant} {path}\n");
    if let Some((name, value)) = header {
        request = request.header(name, value);
        answer += &format!("{name}: {value}\n");
    }
    let response = request.send().await.unwrap();
    answer += &format!("{}\n", response.status().as_u16());
    for name in HEADERS {
        for value in response.headers().get_all(name) {
            answer += &format!("{name}: {}\n", value.to_str().unwrap());
        }
    }
    let is_stream =
        response.headers().get("content-type").is_some_and(|name| name.as_bytes() == b"text/event-stream");
    let body = if is_stream {
        // A stream that has told what was missed says where its client stands; or that it can't tell.
        let is_last = |event: &str| event.starts_with("id:") || event.starts_with("event: reset");
        Stream { response, rest: Vec::new() }.until(is_last).await
    } else {
        String::from_utf8(response.bytes().await.unwrap().to_vec()).unwrap()
    };
    answer += &format!("\n{}\n", without_append_times(&body));
    let cursor = serde_json::from_str(&body)
        .ok()
        .and_then(|body: Value| Some(body["next_cursor"].as_str()?.to_owned()));
    (answer, cursor)
}

/// When a record was appended is another time in each run; nothing but evidence says it.
fn without_append_times(body: &str) -> String {
    const BEFORE: &str = "\"append_time\":\"";
    let mut parts = body.split(BEFORE);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (time, rest) = part.split_once('"').unwrap();
        assert!(time.len() == 24 && time.parse::<jiff::Timestamp>().is_ok(), "{time}");
        text += &format!("{BEFORE}TIME\"{rest}");
    }
    text
}

/// What differs in the first answer that is another one.
fn difference(expected: &str, found: &str) -> String {
    let (expected, found) =
        first_difference(&mut expected.split(HEAD), &mut found.split(HEAD)).unwrap_or_default();
    let asked = if found.is_empty() { expected } else { found }.lines().next().unwrap_or_default();
    let (mut expected, mut found) = (expected.lines(), found.lines());
    let lines = std::iter::from_fn(|| first_difference(&mut expected, &mut found));
    let lines: String =
        lines.take(LINES).map(|(expected, found)| difference_of_line(expected, found)).collect();
    format!("{asked}{lines}")
}

/// The first two that are not the same; of what is not there, nothing.
fn first_difference<'a>(
    expected: &mut impl Iterator<Item = &'a str>,
    found: &mut impl Iterator<Item = &'a str>,
) -> Option<(&'a str, &'a str)> {
    loop {
        match (expected.next(), found.next()) {
            (None, None) => return None,
            (one, other) if one == other => {}
            (one, other) => return Some((one.unwrap_or_default(), other.unwrap_or_default())),
        }
    }
}

/// Two lines, where they begin to differ.
fn difference_of_line(expected: &str, found: &str) -> String {
    let both = expected.bytes().zip(found.bytes());
    let at = both.take_while(|(expected, found)| expected == found).count();
    let [expected, found] = [expected, found].map(|line| {
        let part = &line.as_bytes()[at.saturating_sub(AROUND)..line.len().min(at + AROUND)];
        String::from_utf8_lossy(part).into_owned()
    });
    format!("\n  at byte {at} of the line\n    recorded: {expected}\n    found:    {found}")
}

/// Server-sent events, as they are sent.
pub struct Stream {
    response: Response,
    rest: Vec<u8>,
}

impl Stream {
    /// Connects.
    pub async fn connect(node: &Process, key: &str, path: &str) -> Self {
        let request = Client::new().get(format!("{}{path}", node.url)).bearer_auth(key);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        Self { response, rest: Vec::new() }
    }

    /// What comes up to the event that is the last.
    pub async fn until(&mut self, is_last: impl Fn(&str) -> bool) -> String {
        const END: &[u8] = b"\n\n";
        let mut told = String::new();
        loop {
            while let Some(end) = self.rest.windows(END.len()).position(|bytes| bytes == END) {
                let event: Vec<u8> = self.rest.drain(..end + END.len()).collect();
                let event = String::from_utf8(event).unwrap();
                told += &event;
                if is_last(&event) {
                    return told;
                }
            }
            let chunk = tokio::time::timeout(TIMEOUT, self.response.chunk()).await;
            let chunk = chunk.expect("the stream says something").unwrap().expect("the stream goes on");
            self.rest.extend_from_slice(&chunk);
        }
    }
}
