//! Fetches packages into the cache, once: into a scratch folder, verified, then renamed into place.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::Error;
use crate::cache::Cache;
use crate::checksums::Checksums;
use crate::progress::{Meter, Progress};

const METER_INTERVAL: Duration = Duration::from_millis(200);

/// Pinned files of one part.
pub struct Package {
    /// What people call it.
    pub name: &'static str,
    /// Its folder in the cache.
    pub folder: &'static str,
    /// The list of its files, as `sha256sum` prints it.
    pub checksums: &'static str,
    /// About how many bytes the scratch folder holds at the end: what progress is measured against.
    pub scratch_bytes: u64,
    /// Fetches with the scratch folder (first) as working folder; puts the files, and only them, into the second.
    pub download: fn(&Path, &Path) -> Result<(), Error>,
}

impl Package {
    /// Where the files are, or will be.
    pub fn home(&self, cache: &Cache) -> PathBuf {
        cache.path().join(self.folder)
    }

    /// The list of checksums.
    pub fn checksums(&self) -> Checksums<'static> {
        // The list is a constant, and a unit test parses each.
        Checksums::parse(self.checksums).expect("the list is valid")
    }

    /// Whether the cache has the files; the rename at the end of a fetch makes their names proof enough.
    pub fn is_cached(&self, cache: &Cache) -> bool {
        self.checksums().present(&self.home(cache))
    }

    /// Returns the folder of the files; fetches them if they aren't cached. Needs no network and no tool if they are.
    pub(crate) fn fetch(&self, cache: &Cache, progress: &Progress) -> Result<PathBuf, Error> {
        let home = self.home(cache);
        if self.is_cached(cache) {
            return Ok(home);
        }
        let _lock = self.lock(cache, progress)?;
        // Another process may have fetched it while this one waited.
        if self.is_cached(cache) {
            return Ok(home);
        }
        let scratch = cache.path().join(format!("{}.partial", self.folder));
        // Under the lock, so whatever is there belongs to an interrupted fetch.
        remove(&scratch)?;
        remove(&home)?;
        let outcome = self.fetch_into(&scratch, &home, progress);
        let removed = remove(&scratch);
        outcome.and(removed)?;
        Ok(home)
    }

    fn fetch_into(&self, scratch: &Path, home: &Path, progress: &Progress) -> Result<(), Error> {
        let files = scratch.join("files");
        fs::create_dir_all(&files).map_err(Error::file("create", &files))?;
        let meter = progress.meter(self.name, self.scratch_bytes);
        metered(&meter, scratch, || (self.download)(scratch, &files))?;
        self.checksums().verify(&files)?;
        fs::rename(&files, home).map_err(Error::file("rename the fetched files to", home))?;
        meter.finish();
        Ok(())
    }

    fn lock(&self, cache: &Cache, progress: &Progress) -> Result<File, Error> {
        fs::create_dir_all(cache.path()).map_err(Error::file("create", cache.path()))?;
        let path = cache.path().join(format!("{}.lock", self.folder));
        let file = File::create(&path).map_err(Error::file("create", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                progress.say(&format!("another process is fetching {}: waiting for it", self.name));
                file.lock().map_err(Error::file("lock", &path))?;
            }
            Err(TryLockError::Error(source)) => return Err(Error::file("lock", &path)(source)),
        }
        Ok(file)
    }
}

/// Does the work while the meter follows the size of the folder.
fn metered<T>(meter: &Meter, folder: &Path, work: impl FnOnce() -> T) -> T {
    thread::scope(|scope| {
        let (done, ended) = mpsc::channel::<()>();
        scope.spawn(move || {
            while ended.recv_timeout(METER_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                meter.set(size(folder));
            }
        });
        let outcome = work();
        drop(done);
        outcome
    })
}

/// The bytes of a folder's files. Files come and go meanwhile, so what can't be read counts as nothing.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

fn remove(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::file("remove", folder)(error))
        }
        _ => Ok(()),
    }
}
