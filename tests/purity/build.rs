//! Lists the pure modules: `src/engine`, the rows that families share, and of each folder of `src/families` the file
//! `event.rs` and every folder that is not one of those with another task. A further family is found by itself.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

/// Folders of a family that are no operators.
const OTHERS: [&str; 5] = ["demo", "generate", "ingest", "queries", "settings"];

fn main() {
    let source =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src").canonicalize().expect("there is src");
    let families = source.join("families");
    println!("cargo::rerun-if-changed={}", families.display());
    let module = |name: &str, path: &Path| format!("#[path = {path:?}]\npub mod {name};\n");
    let mut text = module("engine", &source.join("engine/mod.rs"));
    text += "/// The families.\npub mod families {\n";
    text += &module("incident", &families.join("incident.rs"));
    let mut folders: Vec<_> =
        fs::read_dir(&families).expect("it can be read").flatten().map(|e| e.path()).collect();
    folders.sort();
    for family in folders.iter().filter(|path| path.is_dir()) {
        let name =
            |path: &Path| path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        writeln!(text, "/// A family.\npub mod {} {{", name(family)).expect("a text takes it");
        text += &module("event", &family.join("event.rs"));
        let mut operators: Vec<_> =
            fs::read_dir(family).expect("it can be read").flatten().map(|e| e.path()).collect();
        operators.sort();
        for operator in
            operators.iter().filter(|path| path.is_dir() && !OTHERS.contains(&name(path).as_str()))
        {
            text += &module(&name(operator), &operator.join("mod.rs"));
        }
        text += "}\n";
    }
    text += "}\n";
    let out = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("pure.rs");
    fs::write(out, text).expect("it can be written");
}
