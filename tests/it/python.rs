//! Python with the packages of `requirements.txt`: stock clients, which know nothing of this program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};
use tidewatch_local::cache::Cache;

/// The interpreter.
pub fn interpreter() -> &'static Path {
    static INTERPRETER: OnceLock<PathBuf> = OnceLock::new();
    INTERPRETER.get_or_init(|| with("requirements.txt"))
}

/// An interpreter with the packages of a file of `tests/it`.
pub fn with(requirements: &str) -> PathBuf {
    let requirements = format!("{}/tests/it/{requirements}", env!("CARGO_MANIFEST_DIR"));
    let folder = cached("python", &requirements, |folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder));
        let mut install = Command::new(folder.join("bin/python"));
        install.args(["-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:"]);
        run(install.args(["--disable-pip-version-check", "-r", &requirements]));
    });
    folder.join("bin/python")
}

/// A folder of the cache that is made once, and named after the file that says what it holds.
pub fn cached(name: &str, file: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let hash = Sha256::digest(fs::read(file).unwrap());
    let hash: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let cache = Cache::locate().unwrap();
    let folder = cache.path().join(format!("{name}-{hash}"));
    if !folder.exists() {
        // Made aside and moved: another run that makes it at the same time, or an end halfway, does no harm.
        fs::create_dir_all(cache.path()).unwrap();
        let aside = cache.path().join(format!("{name}-{hash}.{}", std::process::id()));
        make(&aside);
        if fs::rename(&aside, &folder).is_err() {
            fs::remove_dir_all(&aside).unwrap();
        }
    }
    folder
}

/// Runs a command to its end; what it printed.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; is it installed?"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}
