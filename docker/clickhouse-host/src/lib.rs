//! Serves the real ClickHouse engine: loads `libchdb.so`, which holds the whole server, and has it listen.
//!
//! This is the only crate of the workspace with `unsafe` code: three calls of C functions. A process can host one
//! engine, once, so [`serve`] belongs into a process of its own, which ends when it returns.

#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

use std::ffi::{CStr, CString, NulError, c_char, c_int, c_void};
use std::fs;
use std::io;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::ptr;

use libloading::Library;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// `chdb_result * chdb_query_cmdline(int argc, char ** argv)`: runs a command line of `clickhouse local`.
type QueryCommandLine = unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut c_void;
/// `const char * chdb_result_error(chdb_result *)`: null when there was no error.
type ResultError = unsafe extern "C" fn(*mut c_void) -> *const c_char;

/// Keeps the system database on disk.
///
/// By default it lives in memory, and then a `query_log` that was written under the data folder can't be attached
/// again: the engine's next start on the same folder loses the table or fails over its files. The UUID is arbitrary,
/// but has to stay.
const SYSTEM_DATABASE: &str =
    "ATTACH DATABASE system UUID '6e1a7d0c-5d0f-4e6b-9c1d-0f5a3c7b2e10'\nENGINE = Atomic\n";

/// Why the engine doesn't serve, or no longer does.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The library can't be loaded.
    #[error(
        "cannot load the ClickHouse engine from {path}: {source}; remove its folder, and it is fetched again"
    )]
    Load {
        /// Where the library was looked for.
        path: PathBuf,
        /// What the dynamic loader says.
        source: libloading::Error,
    },
    /// The data folder can't be prepared.
    #[error(
        "cannot prepare the ClickHouse data folder {path}: {source}; check its permissions and free space"
    )]
    Data {
        /// The file or folder at fault.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A path that C can't take.
    #[error("the ClickHouse data folder's path holds a zero byte ({0}); choose another folder")]
    Path(#[from] NulError),
    /// The engine refused to start, or stopped.
    #[error("ClickHouse stopped with an error: {0}")]
    Engine(String),
    /// The engine came back although standard input is still open. It prints the reason, but doesn't return it.
    #[error("ClickHouse stopped before its standard input ended; its reason is in the lines above")]
    EndedEarly,
}

/// Serves HTTP, and the native protocol if `tcp_port` is given, on 127.0.0.1 until standard input ends.
///
/// `data` may be new or hold what an earlier run left there; two processes can't share it.
pub fn serve(library: &Path, data: &Path, http_port: u16, tcp_port: Option<u16>) -> Result<(), HostError> {
    keep_system_database(data)?;
    let arguments = command_line(data, http_port, tcp_port)?;
    // SAFETY: loading runs the library's initialisers. The caller passes the pinned and checksummed libchdb.so,
    // whose initialisers set up an allocator and statics, and expect nothing from the process that loads them.
    let loaded = unsafe { Library::new(library) };
    let load_error = |source| HostError::Load { path: library.to_path_buf(), source };
    // Never unloaded: the engine leaves threads behind that still run its code.
    let engine = ManuallyDrop::new(loaded.map_err(load_error)?);
    run(&engine, &arguments, load_error)?;
    if standard_input_ended() { Ok(()) } else { Err(HostError::EndedEarly) }
}

/// Calls the engine with a command line; returns when it is done, that is after the end of standard input.
fn run(
    engine: &Library,
    arguments: &[CString],
    load_error: impl Fn(libloading::Error) -> HostError,
) -> Result<(), HostError> {
    // SAFETY: the type is the one that chdb.h of this pinned release declares for the symbol.
    let query = unsafe { engine.get::<QueryCommandLine>(c"chdb_query_cmdline") }.map_err(&load_error)?;
    // SAFETY: as above.
    let result_error = unsafe { engine.get::<ResultError>(c"chdb_result_error") }.map_err(&load_error)?;

    let mut pointers: Vec<*mut c_char> =
        arguments.iter().map(|argument| argument.as_ptr().cast_mut()).collect();
    // main's convention: a null pointer ends the vector, and is not counted.
    let count = pointers.len() as c_int;
    pointers.push(ptr::null_mut());
    // SAFETY: `count` pointers to zero-terminated strings and a final null, as main gets them; `arguments` and
    // `pointers` outlive the call, and the engine only reads the strings.
    let result = unsafe { query(count, pointers.as_mut_ptr()) };
    if result.is_null() {
        return Err(HostError::Engine("no result".to_owned()));
    }
    // SAFETY: `result` is the non-null result of the call above and was not destroyed (the process ends soon).
    let error = unsafe { result_error(result) };
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: a non-null error is a zero-terminated string that lives as long as the result.
    let error = unsafe { CStr::from_ptr(error) };
    Err(HostError::Engine(error.to_string_lossy().into_owned()))
}

/// The command line that makes the engine listen, then wait on a query that reads standard input.
fn command_line(data: &Path, http_port: u16, tcp_port: Option<u16>) -> Result<Vec<CString>, HostError> {
    let mut path = b"--path=".to_vec();
    path.extend_from_slice(data.as_os_str().as_encoded_bytes());

    let mut arguments = vec![
        CString::new("clickhouse")?,
        CString::new(path)?,
        CString::new("--listen_host=127.0.0.1")?,
        CString::new(format!("--http_port={http_port}"))?,
        // Errors go to standard error; warnings would tell of every pause of a background pool.
        CString::new("--logger.console=1")?,
        CString::new("--log-level=error")?,
    ];
    let mut query = "SYSTEM START LISTEN HTTP; ".to_owned();
    if let Some(port) = tcp_port {
        arguments.push(CString::new(format!("--tcp_port={port}"))?);
        query.push_str("SYSTEM START LISTEN TCP; ");
    }
    query.push_str(
        "SELECT count() FROM file('-', 'LineAsString', 'l String') FORMAT Null SETTINGS max_execution_time=0",
    );
    arguments.push(CString::new("--query")?);
    arguments.push(CString::new(query)?);
    Ok(arguments)
}

/// See [`SYSTEM_DATABASE`].
fn keep_system_database(data: &Path) -> Result<(), HostError> {
    let folder = data.join("metadata");
    let file = folder.join("system.sql");
    if file.exists() {
        return Ok(());
    }
    fs::create_dir_all(&folder).map_err(|source| HostError::Data { path: folder, source })?;
    fs::write(&file, SYSTEM_DATABASE).map_err(|source| HostError::Data { path: file, source })
}

/// Whether standard input is at its end, without waiting for it.
fn standard_input_ended() -> bool {
    let stdin = io::stdin();
    let mut descriptors = [PollFd::new(&stdin, PollFlags::IN)];
    // The engine read all there was, so whatever makes a read possible now is the end.
    poll(&mut descriptors, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listens_on_the_native_port_only_when_asked() {
        let arguments = |tcp| command_line(Path::new("/data"), 8123, tcp).unwrap();
        let holds =
            |arguments: &[CString], text: &str| arguments.iter().any(|a| a.to_str().unwrap().contains(text));

        assert!(holds(&arguments(None), "--path=/data"));
        assert!(!holds(&arguments(None), "tcp_port"));
        assert!(!holds(&arguments(None), "LISTEN TCP"));
        assert!(holds(&arguments(Some(9000)), "--tcp_port=9000"));
        assert!(holds(&arguments(Some(9000)), "LISTEN TCP"));
    }
}
