//! Python with the packages of `requirements.txt`: stock clients, which know nothing of this program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};
use tidewatch_local::cache::Cache;

const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/requirements.txt");

/// The interpreter. Its environment is made once, in the cache folder, and named after what it holds.
pub fn interpreter() -> &'static Path {
    static INTERPRETER: OnceLock<PathBuf> = OnceLock::new();
    INTERPRETER.get_or_init(|| {
        let hash = Sha256::digest(fs::read(REQUIREMENTS).unwrap());
        let name: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let cache = Cache::locate().unwrap();
        let folder = cache.path().join(format!("python-{name}"));
        let interpreter = folder.join("bin/python");
        if !folder.exists() {
            // Made aside and moved: another run that makes it at the same time, or an end halfway, does no harm.
            fs::create_dir_all(cache.path()).unwrap();
            let aside = cache.path().join(format!("python-{name}.{}", std::process::id()));
            run(Command::new("python3").args(["-m", "venv"]).arg(&aside));
            let mut install = Command::new(aside.join("bin/python"));
            install.args(["-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:"]);
            run(install.args(["--disable-pip-version-check", "-r", REQUIREMENTS]));
            if fs::rename(&aside, &folder).is_err() {
                fs::remove_dir_all(&aside).unwrap();
            }
        }
        interpreter
    })
}

fn run(command: &mut Command) {
    let output =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; the tests need Python 3"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
