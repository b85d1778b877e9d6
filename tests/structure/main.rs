//! The structure of `src`: no circle of files, and layers that point one way.

mod circles;
mod sources;

use std::fs;
use std::path::Path;

use self::circles::circles;
use self::sources::{Sources, Tie};

/// The top-level modules from the ground up, each with those that it may use. All of these stand above it.
const LAYERS: [(&str, &[&str]); 18] = [
    ("engine", &[]),
    ("telemetry", &[]),
    ("config", &["telemetry"]),
    ("codec", &["engine"]),
    ("log", &["engine", "config"]),
    ("http", &["config"]),
    ("settings", &["engine", "config", "codec", "log"]),
    ("store", &["config"]),
    ("resource", &["engine", "codec", "log"]),
    ("runtime", &["engine", "config", "codec", "log", "http", "settings"]),
    ("ingest", &["engine", "config", "codec", "log", "http", "runtime"]),
    ("sink", &["engine", "config", "codec", "log", "http", "store", "resource", "runtime"]),
    ("read", &["engine", "config", "codec", "log", "http", "store", "resource", "sink"]),
    ("families", &["engine", "config", "codec", "http", "settings", "store", "runtime", "ingest", "read"]),
    (
        "tools",
        &[
            "engine", "config", "codec", "log", "http", "settings", "store", "resource", "runtime", "ingest",
            "sink", "read", "families",
        ],
    ),
    (
        "role",
        &[
            "engine", "config", "log", "http", "resource", "runtime", "ingest", "sink", "read", "families",
            "tools",
        ],
    ),
    (
        "demo",
        &[
            "engine",
            "telemetry",
            "config",
            "codec",
            "log",
            "settings",
            "store",
            "runtime",
            "sink",
            "families",
            "tools",
            "role",
        ],
    ),
    (
        "main",
        &["telemetry", "config", "log", "settings", "resource", "sink", "families", "tools", "role", "demo"],
    ),
];

/// Folders of a family that are no operators, as `tests/purity/build.rs` has them.
const IMPURE: [&str; 5] = ["demo", "generate", "ingest", "queries", "settings"];

fn ties() -> Vec<Tie> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    read(&folder, "", &mut files);
    assert!(files.len() > 200, "the sources are there: {}", files.len());
    Sources::read(files.iter().map(|(file, text)| (file.as_str(), text.as_str()))).ties()
}

/// The Rust files of a folder, each with its path below it and its text.
fn read(folder: &Path, path: &str, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let file = format!("{path}{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            read(&entry.path(), &format!("{file}/"), files);
        } else if file.ends_with(".rs") {
            files.push((file, fs::read_to_string(entry.path()).unwrap()));
        }
    }
}

/// The top-level module of a file.
fn top(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

/// Whether a file is the record of a family, one of its operators or a row that families share.
fn is_pure(file: &str) -> bool {
    match file.split('/').collect::<Vec<_>>()[..] {
        ["families", "incident.rs"] | ["families", _, "event.rs"] => true,
        ["families", _, folder, _, ..] => !IMPURE.contains(&folder),
        _ => false,
    }
}

fn lines(ties: &[&Tie]) -> String {
    ties.iter().map(|tie| format!("  {tie}\n")).collect()
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let ties = ties();
    let found: String = circles(&ties).iter().map(|circle| format!("a circle:\n{}", lines(circle))).collect();
    assert!(found.is_empty(), "{found}");
}

#[test]
fn layers_point_one_way() {
    for (index, (module, below)) in LAYERS.iter().enumerate() {
        let is_above = |name: &str| LAYERS[..index].iter().any(|(above, _)| *above == name);
        assert!(below.iter().all(|name| is_above(name)), "{module} uses only what stands above it");
    }
    let ties = ties();
    let wrong: Vec<&Tie> = ties
        .iter()
        .filter(|tie| top(&tie.from) != top(&tie.to))
        .filter(|tie| {
            let layer = LAYERS.iter().find(|(module, _)| *module == top(&tie.from));
            !layer.is_some_and(|(_, below)| below.contains(&top(&tie.to)))
        })
        .collect();
    assert!(wrong.is_empty(), "not below the module that uses it:\n{}", lines(&wrong));
}

#[test]
fn operators_use_the_engine_and_each_other_alone() {
    let ties = ties();
    let is_wrong = |tie: &&Tie| is_pure(&tie.from) && !is_pure(&tie.to) && top(&tie.to) != "engine";
    let wrong: Vec<&Tie> = ties.iter().filter(is_wrong).collect();
    assert!(wrong.is_empty(), "{}", lines(&wrong));
    assert!(ties.iter().any(|tie| is_pure(&tie.from)), "there are operators");
}

/// The family in whose room a file is.
fn room(file: &str) -> Option<&str> {
    match file.split('/').collect::<Vec<_>>()[..] {
        ["families", family, _, ..] => Some(family),
        _ => None,
    }
}

#[test]
fn a_family_uses_nothing_of_another() {
    let is_wrong = |tie: &&Tie| room(&tie.from).zip(room(&tie.to)).is_some_and(|(from, to)| from != to);
    let ties = ties();
    let wrong: Vec<&Tie> = ties.iter().filter(is_wrong).collect();
    assert!(wrong.is_empty(), "what two families share lies beside them:\n{}", lines(&wrong));
}

/// The ties of a made-up crate, as they are printed.
fn told(files: &[(&str, &str)]) -> Vec<String> {
    Sources::read(files.iter().copied()).ties().iter().map(ToString::to_string).collect()
}

#[test]
fn a_made_up_circle_is_found() {
    let files = [
        ("lib.rs", "mod one; mod two; mod three;"),
        ("one.rs", "use crate::two::Second; pub struct First;"),
        ("two.rs", "pub struct Second; fn next() { super::three::third(); }"),
        ("three.rs", "pub fn third() { println!(\"{:?}\", crate::one::First); } "),
        ("four.rs", "use crate::one::First;"),
    ];
    let ties = Sources::read(files).ties();
    let found = circles(&ties);
    assert_eq!(found.len(), 1);
    assert_eq!(
        lines(&found[0]),
        "  one.rs -> two.rs: Second\n  three.rs -> one.rs: First\n  two.rs -> three.rs: third\n"
    );
    let two = [
        ("lib.rs", ""),
        ("a.rs", "use crate::b::B;"),
        ("b.rs", "use crate::a::A;"),
        ("c.rs", "use crate::d::D;"),
        ("d.rs", "use crate::c::C;"),
    ];
    let ties = Sources::read(two).ties();
    assert_eq!(circles(&ties).len(), 2, "circles that don't touch are two");
}

#[test]
fn a_name_leads_to_the_file_that_defines_it() {
    let files = [
        ("lib.rs", "mod engine; mod user;"),
        ("engine/mod.rs", "mod event; mod time; pub use self::event::*; pub use time::Clock as Watch;"),
        ("engine/event.rs", "pub struct Millis;"),
        ("engine/time.rs", "pub struct Clock; use super::Millis;"),
        ("user.rs", "use std::time::Duration; use crate::engine::{self, Watch}; fn f(_: engine::Millis) {}"),
    ];
    assert_eq!(
        told(&files),
        [
            "engine/time.rs -> engine/event.rs: Millis",
            "user.rs -> engine/event.rs: Millis",
            "user.rs -> engine/time.rs: Clock"
        ]
    );
}

#[test]
fn modules_above_and_below_and_tests_are_left_out() {
    let files = [
        ("lib.rs", "mod a;"),
        ("a/mod.rs", "mod child; use self::child::Child; pub struct Own; #[cfg(test)] mod tests;"),
        ("a/child.rs", "use super::Own; pub struct Child; #[cfg(test)] mod tests { use crate::b::B; }"),
        ("a/tests.rs", "use crate::b::B;"),
        (
            "b.rs",
            "pub struct B; #[cfg(test)] use crate::a::Own; impl B { #[cfg(test)] fn t() { crate::a::f() } }",
        ),
    ];
    assert_eq!(told(&files), Vec::<String>::new());
}
