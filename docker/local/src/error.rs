//! What can go wrong: each error says what happened, where, and what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// An error of the local stack.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This machine can't run the parts as plain processes.
    #[error(
        "the local stack runs on Linux x86-64 with glibc only, and this is {0}; \
         start the parts with Docker compose instead (the compose file is in the folder docker)"
    )]
    Platform(String),
    /// A program that is needed isn't there, or is too old.
    #[error("{what}; {remedy}")]
    Missing {
        /// What is missing, and what it is needed for.
        what: String,
        /// How to get it.
        remedy: String,
    },
    /// No folder for the cache.
    #[error("there is no folder for the cache: set TIDEWATCH_CACHE, XDG_CACHE_HOME or HOME")]
    NoCache,
    /// A file or folder failed.
    #[error("cannot {action} {path}: {source}; check its permissions and free space")]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A program can't be started.
    #[error("cannot start {program}: {source}")]
    Spawn {
        /// The program.
        program: String,
        /// What the system says.
        source: io::Error,
    },
    /// A program that fetches or prepares something failed.
    #[error(
        "{program} failed with {status}; it said:\n{tail}\nRun it again, and check the network if it downloads"
    )]
    Program {
        /// The program and what it was to do.
        program: String,
        /// Its exit status.
        status: String,
        /// The end of its output.
        tail: String,
    },
    /// A downloaded or cached file isn't the one that was pinned.
    #[error("{path} {fault}; remove it if it is still there, and the next start fetches it again")]
    Checksum {
        /// The file or folder.
        path: PathBuf,
        /// How it differs.
        fault: String,
    },
    /// Another stack runs on the data folder.
    #[error("another stack (process {owner}) uses the data folder {path}; stop it, or choose another folder")]
    DataInUse {
        /// The data folder.
        path: PathBuf,
        /// The other process's id, as its lock file gives it.
        owner: String,
    },
    /// A part ended when it should serve.
    #[error("{part} ended with {status}; the end of its log {log}:\n{tail}")]
    PartEnded {
        /// The part.
        part: &'static str,
        /// Its exit status.
        status: String,
        /// Its log file.
        log: PathBuf,
        /// The end of the log.
        tail: String,
    },
    /// A part didn't come up in time.
    #[error("{part} did not answer within {seconds} s; the end of its log {log}:\n{tail}")]
    PartSilent {
        /// The part.
        part: &'static str,
        /// How long it was given.
        seconds: u64,
        /// Its log file.
        log: PathBuf,
        /// The end of the log.
        tail: String,
    },
    /// The wanted port belongs to someone else.
    #[error(
        "port {port} of 127.0.0.1 is taken, so {part} cannot have it; choose another, or none for a free one"
    )]
    PortTaken {
        /// The part.
        part: &'static str,
        /// The port.
        port: u16,
    },
    /// The stack that a client started went away before it was ready.
    #[error(
        "`{program} local` ended with {status} before the stack was ready; its reason is in the lines above"
    )]
    StackEnded {
        /// The program.
        program: String,
        /// Its exit status.
        status: String,
    },
    /// The stack that a client started says something unknown.
    #[error("`{program} local` printed no valid JSON line ({source}); is it of the same version?")]
    StackLine {
        /// The program.
        program: String,
        /// What is wrong with the line.
        source: serde_json::Error,
    },
    /// A client asked for a part that it hadn't started.
    #[error("{0} is not among the parts of this stack; add it to the options")]
    NoSuchPart(&'static str),
    /// The process that starts parts lost its parent meanwhile.
    #[error("the parent process {0} is gone, so there is nothing to start for")]
    Orphaned(u32),
    /// The ClickHouse engine's host failed.
    #[error(transparent)]
    Host(#[from] tidewatch_clickhouse_host::HostError),
}

impl Error {
    /// For `map_err` on an operation on a file or folder.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::File { action, path: path.to_path_buf(), source }
    }

    /// For `map_err` on the start of a program.
    pub(crate) fn spawn(program: impl fmt::Display) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Spawn { program: program.to_string(), source }
    }
}
