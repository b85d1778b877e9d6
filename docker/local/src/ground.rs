//! The data folder of a running stack: a kept one, or a temporary one that goes with the stack.
//!
//! Its owner holds a lock on a file in it. The kernel releases the lock however the owner ends, so a temporary
//! folder whose lock is free is dead, and the next start sweeps it away.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Error;
use crate::cache::Cache;

const LOCK: &str = "lock";

/// An owned data folder.
#[derive(Debug)]
pub struct Ground {
    path: PathBuf,
    kept: bool,
    // Held, not used.
    _lock: File,
}

impl Ground {
    /// Opens the folder for this process alone, and creates it if need be. It stays when the stack ends.
    pub fn keep(folder: &Path) -> Result<Self, Error> {
        let path = std::path::absolute(folder).map_err(Error::file("find", folder))?;
        fs::create_dir_all(&path).map_err(Error::file("create", &path))?;
        Ok(Self { _lock: own(&path)?, path, kept: true })
    }

    /// Creates a temporary folder, and sweeps away those of dead processes.
    pub fn temporary(cache: &Cache) -> Result<Self, Error> {
        let runs = cache.runs();
        fs::create_dir_all(&runs).map_err(Error::file("create", &runs))?;
        // Nobody sweeps between the creation of a folder and its lock.
        let gate = runs.join(LOCK);
        let gate_file = File::create(&gate).map_err(Error::file("create", &gate))?;
        gate_file.lock().map_err(Error::file("lock", &gate))?;
        sweep(&runs);

        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let path = runs.join(format!("{}-{}", std::process::id(), now.as_nanos()));
        fs::create_dir(&path).map_err(Error::file("create", &path))?;
        Ok(Self { _lock: own(&path)?, path, kept: false })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the data is to stay, so that the parts should end in order.
    pub fn is_kept(&self) -> bool {
        self.kept
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // What can't be removed now, the next start sweeps away.
        if !self.kept {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Locks a data folder, and leaves the process id there for the one who finds it locked.
fn own(folder: &Path) -> Result<File, Error> {
    let path = folder.join(LOCK);
    // Not truncated before it is locked: the id in it may be someone else's.
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let mut file = file.map_err(Error::file("create", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let owner = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
            return Err(Error::DataInUse { path: folder.to_path_buf(), owner });
        }
        Err(TryLockError::Error(source)) => return Err(Error::file("lock", &path)(source)),
    }
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(Error::file("write", &path))?;
    Ok(file)
}

/// Removes the folders whose owners are dead. A folder that can't be read or removed is left to the next sweep.
fn sweep(runs: &Path) {
    for entry in fs::read_dir(runs).into_iter().flatten().flatten() {
        let folder = entry.path();
        if folder.is_dir() && is_dead(&folder) {
            let _ = fs::remove_dir_all(&folder);
        }
    }
}

fn is_dead(folder: &Path) -> bool {
    match File::open(folder.join(LOCK)) {
        Ok(file) => file.try_lock().is_ok(),
        // Its owner died before the lock, or a sweep was interrupted after it removed the lock.
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::tests::TestFolder;

    #[test]
    fn a_sweep_removes_only_the_dead() {
        let folder = TestFolder::new("sweep");
        let runs = folder.path();
        let [alive, dead, lockless] = ["1-1", "2-2", "3-3"].map(|name| runs.join(name));
        for path in [&alive, &dead, &lockless] {
            fs::create_dir(path).unwrap();
            fs::write(path.join("data"), "data").unwrap();
        }
        let lock = own(&alive).unwrap();
        drop(own(&dead).unwrap());

        sweep(runs);
        assert!(alive.exists() && !dead.exists() && !lockless.exists());
        drop(lock);
        sweep(runs);
        assert!(!alive.exists());
    }

    #[test]
    fn a_kept_folder_has_one_owner_and_stays() {
        let folder = TestFolder::new("kept");
        let path = folder.path().join("data");
        let ground = Ground::keep(&path).unwrap();
        let error = Ground::keep(&path).unwrap_err();
        let me = std::process::id().to_string();
        assert!(matches!(error, Error::DataInUse { owner, .. } if owner == me));
        drop(ground);
        assert!(Ground::keep(&path).is_ok());
    }
}
