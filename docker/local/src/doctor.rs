//! `tidewatch doctor`: what this machine lacks, and how to get it.

use std::env::consts::{ARCH, OS};
use std::fs;
use std::process::{Command, ExitCode};

use clap::Args;
use indicatif::HumanBytes;

use crate::Error;
use crate::cache::Cache;
use crate::fetch::Package;
use crate::parts::PartName;
use crate::tools::{self, Tool};

/// Free space for the downloads on their way, and some data.
const DISK_NEEDED: u64 = 2_000_000_000;
/// Kafka and ClickHouse, with room for what uses them.
const MEMORY_NEEDED: u64 = 2_000_000_000;

/// Arguments of `tidewatch doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {}

/// The outcome of one check.
enum Finding {
    Ok(String),
    /// Not there, and not needed now.
    Spare(String),
    Missing(String),
}

/// An error unless this is Linux x86-64 with glibc.
pub fn platform() -> Result<(), Error> {
    let fits = cfg!(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"));
    if fits { Ok(()) } else { Err(Error::Platform(format!("{OS} {ARCH}"))) }
}

/// Prints one line a check; fails if something that is needed is missing.
pub(crate) fn run(_: &DoctorArgs) -> Result<ExitCode, Error> {
    let cache = Cache::locate()?;
    let cached = |name: PartName| name.part().package().is_cached(&cache);
    let mut checks = vec![
        ("platform", check_platform()),
        ("java", check_java()),
        ("mvn", check_fetcher(&tools::MAVEN, cached(PartName::Kafka))),
        ("npm", check_fetcher(&tools::NPM, cached(PartName::ClickHouse))),
        ("cc", check_tool(&tools::COMPILER)),
        ("make", check_tool(&tools::MAKE)),
        ("disk", check_disk(&cache)),
        ("memory", check_memory()),
    ];
    checks
        .extend(PartName::ALL.map(|name| (name.part().name(), check_package(name.part().package(), &cache))));

    let mut complete = true;
    for (name, finding) in checks {
        let (verdict, detail) = match finding {
            Finding::Ok(detail) => ("ok", detail),
            Finding::Spare(detail) => ("-", detail),
            Finding::Missing(detail) => {
                complete = false;
                ("missing", detail)
            }
        };
        println!("{verdict:8} {name:11} {detail}");
    }
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check_platform() -> Finding {
    let libc = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let libc =
        libc.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    finding(platform().map(|()| format!("{OS} {ARCH} {libc}")))
}

fn check_java() -> Finding {
    finding(tools::java().map(|(path, major)| format!("Java {major}, {}", path.display())))
}

fn check_tool(tool: &Tool) -> Finding {
    finding(tool.find().map(|path| path.display().to_string()))
}

/// A tool that only fetches isn't needed once that is done.
fn check_fetcher(tool: &Tool, done: bool) -> Finding {
    match check_tool(tool) {
        Finding::Missing(_) if done => Finding::Spare(format!("not needed any more {}", tool.purpose)),
        other => other,
    }
}

fn finding(outcome: Result<String, Error>) -> Finding {
    outcome.map_or_else(|error| Finding::Missing(error.to_string()), Finding::Ok)
}

fn check_disk(cache: &Cache) -> Finding {
    let folder = cache.nearest_existing();
    match rustix::fs::statvfs(folder) {
        Ok(disk) => {
            enough(disk.f_bavail * disk.f_frsize, DISK_NEEDED, &format!("free at {}", folder.display()))
        }
        Err(error) => {
            Finding::Missing(format!("cannot tell the free space at {}: {error}", folder.display()))
        }
    }
}

fn check_memory() -> Finding {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    match available_memory(&text) {
        Some(bytes) => enough(bytes, MEMORY_NEEDED, "of memory available"),
        None => Finding::Missing("/proc/meminfo does not tell the available memory".to_owned()),
    }
}

fn enough(bytes: u64, needed: u64, of_what: &str) -> Finding {
    let found = format!("{} {of_what}", HumanBytes(bytes));
    if bytes >= needed {
        Finding::Ok(found)
    } else {
        Finding::Missing(format!("{found}; free {}", HumanBytes(needed)))
    }
}

/// The line `MemAvailable:  123 kB` of /proc/meminfo, in bytes.
fn available_memory(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// Reads every file, so it also finds what changed in the cache.
fn check_package(package: &Package, cache: &Cache) -> Finding {
    let home = package.home(cache);
    if !home.exists() {
        return Finding::Spare(format!(
            "{} is fetched when it is first started, into {}",
            package.name,
            home.display()
        ));
    }
    let verified = package.checksums().verify(&home);
    finding(verified.map(|()| format!("{} is cached and verified in {}", package.name, home.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read() {
        let text = "MemTotal:       24000000 kB\nMemFree: 5 kB\nMemAvailable:   2000 kB\n";
        assert_eq!(available_memory(text), Some(2_048_000));
        assert_eq!(available_memory("MemTotal: 1 kB"), None);
    }

    #[test]
    fn a_fetcher_is_spare_once_its_part_is_cached() {
        let tool = Tool { program: "no-such-program", purpose: "to test", debian: "one", fedora: "two" };
        assert!(matches!(check_fetcher(&tool, false), Finding::Missing(_)));
        assert!(matches!(check_fetcher(&tool, true), Finding::Spare(_)));
    }
}
