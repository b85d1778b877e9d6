//! The client side: a stack as a child of this process.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::Error;
use crate::local::Serving;
use crate::parts::PartName;

/// How a stack is started. The default: Kafka and ClickHouse, free ports, temporary data.
#[derive(Debug, Clone)]
pub struct StackOptions {
    /// Keeps the data in this folder.
    pub data: Option<PathBuf>,
    /// Kafka's port.
    pub kafka_port: Option<u16>,
    /// ClickHouse's port for HTTP.
    pub clickhouse_port: Option<u16>,
    /// The parts to start.
    pub parts: Vec<PartName>,
}

impl Default for StackOptions {
    fn default() -> Self {
        Self { data: None, kafka_port: None, clickhouse_port: None, parts: PartName::SERVERS.into() }
    }
}

/// A running local stack. It stops when this is dropped, and also when this process ends in whatever way.
#[derive(Debug)]
pub struct Stack {
    child: Child,
    serving: Serving,
}

impl Stack {
    /// Runs `<program> local`, where the program is the binary `tidewatch`, and waits until every part serves.
    /// The first time it fetches the parts; the child's standard error, which shows the progress, is this process's.
    pub fn start(program: &Path, options: &StackOptions) -> Result<Self, Error> {
        let mut command = Command::new(program);
        command.args(["local", "--json", "--with-parent"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        // A Ctrl-C on the terminal is this process's to handle, and the stack follows by its standard input.
        command.process_group(0);
        for (option, port) in
            [("--kafka-port", options.kafka_port), ("--clickhouse-port", options.clickhouse_port)]
        {
            if let Some(port) = port {
                command.arg(option).arg(port.to_string());
            }
        }
        if let Some(data) = &options.data {
            command.arg("--data").arg(data);
        }
        let parts: Vec<&str> = options.parts.iter().map(|part| part.part().name()).collect();
        command.arg("--parts").arg(parts.join(","));
        let child = command.spawn().map_err(Error::spawn(program.display()))?;
        Self::await_line(child, program)
    }

    fn await_line(mut child: Child, program: &Path) -> Result<Self, Error> {
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(Error::spawn(program.display()))?;
        }
        let program = program.display().to_string();
        if line.is_empty() {
            let status = child.wait().map_err(Error::spawn(&program))?.to_string();
            return Err(Error::StackEnded { program, status });
        }
        match serde_json::from_str(&line) {
            Ok(serving) => Ok(Self { child, serving }),
            Err(source) => {
                // Its standard input ends here, and so does it.
                let _ = child.wait();
                Err(Error::StackLine { program, source })
            }
        }
    }

    /// Kafka's `host:port`; an error if the stack was started without Kafka.
    pub fn kafka(&self) -> Result<&str, Error> {
        self.serving.kafka.as_deref().ok_or(Error::NoSuchPart("kafka"))
    }

    /// ClickHouse's URL; an error if the stack was started without ClickHouse.
    pub fn clickhouse(&self) -> Result<&str, Error> {
        self.serving.clickhouse.as_deref().ok_or(Error::NoSuchPart("clickhouse"))
    }

    /// The URL of Chromium's DevTools; an error if the stack was started without Chromium.
    pub fn chromium(&self) -> Result<&str, Error> {
        self.serving.chromium.as_deref().ok_or(Error::NoSuchPart("chromium"))
    }

    /// All that the stack told at its start: the data folder, each part's process, the duration.
    pub fn serving(&self) -> &Serving {
        &self.serving
    }

    /// The process of `tidewatch local`.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The process of a part; an error if the stack was started without it.
    pub fn part_pid(&self, part: PartName) -> Result<u32, Error> {
        let name = part.part().name();
        self.serving.pids.get(name).copied().ok_or(Error::NoSuchPart(name))
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // wait() closes the child's standard input first, which is what stops it.
        let _ = self.child.wait();
    }
}
