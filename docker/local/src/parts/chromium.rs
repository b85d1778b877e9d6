//! Chromium without a window: the browser in which the tests look at the page, driven by the DevTools protocol.
//!
//! The build is one for machines that have no browser's libraries: it brings them, and a font.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::{Farewell, Launch, Part, Place};
use crate::Error;
use crate::fetch::Package;
use crate::{npm, process, tools};

const EXECUTABLE: &str = "chromium";
const NPM_PACKAGE: &str = "@sparticuz/chromium@153.0.0";
/// What npm calls the package's integrity, in hexadecimal digits.
const TARBALL_SHA512: &str = "8e2196a92bcf31dbb8f8ff538a562a011ef21063c41c8371fa50af13f36a34ef\
                              c41d8cc5ff1d615222394fa8a8548b7b744cbb9fcf1bcb24f4be4f9d9ec810c0";
/// What is taken from the tarball: the executable, its libraries, a font.
const COMPRESSED: [&str; 3] = ["chromium.br", "al2023.tar.br", "fonts.tar.br"];
/// Replaces files compressed by Brotli, which the node under npm reads, by what is in them.
const DECOMPRESS: &str = "for (const file of process.argv.slice(1)) {
    const { readFileSync, writeFileSync, unlinkSync } = require('node:fs');
    writeFileSync(file.slice(0, -3), require('node:zlib').brotliDecompressSync(readFileSync(file)));
    unlinkSync(file);
}";
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

static PACKAGE: Package = Package {
    name: "Chromium 153",
    folder: "chromium-153.0.0",
    checksums: include_str!("../../chromium-153.0.0.sha256"),
    // npm's cache, the tarball, the executable.
    scratch_bytes: 352_000_000,
    download,
};

/// See the module.
pub(super) struct Chromium;

impl Part for Chromium {
    fn name(&self) -> &'static str {
        "chromium"
    }

    fn package(&self) -> &'static Package {
        &PACKAGE
    }

    fn launch(&self, place: &Place<'_>) -> Result<Launch, Error> {
        let port = place.ports[0];
        let profile = place.data.join("profile");
        let active = profile.join("DevToolsActivePort");
        // It would tell of an earlier run.
        match fs::remove_file(&active) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::file("remove", &active)(error));
            }
            _ => {}
        }
        let fonts = place.data.join("fonts.conf");
        fs::write(&fonts, font_configuration(place.package)).map_err(Error::file("write", &fonts))?;
        let mut user_data = OsString::from("--user-data-dir=");
        user_data.push(&profile);
        let mut arguments: Vec<OsString> = [
            "--headless",
            // It runs in containers and as root, and opens only the tests' own pages.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-domain-reliability",
        ]
        .map(OsString::from)
        .into();
        arguments.extend([format!("--remote-debugging-port={port}").into(), user_data, "about:blank".into()]);
        Ok(Launch {
            program: place.package.join(EXECUTABLE).into(),
            arguments,
            environment: vec![
                ("LD_LIBRARY_PATH", place.package.into()),
                ("FONTCONFIG_FILE", fonts.into()),
                ("XDG_CACHE_HOME", place.data.into()),
            ],
            endpoint: format!("http://127.0.0.1:{port}"),
            is_ready: Box::new(move || serves(port, &active).unwrap_or(false)),
            farewell: Farewell::Terminate,
        })
    }
}

/// The package's font for everything: pages look the same on every machine.
fn font_configuration(package: &Path) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<!DOCTYPE fontconfig SYSTEM \"fonts.dtd\">\n\
         <fontconfig><dir>{}</dir><cachedir prefix=\"xdg\">fonts</cachedir></fontconfig>\n",
        package.display()
    )
}

/// Whether the browser on the port is the one that wrote the file: port, line end, path of its DevTools.
fn serves(port: u16, active: &Path) -> io::Result<bool> {
    let written = fs::read_to_string(active)?;
    let Some(path) = written.lines().nth(1) else { return Ok(false) };
    let mut stream = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), ANSWER_TIMEOUT)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(b"GET /json/version HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")?;
    // It keeps the connection, so the answer has no end to wait for.
    let (mut answer, mut buffer) = (Vec::new(), [0; 1024]);
    while !String::from_utf8_lossy(&answer).contains(path) {
        match stream.read(&mut buffer)? {
            0 => return Ok(false),
            length => answer.extend_from_slice(&buffer[..length]),
        }
    }
    Ok(true)
}

/// Has npm fetch the package's tarball, and unpacks the files of its archives side by side.
fn download(scratch: &Path, files: &Path) -> Result<(), Error> {
    let node = tools::NODE.find()?;
    let tarball = npm::pack(scratch, NPM_PACKAGE, TARBALL_SHA512)?;
    npm::unpack(&tarball, &COMPRESSED, scratch)?;
    let mut command = process::bound(node);
    command.current_dir(scratch).args(["-e", DECOMPRESS]).args(COMPRESSED);
    process::run(&mut command, "`node` unpacking Chromium")?;

    for archive in ["al2023.tar", "fonts.tar"] {
        let archive = scratch.join(archive);
        let unpack = || npm::unpack_flat(File::open(&archive)?, files, |name| name != "fonts.conf");
        unpack().map_err(Error::file("unpack", &archive))?;
    }
    let executable = files.join(EXECUTABLE);
    let placed = fs::rename(scratch.join(EXECUTABLE), &executable)
        .and_then(|()| fs::set_permissions(&executable, Permissions::from_mode(0o755)));
    placed.map_err(Error::file("place", &executable))
}
