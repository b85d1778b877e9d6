//! One thread a part: starts it, waits until it serves, watches it, stops it.
//!
//! The thread lives as long as its child, as [`process`](crate::process) demands.

use std::fs::{self, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::Error;
use crate::parts::{Farewell, Launch, PartName, Place};
use crate::process;

/// How often a starting part is asked, and a running one looked at.
const START_INTERVAL: Duration = Duration::from_millis(25);
const WATCH_INTERVAL: Duration = Duration::from_millis(100);
/// How long a part may take to serve, and to end in order.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(8);
/// Starts with other ports after the first ones turned out taken.
const PORT_ATTEMPTS: u32 = 3;

/// What a supervisor reports.
pub(crate) enum Report {
    /// The part serves.
    Ready { part: PartName, endpoint: String, pid: u32 },
    /// The part didn't start, or ended by itself.
    Failed(Error),
}

/// What a part is to be started with.
pub(crate) struct Order {
    pub(crate) part: PartName,
    pub(crate) package: PathBuf,
    /// The stack's data folder.
    pub(crate) data: PathBuf,
    /// The port that clients use; none: a free one.
    pub(crate) port: Option<u16>,
    /// Whether the part is to end in order.
    pub(crate) kept: bool,
}

/// The supervisors of a stack. Dropped, they stop their parts, all at once, and wait for that.
#[derive(Default)]
pub(crate) struct Supervisors(Vec<(Sender<()>, JoinHandle<()>)>);

impl Supervisors {
    pub(crate) fn start<R>(&mut self, order: Order, report: R)
    where
        R: Fn(Report) + Send + 'static,
    {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            if let Err(error) = supervise(&order, &report, &stopped) {
                report(Report::Failed(error));
            }
        });
        self.0.push((stop, thread));
    }
}

impl Drop for Supervisors {
    fn drop(&mut self) {
        let (stops, threads): (Vec<_>, Vec<_>) = self.0.drain(..).unzip();
        drop(stops);
        for thread in threads {
            // A panicked supervisor has printed its panic, and its child died with it.
            let _ = thread.join();
        }
    }
}

/// Returns in order when it is told to stop, by the end of the channel.
fn supervise(order: &Order, report: &impl Fn(Report), stopped: &Receiver<()>) -> Result<(), Error> {
    let mut attempt = 1;
    loop {
        let mut running = Running::start(order)?;
        match running.wait_until_ready(stopped) {
            Err(error) if running.port_was_taken() => match order.port {
                Some(port) if !is_free(port) => {
                    return Err(Error::PortTaken { part: order.part.part().name(), port });
                }
                _ if attempt < PORT_ATTEMPTS => attempt += 1,
                _ => return Err(error),
            },
            Err(error) => return Err(error),
            Ok(Verdict::Stopped) => {
                running.stop();
                return Ok(());
            }
            Ok(Verdict::Ready) => {
                let (endpoint, pid) = (running.launch.endpoint.clone(), running.child.id());
                report(Report::Ready { part: order.part, endpoint, pid });
                return running.watch(stopped);
            }
        }
    }
}

enum Verdict {
    Ready,
    Stopped,
}

/// A part's process.
struct Running {
    name: &'static str,
    child: Child,
    launch: Launch,
    log: PathBuf,
    /// Where this run's lines start in the log.
    log_start: u64,
    kept: bool,
}

impl Running {
    fn start(order: &Order) -> Result<Self, Error> {
        let part = order.part.part();
        let name = part.name();
        let data = order.data.join(name);
        fs::create_dir_all(&data).map_err(Error::file("create", &data))?;
        let ports = free_ports(part.ports(), order.port).map_err(Error::spawn(name))?;
        let launch = part.launch(&Place { package: &order.package, data: &data, ports: &ports })?;

        let log = order.data.join(format!("{name}.log"));
        let output = OpenOptions::new().create(true).append(true).open(&log);
        let output = output.map_err(Error::file("open", &log))?;
        let log_start = output.metadata().map_err(Error::file("read", &log))?.len();
        let errors = output.try_clone().map_err(Error::file("open", &log))?;
        let mut command = process::bound(&launch.program);
        command.args(&launch.arguments).envs(launch.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(&data).stdout(output).stderr(errors);
        if launch.farewell == Farewell::EndOfInput {
            command.stdin(Stdio::piped());
        }
        let child = command.spawn().map_err(Error::spawn(name))?;
        Ok(Self { name, child, launch, log, log_start, kept: order.kept })
    }

    fn wait_until_ready(&mut self, stopped: &Receiver<()>) -> Result<Verdict, Error> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            // First whether it lives: another server may answer on the port that it couldn't have.
            if let Some(status) = self.ended()? {
                return Err(self.end(status));
            }
            if (self.launch.is_ready)() {
                return Ok(Verdict::Ready);
            }
            if Instant::now() >= deadline {
                let tail = process::last_lines(&self.said());
                let (part, log, seconds) = (self.name, self.log.clone(), START_TIMEOUT.as_secs());
                return Err(Error::PartSilent { part, seconds, log, tail });
            }
            if pause(stopped, START_INTERVAL) {
                return Ok(Verdict::Stopped);
            }
        }
    }

    fn watch(mut self, stopped: &Receiver<()>) -> Result<(), Error> {
        while !pause(stopped, WATCH_INTERVAL) {
            if let Some(status) = self.ended()? {
                return Err(self.end(status));
            }
        }
        self.stop();
        Ok(())
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        self.child.try_wait().map_err(Error::spawn(self.name))
    }

    fn end(&self, status: ExitStatus) -> Error {
        let tail = process::last_lines(&self.said());
        Error::PartEnded { part: self.name, status: status.to_string(), log: self.log.clone(), tail }
    }

    fn port_was_taken(&self) -> bool {
        self.said().contains("Address already in use")
    }

    /// What this run has logged.
    fn said(&self) -> String {
        process::written_since(&self.log, self.log_start)
    }

    /// Kept data ends in order, in bounded time; temporary data is not worth the wait.
    fn stop(mut self) {
        if self.kept {
            self.say_farewell();
            let deadline = Instant::now() + FAREWELL_TIMEOUT;
            while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
                thread::sleep(START_INTERVAL);
            }
        }
        // The drop kills what is left.
    }

    fn say_farewell(&mut self) {
        match self.launch.farewell {
            Farewell::EndOfInput => drop(self.child.stdin.take()),
            Farewell::Terminate => {
                let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
                // Not reaped yet, so the id is still the child's; and a child that is gone needs no signal.
                if let Some(pid) = pid {
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
                }
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for a child that is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits; true if it is time to stop.
fn pause(stopped: &Receiver<()>, interval: Duration) -> bool {
    stopped.recv_timeout(interval) == Err(RecvTimeoutError::Disconnected)
}

/// Ports that are free now: the wanted one first, if any. They are held together, so they differ.
fn free_ports(count: usize, wanted: Option<u16>) -> io::Result<Vec<u16>> {
    let free = count - usize::from(wanted.is_some());
    let listeners = (0..free).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let listeners: Vec<TcpListener> = listeners.collect::<io::Result<_>>()?;
    let found = listeners.iter().map(|listener| listener.local_addr().map(|address| address.port()));
    wanted.into_iter().map(Ok).chain(found).collect()
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_distinct_and_the_wanted_one_is_first() {
        let ports = free_ports(3, None).unwrap();
        assert_eq!(ports.len(), 3);
        assert!(ports[0] != ports[1] && ports[1] != ports[2] && ports[0] != ports[2]);
        assert_eq!(free_ports(2, Some(19092)).unwrap()[0], 19092);
        assert_eq!(free_ports(1, Some(19092)).unwrap(), [19092]);
    }
}
