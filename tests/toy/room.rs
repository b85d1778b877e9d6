//! A copy of the sources with the toy family in it, and its binary.
//!
//! All lies below `target/tmp/toy` and is kept, so that a second run compiles what has changed.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// The files of the toy family, as they lie in the repository.
const FAMILY: &str = "examples/toy-family";
/// The registry of the families.
const REGISTRY: &str = "src/families/mod.rs";
/// What stands in the registry before the first family.
const OPENING: &str = "families! {\n";
/// The line that registers the family.
pub const LINE: &str = "    meters::Meters,\n";

/// Files, by their paths from the root of the sources.
type Tree = BTreeMap<PathBuf, Vec<u8>>;

/// The sources with the toy family in them.
pub struct Room {
    sources: PathBuf,
    target: PathBuf,
}

impl Room {
    /// Makes the copy. Of what lies below `src` the family's own folder is new, and one line of the registry; nothing that was
    /// there is overwritten.
    pub fn new() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("toy");
        let (sources, target) = (home.join("sources"), home.join("target"));
        let before = tree(root);
        let mut after = before.clone();
        for (path, text) in &before {
            let Ok(own) = path.strip_prefix(FAMILY) else { continue };
            if own.parent() == Some(Path::new("")) {
                continue; // its README
            }
            assert!(after.insert(own.to_owned(), text.clone()).is_none(), "{} is there", own.display());
        }
        let registry = String::from_utf8(before[Path::new(REGISTRY)].clone()).unwrap();
        assert!(registry.contains(OPENING), "{REGISTRY} has no list of the families");
        let registry = registry.replacen(OPENING, &format!("{OPENING}{LINE}"), 1);
        after.insert(REGISTRY.into(), registry.into());
        write(&sources, &after);
        assert_changed(root, &sources);
        seed(&target);
        Self { sources, target }
    }

    /// The binary.
    pub fn binary(&self) -> PathBuf {
        self.target.join("debug/tidewatch")
    }

    /// Formatted as the rest.
    pub fn assert_formatted(&self) {
        let mut command = Command::new("rustfmt");
        command.args(["--check", "--edition", "2024", "src/families/meters/mod.rs", "tests/meters.rs"]);
        let output = command.current_dir(&self.sources).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    /// Builds the binary, and runs the family's own tests. The dependencies are those of this very test, and compiled.
    pub fn build(&self) {
        let began = Instant::now();
        // One command: what tests need of the dependencies is what they were compiled with.
        let mut command = Command::new(env!("CARGO"));
        command
            .args(["test", "--offline", "--locked", "--test", "meters", "--test", "schemas", "--target-dir"])
            .arg(&self.target);
        // Of our own crate nothing is fast here but its compilation.
        command.args(["--config", "profile.dev.package.tidewatch.opt-level=0"]);
        command.args(["--config", "profile.dev.package.tidewatch.debug=false"]);
        // What cargo has told this process is about another package.
        for (name, _) in
            std::env::vars().filter(|(name, _)| name.starts_with("CARGO_") && name != "CARGO_HOME")
        {
            command.env_remove(name);
        }
        let mut child = command.current_dir(&self.sources).stderr(Stdio::piped()).spawn().unwrap();
        let mut foreign = Vec::new();
        for line in BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok) {
            println!("{line}");
            if let Some(compiled) = line.trim().strip_prefix("Compiling ")
                && !compiled.starts_with("tidewatch")
            {
                foreign.push(compiled.to_owned());
            }
        }
        assert!(child.wait().unwrap().success(), "the sources with the toy family don't build");
        println!("built in {:?}; dependencies compiled anew: {foreign:?}", began.elapsed());
    }
}

/// The sources: what git knows, and what it would take.
fn tree(root: &Path) -> Tree {
    let mut command = Command::new("git");
    command.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let output = command.current_dir(root).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let paths = output.stdout.split(|byte| *byte == 0).filter(|path| !path.is_empty());
    let paths = paths.map(|path| PathBuf::from(std::str::from_utf8(path).unwrap()));
    // What is deleted and not yet committed is still listed.
    paths.filter_map(|path| fs::read(root.join(&path)).ok().map(|text| (path, text))).collect()
}

/// Makes a folder hold these files. What has not changed is left alone: cargo looks at times.
fn write(folder: &Path, tree: &Tree) {
    fs::create_dir_all(folder).unwrap();
    for path in files(folder).into_iter().filter(|path| !tree.contains_key(path)) {
        fs::remove_file(folder.join(path)).unwrap();
    }
    for (path, text) in tree {
        let path = folder.join(path);
        if fs::read(&path).ok().as_ref() != Some(text) {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }
}

/// The files below a folder, by their paths from there.
fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().to_owned());
            }
        }
    }
    found
}

/// Of what lies below `src` only the family's folder and one line of the registry differ.
fn assert_changed(root: &Path, sources: &Path) {
    let diff = |format: &str| {
        let mut command = Command::new("git");
        command.args(["diff", "--no-index", "--no-renames", format, "--"]);
        let output = command.arg(root.join("src")).arg(sources.join("src")).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    println!("{}", diff("--stat=110"));
    for line in diff("--numstat").lines() {
        let is_new = line.contains("/src/families/meters/") && line.split('\t').nth(1) == Some("0");
        let is_registered =
            line.starts_with("1\t0\t") && line.ends_with("mod.rs}") | line.ends_with(REGISTRY);
        assert!(is_new || is_registered, "another file changed: {line}");
    }
}

/// Gives a target folder that is new what this build has compiled of dependencies: links where cargo only reads, copies
/// where it also writes. Of our own crates nothing: they are to be compiled.
fn seed(target: &Path) {
    let own = std::env::current_exe().unwrap();
    let from = own.parent().and_then(Path::parent).unwrap();
    let to = target.join("debug");
    if to.exists() || !from.ends_with("debug") {
        return;
    }
    let is_ours = |name: &str| name.trim_start_matches("lib").starts_with("tidewatch");
    for folder in ["deps", "build", ".fingerprint"] {
        for path in files(&from.join(folder)) {
            let top = path.iter().next().and_then(|name| name.to_str()).unwrap();
            let is_linked = folder == "deps";
            let is_library = path
                .extension()
                .is_some_and(|kind| ["rlib", "rmeta", "so", "d"].iter().any(|of| kind == *of));
            if is_ours(top) || is_linked && !is_library {
                continue;
            }
            let (from, to) = (from.join(folder).join(&path), to.join(folder).join(&path));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            if is_linked {
                fs::hard_link(from, to).unwrap();
            } else {
                let modified = fs::metadata(&from).unwrap().modified().unwrap();
                fs::copy(&from, &to).unwrap();
                fs::File::options().write(true).open(&to).unwrap().set_modified(modified).unwrap();
            }
        }
    }
}
