//! The pure part of the sources reaches for nothing that could tell one run from another (I2). `tests/purity` proves by
//! compiling that it needs no other crate; here each path is looked at, also those into the standard library.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders of a family that are no operators, as `tests/purity/build.rs` has them.
const OTHERS: [&str; 5] = ["demo", "generate", "ingest", "queries", "settings"];

/// What paths may begin with; everything else that looks like a crate or a module of the standard library is refused.
const ALLOWED: [&str; 33] = [
    "std::any",
    "std::borrow",
    "std::cmp",
    "std::collections",
    "std::convert",
    "std::fmt",
    "std::hash",
    "std::iter",
    "std::marker",
    "std::mem",
    "std::num",
    "std::ops",
    "std::panic",
    "std::slice",
    "std::str",
    "std::string",
    "std::sync::Arc",
    "std::vec",
    "crate::engine",
    "crate::families",
    "super",
    "self",
    "compact_str",
    "foldhash",
    "hashbrown",
    "postcard",
    "serde",
    "serde_bytes",
    "sha2",
    "thiserror",
    "twox_hash",
    "uuid",
    "Self",
];

/// Words that have no place there, wherever they stand.
const FORBIDDEN: [&str; 19] = [
    "Instant",
    "SystemTime",
    "std::time",
    "std::thread",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "rand::",
    "tokio",
    "rdkafka",
    "thread_local!",
    "now_v7",
    "new_v4",
    "NoContext",
    "Timestamp::now",
    "jiff",
    "chrono",
    "getrandom",
];

/// Words that an operator has no use for: their order, or their seed, is another one in each process.
const FORBIDDEN_IN_FAMILIES: [&str; 3] = ["RandomState", "HashMap", "HashSet"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The code before the unit tests, without comments, each line with its number.
fn code(source: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = source.lines().enumerate().take_while(|(_, line)| *line != "#[cfg(test)]");
    lines.map(|(index, line)| (index + 1, line.split("//").next().unwrap_or_default()))
}

/// The paths of a line: those behind `use`, and those that begin with a crate's name.
fn paths(line: &str) -> Vec<String> {
    let used = line.trim_start().trim_start_matches("pub ").strip_prefix("use ");
    let is_path = |char: char| char.is_alphanumeric() || char == '_' || char == ':';
    let words = line.split(|char: char| !is_path(char)).filter(|word| word.contains("::"));
    let roots = ["std::", "core::", "alloc::", "crate::"];
    let full = words.filter(|word| roots.iter().any(|root| word.starts_with(root)));
    used.into_iter().chain(full).map(|path| path.trim_matches(['$', ':', ';', ' ']).to_owned()).collect()
}

fn is_allowed(path: &str) -> bool {
    let ends = |rest: &str| rest.is_empty() || rest.starts_with([':', ' ']);
    ALLOWED.iter().any(|root| path.strip_prefix(root).is_some_and(ends))
}

/// What is wrong with a source. A path may also begin with a module that it declares.
fn faults(source: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let declared = |line: &str| {
        line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';').map(str::to_owned)
    };
    let modules: Vec<String> = source.lines().filter_map(declared).collect();
    let is_own = |path: &str| modules.iter().any(|module| path.split("::").next() == Some(module));
    for (number, line) in code(source) {
        faults.extend(
            FORBIDDEN.iter().filter(|word| line.contains(**word)).map(|word| format!("{number}: {word}")),
        );
        faults.extend(
            paths(line)
                .into_iter()
                .filter(|path| !is_allowed(path) && !is_own(path))
                .map(|path| format!("{number}: {path}")),
        );
    }
    faults
}

#[test]
fn i2_engine_and_operators_know_no_kafka_tokio_or_clock() {
    let mut files = Vec::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    sources(&source.join("engine"), &mut files);
    let of_engine = files.len();
    files.push(source.join("families/incident.rs"));
    for family in fs::read_dir(source.join("families")).unwrap().map(|entry| entry.unwrap().path()) {
        if !family.is_dir() {
            continue;
        }
        for part in fs::read_dir(&family).unwrap().map(|entry| entry.unwrap().path()) {
            let name = part.file_stem().and_then(|name| name.to_str()).unwrap();
            // An operator may be a file, too; what the family is made of says `mod.rs`.
            if name == "mod" || OTHERS.contains(&name) {
                continue;
            }
            if part.is_dir() {
                sources(&part, &mut files);
            } else {
                files.push(part);
            }
        }
    }
    assert!(files.len() > 15, "the sources are there: {files:?}");
    for (place, file) in files.iter().enumerate() {
        let source = fs::read_to_string(file).unwrap();
        let faults = faults(&source);
        assert!(faults.is_empty(), "{}: {faults:#?}", file.display());
        let is_tests = file.ends_with("tests.rs");
        for (number, line) in code(&source).filter(|_| place >= of_engine && !is_tests) {
            let found = FORBIDDEN_IN_FAMILIES.iter().find(|word| line.contains(**word));
            assert!(found.is_none(), "{}:{number}: {found:?}", file.display());
        }
    }
}

#[test]
fn i2_the_check_sees_what_it_is_for() {
    for line in [
        "use std::time::Instant;",
        "use tokio::sync::mpsc;",
        "pub use rdkafka::Message;",
        "    let now = std::time::SystemTime::now();",
        "use crate::runtime::Job;",
        "    crate::log::produce(row);",
        "use std::sync::Mutex;",
        "    let id = Uuid::now_v7();",
        "    let now = jiff::Timestamp::now();",
        "    let now = uuid::Timestamp::now(uuid::NoContext);",
    ] {
        assert!(!faults(line).is_empty(), "{line}");
    }
    for line in [
        "use std::sync::Arc;",
        "use super::time::KeyTime; // no tokio",
        "use crate::engine::{Event, Millis};",
    ] {
        assert!(faults(line).is_empty(), "{line}: {:?}", faults(line));
    }
}
