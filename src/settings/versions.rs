//! The versions of a family's settings, as marks name them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::document::Problem;
use super::history::History;
use super::reader::{Reader, SettingsError};
use crate::engine::FamilySettings;
use crate::log::Log;

/// Reads a family's settings under a version.
pub type ReadSettings<S> = fn(&History, i64) -> Result<FamilySettings<S>, Problem>;

/// A family's settings, version by version.
pub struct SettingsVersions<S> {
    family: &'static str,
    read: ReadSettings<S>,
    reader: Reader,
    versions: BTreeMap<i64, Arc<FamilySettings<S>>>,
    /// Versions that can't be followed, which has been said and is not tried again.
    refused: BTreeSet<i64>,
}

impl<S> SettingsVersions<S> {
    /// Reads all that is there.
    pub fn start(log: &Log, family: &'static str, read: ReadSettings<S>) -> Result<Self, SettingsError> {
        Ok(Self {
            family,
            read,
            reader: Reader::start(log)?,
            versions: BTreeMap::new(),
            refused: BTreeSet::new(),
        })
    }

    /// The settings under a version.
    pub fn at(&mut self, version: i64) -> Result<Arc<FamilySettings<S>>, SettingsError> {
        if let Some(settings) = self.versions.get(&version) {
            return Ok(Arc::clone(settings));
        }
        self.reader.reach(version)?;
        let read = (self.read)(self.reader.history(), version);
        let impossible = |problem| SettingsError::Impossible { version, family: self.family, problem };
        let settings = Arc::new(read.map_err(impossible)?);
        self.versions.insert(version, Arc::clone(&settings));
        Ok(settings)
    }

    /// The newest version that changes anything for the family and can be followed, as far as has come: a mark that names
    /// another one would stop every fold of the log.
    pub fn newest(&mut self) -> Result<i64, SettingsError> {
        self.reader.poll()?;
        loop {
            let is_open = |version: &i64| !self.refused.contains(version);
            let newest = self.reader.history().versions(self.family).rfind(is_open);
            let Some(newest) = newest else { return Ok(0) };
            match self.at(newest) {
                Err(error @ SettingsError::Impossible { .. }) => {
                    tracing::error!(%error, "settings are not brought into force");
                    self.refused.insert(newest);
                }
                found => return found.map(|_| newest),
            }
        }
    }
}
