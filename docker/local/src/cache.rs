//! Where downloads and temporary data live.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Error;

/// The cache folder: `$TIDEWATCH_CACHE`, else `$XDG_CACHE_HOME/tidewatch`, else `~/.cache/tidewatch`.
#[derive(Debug, Clone)]
pub struct Cache(PathBuf);

impl Cache {
    /// Finds the folder, without creating it.
    pub fn locate() -> Result<Self, Error> {
        let variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        variable("TIDEWATCH_CACHE")
            .or_else(|| variable("XDG_CACHE_HOME").map(|folder| folder.join("tidewatch")))
            .or_else(|| variable("HOME").map(|folder| folder.join(".cache/tidewatch")))
            // Children have other working folders.
            .and_then(|folder| std::path::absolute(folder).ok())
            .map(Self)
            .ok_or(Error::NoCache)
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Temporary data folders of running stacks.
    pub fn runs(&self) -> PathBuf {
        self.0.join("run")
    }

    /// The nearest folder above or at the cache that exists: what free space is asked of.
    pub fn nearest_existing(&self) -> &Path {
        self.0.ancestors().find(|folder| fs::exists(folder).unwrap_or(false)).unwrap_or(Path::new("/"))
    }
}
