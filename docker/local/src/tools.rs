//! Programs of this machine that the stack needs, and how to get them.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Error;

/// A program that has to be installed.
#[derive(Debug)]
pub struct Tool {
    /// The name of its executable.
    pub program: &'static str,
    /// What it is needed for.
    pub purpose: &'static str,
    /// Its package on Debian and Ubuntu.
    pub debian: &'static str,
    /// Its package on Fedora.
    pub fedora: &'static str,
}

/// Runs Kafka.
pub const JAVA: Tool = Tool {
    program: "java",
    purpose: "to run Kafka",
    debian: "openjdk-17-jre-headless",
    fedora: "java-21-openjdk-headless",
};
/// Fetches Kafka.
pub const MAVEN: Tool = Tool { program: "mvn", purpose: "to fetch Kafka", debian: "maven", fedora: "maven" };
/// Fetches ClickHouse and Chromium.
pub const NPM: Tool =
    Tool { program: "npm", purpose: "to fetch ClickHouse", debian: "npm", fedora: "nodejs-npm" };
/// Unpacks Chromium; npm runs on it.
pub const NODE: Tool =
    Tool { program: "node", purpose: "to unpack Chromium", debian: "nodejs", fedora: "nodejs" };
/// Builds librdkafka.
pub const COMPILER: Tool = Tool {
    program: "cc",
    purpose: "to build the Kafka client",
    debian: "build-essential",
    fedora: "gcc gcc-c++",
};
/// Builds librdkafka.
pub const MAKE: Tool =
    Tool { program: "make", purpose: "to build the Kafka client", debian: "build-essential", fedora: "make" };

/// The oldest Java that runs Kafka 4.
pub const JAVA_MAJOR: u32 = 17;

impl Tool {
    /// The executable, or an error that says how to get it.
    pub fn find(&self) -> Result<PathBuf, Error> {
        let folders = env::var_os("PATH").unwrap_or_default();
        let found =
            env::split_paths(&folders).map(|folder| folder.join(self.program)).find(|path| path.is_file());
        found.ok_or_else(|| self.missing(format!("{} is missing, needed {}", self.program, self.purpose)))
    }

    /// How to install it.
    pub fn remedy(&self) -> String {
        format!(
            "install it: `sudo apt-get install {}` (Debian, Ubuntu) or `sudo dnf install {}` (Fedora)",
            self.debian, self.fedora
        )
    }

    fn missing(&self, what: String) -> Error {
        Error::Missing { what, remedy: self.remedy() }
    }
}

/// Java 17 or newer, of JAVA_HOME if that is set, else of the PATH; with its version.
pub fn java() -> Result<(PathBuf, u32), Error> {
    let home =
        env::var_os("JAVA_HOME").map(|home| Path::new(&home).join("bin/java")).filter(|path| path.is_file());
    let path = home.map_or_else(|| JAVA.find(), Ok)?;
    let output = Command::new(&path).arg("-version").stdin(Stdio::null()).output();
    let output = output.map_err(Error::spawn(path.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    match java_major(&said) {
        Some(major) if major >= JAVA_MAJOR => Ok((path, major)),
        Some(major) => Err(JAVA
            .missing(format!("{} is Java {major}, and Kafka needs {JAVA_MAJOR} or newer", path.display()))),
        None => {
            Err(JAVA.missing(format!("{} does not tell its version, but: {}", path.display(), said.trim())))
        }
    }
}

/// The major version in what `java -version` prints: 17 of `"17.0.15"`, 8 of `"1.8.0_402"`.
fn java_major(said: &str) -> Option<u32> {
    let version = said.split_once("version \"")?.1;
    let mut numbers = version.split(|character: char| !character.is_ascii_digit());
    match numbers.next()?.parse().ok()? {
        1 => numbers.next()?.parse().ok(),
        major => Some(major),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_of_java_is_read() {
        let cases = [
            ("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime Environment", Some(17)),
            ("Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version \"21\" 2023-09-19", Some(21)),
            ("openjdk version \"25-ea\" 2025-09-16", Some(25)),
            ("java version \"1.8.0_402\"", Some(8)),
            ("no Java here", None),
            ("version \"x\"", None),
        ];
        for (said, major) in cases {
            assert_eq!(java_major(said), major, "{said}");
        }
    }

    #[test]
    fn a_missing_tool_says_how_to_get_it() {
        let tool = Tool { program: "no-such-program", purpose: "to test", debian: "one", fedora: "two" };
        let error = tool.find().unwrap_err().to_string();
        assert!(error.contains("no-such-program is missing, needed to test"), "{error}");
        assert!(error.contains("apt-get install one") && error.contains("dnf install two"), "{error}");
    }
}
