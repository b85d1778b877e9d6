//! The ClickHouse engine: one library that holds the whole server, in a process of this binary.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::{Farewell, Launch, Part, Place};
use crate::Error;
use crate::fetch::Package;
use crate::{npm, process};

const LIBRARY: &str = "libchdb.so";
const NPM_PACKAGE: &str = "@chdb/lib-linux-x64-gnu@26.7.3-stable.1";
/// What npm calls the package's integrity, in hexadecimal digits.
const TARBALL_SHA512: &str = "5cff7b98caa7739b59a4a432c11f0dedc2d3b073624e61ebdf4a42e66ce8de35\
                              a6ba48ca9f62016bad1cd81fe059435cb858ce3235a8a2b408082a81563e70a7";
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

static PACKAGE: Package = Package {
    name: "ClickHouse 26.7",
    folder: "clickhouse-26.7.3",
    checksums: include_str!("../../clickhouse-26.7.3.sha256"),
    // npm's cache, the tarball, the library.
    scratch_bytes: 922_000_000,
    download,
};

/// See the module.
pub(super) struct ClickHouse;

impl Part for ClickHouse {
    fn name(&self) -> &'static str {
        "clickhouse"
    }

    fn package(&self) -> &'static Package {
        &PACKAGE
    }

    fn launch(&self, place: &Place<'_>) -> Result<Launch, Error> {
        let port = place.ports[0];
        let data = place.data.join("store");
        let arguments = [
            "local-clickhouse".into(),
            "--library".into(),
            place.package.join(LIBRARY).into(),
            "--data".into(),
            OsString::from(&data),
            "--http-port".into(),
            port.to_string().into(),
        ];
        Ok(Launch {
            program: process::THIS_BINARY.into(),
            arguments: arguments.into(),
            endpoint: format!("http://127.0.0.1:{port}"),
            is_ready: Box::new(move || serves(port, &data).unwrap_or(false)),
            environment: Vec::new(),
            farewell: Farewell::EndOfInput,
        })
    }
}

/// `local-clickhouse`: the process that holds the engine.
#[derive(Debug, Args)]
pub struct LocalClickHouseArgs {
    /// The engine
    #[arg(long)]
    library: PathBuf,
    /// The data folder
    #[arg(long)]
    data: PathBuf,
    /// The port for HTTP
    #[arg(long)]
    http_port: u16,
    /// The port for the native protocol; none: not served
    #[arg(long)]
    tcp_port: Option<u16>,
}

/// The subcommand itself: serves until standard input ends.
pub(crate) fn host(arguments: &LocalClickHouseArgs) -> Result<(), Error> {
    let LocalClickHouseArgs { library, data, http_port, tcp_port } = arguments;
    Ok(tidewatch_clickhouse_host::serve(library, data, *http_port, *tcp_port)?)
}

/// Whether the server on the port answers, and has its data here: a port can be another server's.
fn serves(port: u16, data: &Path) -> io::Result<bool> {
    if get(port, "/ping")?.1 != "Ok.\n" {
        return Ok(false);
    }
    let (status, path) = get(port, "/?query=SELECT%20path%20FROM%20system.disks%20WHERE%20name='default'")?;
    Ok(status == 200 && Path::new(path.trim_end()) == data)
}

/// One GET by HTTP 1.0, where the answer ends with the connection.
fn get(port: u16, target: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), ANSWER_TIMEOUT)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(format!("GET {target} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    parse_answer(&answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The status and the body.
fn parse_answer(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// Has npm fetch the package's tarball, and unpacks the library from it.
fn download(scratch: &Path, files: &Path) -> Result<(), Error> {
    let tarball = npm::pack(scratch, NPM_PACKAGE, TARBALL_SHA512)?;
    npm::unpack(&tarball, &[LIBRARY], files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_status_and_a_body() {
        let answer = "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nOk.\n";
        assert_eq!(parse_answer(answer), Some((200, "Ok.\n".to_owned())));
        assert_eq!(parse_answer("HTTP/1.0 200 OK\r\n"), None);
        assert_eq!(parse_answer(""), None);
    }
}
