//! The API's document is what other tools make of it: two validators accept it, and clients generated from it in TypeScript and
//! Python cover every route.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::python::{self, cached, run};
use crate::system::System;

const METHODS: [&str; 4] = ["get", "put", "post", "delete"];

/// npm's tools, pinned by `package-lock.json`.
fn node_modules() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/openapi");
    let folder = cached("npm-openapi", source.join("package-lock.json").to_str().unwrap(), |folder| {
        fs::create_dir_all(folder).unwrap();
        for file in ["package.json", "package-lock.json"] {
            fs::copy(source.join(file), folder.join(file)).unwrap();
        }
        run(Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(folder));
    });
    folder.join("node_modules/.bin")
}

/// Path, method and operation of each operation.
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of = |(path, item)| {
        let item: &Value = item;
        METHODS.iter().filter_map(move |method| Some((String::as_str(path), *method, item.get(method)?)))
    };
    paths.iter().flat_map(of).collect()
}

/// What no validator asks for: names that tell, each parameter once, and what every route says of keys.
fn assert_telling(document: &Value) {
    assert_eq!(document["servers"][0]["url"], "/");
    let mut names = BTreeSet::new();
    for (path, method, operation) in operations(document) {
        let name = operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path} has no name"));
        let words = name.chars().filter(char::is_ascii_uppercase).count() + 1;
        assert!(
            words >= 2 && name.starts_with(char::is_lowercase),
            "{method} {path}: {name} tells too little"
        );
        assert!(names.insert(name), "two operations are called {name}");
        assert!(operation["security"].is_array(), "{method} {path} says nothing of keys");
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let mut seen = BTreeSet::new();
        for parameter in parameters {
            let named = (parameter["in"].as_str(), parameter["name"].as_str());
            assert!(named.1.is_some() && seen.insert(named), "{method} {path}: {named:?} is there twice");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn validators_accept_the_document_and_generated_clients_cover_every_route() {
    let system = System::new("").await;
    let all = system.start_ready("all", &[]).await;
    let text = reqwest::get(format!("{}/openapi.json", all.url)).await.unwrap().text().await.unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_telling(&document);
    let folder = system.folder().join("openapi");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("openapi.json");
    fs::write(&file, &text).unwrap();
    tokio::task::block_in_place(|| {
        let python = python::with("openapi/requirements.txt");
        run(Command::new(&python).args(["-m", "openapi_spec_validator"]).arg(&file));
        let bin = node_modules();
        fs::write(folder.join("redocly.yaml"), include_str!("redocly.yaml")).unwrap();
        run(Command::new(bin.join("redocly")).args(["lint", "openapi.json"]).current_dir(&folder));
        run(Command::new(bin.join("openapi-typescript"))
            .args(["openapi.json", "-o", "api.ts"])
            .current_dir(&folder));
        run(Command::new(bin.join("tsc")).args(["--noEmit", "--strict", "api.ts"]).current_dir(&folder));
        let types = fs::read_to_string(folder.join("api.ts")).unwrap();
        for (path, method, operation) in operations(&document) {
            let name = operation["operationId"].as_str().unwrap();
            assert!(types.contains(&format!("operations[\"{name}\"]")), "{method} {path} has no type");
        }
        let client = folder.join("client");
        let mut generate = Command::new(&python);
        // It has no models for records that are one of several, and says so: those bodies stay plain JSON.
        generate.args(["-m", "openapi_python_client", "generate", "--meta", "none", "--path"]).arg(&file);
        run(generate.arg("--output-path").arg(&client));
        let covered = modules(&client.join("api"));
        assert_eq!(covered.len(), operations(&document).len(), "{covered:?}");
    });
}

/// The modules of a generated client: one an operation.
fn modules(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            found.extend(modules(&entry));
        } else if entry.extension().is_some_and(|extension| extension == "py")
            && !entry.ends_with("__init__.py")
        {
            found.push(entry.display().to_string());
        }
    }
    found
}
