//! Apache Kafka 4.2.0: one node, broker and controller in one process (KRaft).

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Farewell, Launch, Part, Place};
use crate::Error;
use crate::fetch::Package;
use crate::{process, tools};

const POM: &str = include_str!("../../kafka-4.2.0.pom.xml");
const LOG4J: &str = include_str!("../../kafka-log4j2.xml");
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

static PACKAGE: Package = Package {
    name: "Apache Kafka 4.2",
    folder: "kafka-4.2.0",
    checksums: include_str!("../../kafka-4.2.0.sha256"),
    // Maven's local repository, with its plugins, and the jars.
    scratch_bytes: 100_000_000,
    download,
};

/// See the module.
pub(super) struct Kafka;

impl Part for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn package(&self) -> &'static Package {
        &PACKAGE
    }

    /// One for clients, one for the controller.
    fn ports(&self) -> usize {
        2
    }

    fn launch(&self, place: &Place<'_>) -> Result<Launch, Error> {
        let (java, _) = tools::java()?;
        let (port, controller_port) = (place.ports[0], place.ports[1]);
        let storage = place.data.join("storage");
        let configuration = place.data.join("server.properties");
        write(&configuration, &properties(port, controller_port, &storage))?;
        write(&place.data.join("log4j2.xml"), LOG4J)?;
        let java = Java { java, jars: place.package, data: place.data };
        let cluster = java.format(&storage, &configuration)?;

        let mut arguments = java.arguments(&["-Xms128m", "-Xmx512m"]);
        arguments.extend(["kafka.Kafka".into(), configuration.into()]);
        Ok(Launch {
            program: java.java.into(),
            arguments,
            endpoint: format!("127.0.0.1:{port}"),
            is_ready: Box::new(move || serves(port, &cluster).unwrap_or(false)),
            environment: Vec::new(),
            farewell: Farewell::Terminate,
        })
    }
}

/// How Kafka's classes are run.
struct Java<'a> {
    java: PathBuf,
    jars: &'a Path,
    data: &'a Path,
}

impl Java<'_> {
    fn arguments(&self, options: &[&str]) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = options.iter().map(OsString::from).collect();
        let mut log4j = OsString::from("-Dlog4j2.configurationFile=file:");
        log4j.push(self.data.join("log4j2.xml"));
        // Native libraries are unpacked there; a killed process would leave them in the system's folder.
        let mut scratch = OsString::from("-Djava.io.tmpdir=");
        scratch.push(self.data);
        arguments.extend(["-XX:+UseSerialGC".into(), "-XX:-UsePerfData".into(), log4j, scratch]);
        arguments.extend(["-cp".into(), self.jars.join("*").into()]);
        arguments
    }

    /// Formats the storage unless an earlier run has done so; returns the cluster's id.
    fn format(&self, storage: &Path, configuration: &Path) -> Result<String, Error> {
        // Written last, so its absence tells of a format that never ended.
        let mark = self.data.join("cluster-id");
        if let Ok(cluster) = fs::read_to_string(&mark) {
            return Ok(cluster);
        }
        if storage.exists() {
            fs::remove_dir_all(storage).map_err(Error::file("remove", storage))?;
        }
        let cluster = new_cluster_id().map_err(Error::file("read", Path::new("/dev/urandom")))?;
        let mut command = process::bound(&self.java);
        // A short run: compiling much wouldn't pay.
        command.args(self.arguments(&["-XX:TieredStopAtLevel=1"])).arg("kafka.tools.StorageTool");
        command.args(["format", "-t", &cluster, "-c"]).arg(configuration);
        process::run(&mut command, "the format of Kafka's storage")?;
        write(&mark, &cluster)?;
        Ok(cluster)
    }
}

/// The broker's configuration: one node, cheap topics, and time-outs low enough for tests.
fn properties(port: u16, controller_port: u16, storage: &Path) -> String {
    format!(
        "\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={storage}

# One node holds the only copy.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4

# After a SIGKILL the next start on the same data waits until the former session is over.
broker.heartbeat.interval.ms=1000
broker.session.timeout.ms=4000

# Topics are created on purpose, and many of them stay cheap.
auto.create.topics.enable=false
delete.topic.enable=true
log.preallocate=false
log.index.size.max.bytes=1048576
log.cleaner.dedupe.buffer.size=33554432

# Groups and transactions react fast.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
",
        storage = storage.display()
    )
}

/// A random id in the form that Kafka wants: a UUID's 16 bytes in URL-safe base64, which makes 22 characters.
fn new_cluster_id() -> io::Result<String> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut random = [0; 20];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let middle = random.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)]));
    // A leading dash would look like an option; the last character has only two bits to say.
    Ok(std::iter::once('T').chain(middle).chain(['A']).collect())
}

/// Whether the broker on the port is of this cluster, and registered with its controller.
fn serves(port: u16, cluster: &str) -> io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), ANSWER_TIMEOUT)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    // Metadata (3), version 2, correlation 7, no client id, no topics.
    stream.write_all(&[0, 0, 0, 14, 0, 3, 0, 2, 0, 0, 0, 7, 0xff, 0xff, 0, 0, 0, 0])?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = Vec::new();
    stream.take(u32::from_be_bytes(length).into()).read_to_end(&mut answer)?;
    Ok(parse_metadata(&answer).is_some_and(|metadata| {
        metadata.brokers > 0 && metadata.controller >= 0 && metadata.cluster.as_deref() == Some(cluster)
    }))
}

/// What a Metadata response of version 2 says about the cluster.
#[derive(Debug, PartialEq, Eq)]
struct Metadata {
    brokers: i32,
    cluster: Option<String>,
    controller: i32,
}

fn parse_metadata(answer: &[u8]) -> Option<Metadata> {
    let mut rest = answer;
    let _correlation = number(&mut rest)?;
    let brokers = number(&mut rest)?;
    for _ in 0..brokers {
        let _id = number(&mut rest)?;
        let _host = string(&mut rest)?;
        let _port = number(&mut rest)?;
        let _rack = string(&mut rest)?;
    }
    let cluster = string(&mut rest)?;
    Some(Metadata { brokers, cluster, controller: number(&mut rest)? })
}

fn number(rest: &mut &[u8]) -> Option<i32> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(i32::from_be_bytes(*bytes))
}

/// A string, whose length -1 means none; the outer option is whether there is anything to read.
fn string(rest: &mut &[u8]) -> Option<Option<String>> {
    let (length, after) = rest.split_first_chunk()?;
    *rest = after;
    let Ok(length) = usize::try_from(i16::from_be_bytes(*length)) else { return Some(None) };
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(Some(String::from_utf8_lossy(text).into_owned()))
}

/// Has Maven copy Kafka's jars.
fn download(scratch: &Path, files: &Path) -> Result<(), Error> {
    let maven = tools::MAVEN.find()?;
    tools::java()?;
    write(&scratch.join("pom.xml"), POM)?;
    let option = |name: &str, path: &Path| {
        let mut option = OsString::from(name);
        option.push(path);
        option
    };
    let mut command = process::bound(maven);
    command.current_dir(scratch).args(["-q", "-B"]);
    command.arg(option("-Dmaven.repo.local=", &scratch.join("repository")));
    command.arg("dependency:copy-dependencies").arg(option("-DoutputDirectory=", files));
    process::run(&mut command, "`mvn dependency:copy-dependencies` for Kafka")
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::file("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metadata_answer_is_read_whole_or_not_at_all() {
        let mut answer = vec![0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, b'h', 0, 0, 0x23, 0x84, 0xff, 0xff];
        answer.extend([0, 2, b'i', b'd', 0, 0, 0, 1, 0, 0, 0, 0]);
        let metadata = Metadata { brokers: 1, cluster: Some("id".to_owned()), controller: 1 };
        assert_eq!(parse_metadata(&answer), Some(metadata));
        for length in 0..answer.len() - 4 {
            assert_eq!(parse_metadata(&answer[..length]), None, "{length}");
        }
    }

    #[test]
    fn cluster_ids_differ_and_have_the_form() {
        let (one, other) = (new_cluster_id().unwrap(), new_cluster_id().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), 22);
        assert!(one.starts_with('T') && one.ends_with('A'));
    }
}
