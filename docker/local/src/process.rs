//! Children that never outlive this process.
//!
//! Every child is started through the hidden subcommand `local-part`: it asks the kernel to be killed with its
//! parent, then becomes the program by exec, which keeps that wish. So even SIGKILL of this process leaves nothing.
//!
//! The kernel ties the wish to the *thread* that started the child: a child dies as soon as that thread ends.
//! So a thread starts only children that it waits for.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::Args;

use crate::Error;

/// This binary, also when a build has replaced its file meanwhile.
pub(crate) const THIS_BINARY: &str = "/proc/self/exe";

/// Lines that an error quotes of a log.
const TAIL_LINES: usize = 15;

/// `local-part`: becomes a program that dies with its parent.
#[derive(Debug, Args)]
pub struct LocalPartArgs {
    /// The process to die with
    parent: u32,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// A command whose process dies with this thread, and that the terminal's Ctrl-C doesn't reach.
pub(crate) fn bound(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(THIS_BINARY);
    command.arg0("tidewatch").arg("local-part").arg(std::process::id().to_string()).arg("--").arg(program);
    command.stdin(Stdio::null()).process_group(0);
    command
}

/// Runs a bound command to its end; unless it succeeds, the error quotes the end of its output.
pub(crate) fn run(command: &mut Command, what: &str) -> Result<(), Error> {
    let output = command.output().map_err(Error::spawn(what))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let tail = last_lines(&String::from_utf8_lossy(&said));
    Err(Error::Program { program: what.to_owned(), status: output.status.to_string(), tail })
}

/// The subcommand itself. Returns only when it fails.
pub(crate) fn become_part(arguments: &LocalPartArgs) -> Result<std::convert::Infallible, Error> {
    let parent = arguments.parent;
    let Some((program, rest)) = arguments.command.split_first() else {
        return Err(Error::spawn("a part")(io::ErrorKind::InvalidInput.into()));
    };
    die_with_parent().map_err(Error::spawn(program.display()))?;
    // The parent may have died before the wish was in place; the process then belongs to someone else.
    if std::os::unix::process::parent_id() != parent {
        return Err(Error::Orphaned(parent));
    }
    let error = Command::new(program).args(rest).exec();
    Err(Error::spawn(program.display())(error))
}

#[cfg(target_os = "linux")]
fn die_with_parent() -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(io::Error::from)
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// What was written into a log since it was `offset` bytes long.
pub(crate) fn written_since(log: &Path, offset: u64) -> String {
    let mut text = Vec::new();
    let read = File::open(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(offset))?;
        file.read_to_end(&mut text)
    });
    match read {
        Ok(_) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) => format!("(cannot read it: {error})"),
    }
}

/// The last lines, without the frames of Java's stack traces, which would push the messages out.
pub(crate) fn last_lines(text: &str) -> String {
    let is_frame = |line: &&str| line.starts_with("\tat ") || line.starts_with("\t... ");
    let lines: Vec<&str> = text.trim_end().lines().filter(|line| !is_frame(line)).collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::PathBuf;
    use std::{env, fs};

    use super::*;

    /// A folder of a test's own, removed when it ends.
    pub(crate) struct TestFolder(PathBuf);

    impl TestFolder {
        pub(crate) fn new(name: &str) -> Self {
            let path = env::temp_dir().join(format!("tidewatch-local-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        pub(crate) fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for TestFolder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_log_is_read_from_the_offset() {
        let folder = TestFolder::new("log");
        let log = folder.path().join("log");
        fs::write(&log, "before\nafter\n").unwrap();
        assert_eq!(written_since(&log, 7), "after\n");
        assert!(written_since(&folder.path().join("none"), 0).contains("cannot read"));
    }

    #[test]
    fn the_last_lines_are_few_and_without_stack_frames() {
        let lines: String = (0..40).map(|line| format!("line {line}\n\tat frame {line}\n")).collect();
        let last = last_lines(&lines);
        assert_eq!(last.lines().count(), TAIL_LINES);
        assert!(last.ends_with("line 39") && !last.contains("frame"), "{last}");
    }
}
