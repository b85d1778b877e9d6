//! The settings that a fold is under (I4): of each tenant, in versions that marks bring into force.

use std::collections::BTreeMap;

use super::key_cell::tenant_of;
use crate::engine::Millis;

/// A version of a family's settings, the same for every partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FamilySettings<S> {
    /// Offset in the log's `settings` topic. Marks name it, and rows carry it.
    pub version: i64,
    /// How long event ids are remembered, in append time; so long also a key is, with how far it has dropped, once nothing
    /// else is kept under it. A key that has been silent for longer begins anew. It is the same in all versions: what has
    /// been forgotten does not come back.
    pub duplicate_horizon: Millis,
    /// Settings of tenants that have none of their own.
    pub defaults: TenantSettings<S>,
    /// Settings of single tenants.
    pub tenants: BTreeMap<String, TenantSettings<S>>,
}

/// The settings of one tenant.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct TenantSettings<S> {
    /// Disorder allowance D (I3); 0 declares ordered input.
    pub allowance: Millis,
    /// The operator's.
    pub operator: S,
}

impl<S: Default> FamilySettings<S> {
    /// Version 0, with the operator's own defaults.
    pub fn new(allowance: Millis, duplicate_horizon: Millis) -> Self {
        let defaults = TenantSettings { allowance, operator: S::default() };
        Self { version: 0, duplicate_horizon, defaults, tenants: BTreeMap::new() }
    }
}

impl<S: Default> Default for FamilySettings<S> {
    /// Version 0: ordered input, and a day of memory.
    fn default() -> Self {
        Self::new(0, 24 * 3_600_000)
    }
}

impl<S> FamilySettings<S> {
    /// The settings of a key, by its tenant.
    pub fn of(&self, key: &str) -> &TenantSettings<S> {
        if self.tenants.is_empty() {
            return &self.defaults;
        }
        self.tenants.get(tenant_of(key)).unwrap_or(&self.defaults)
    }
}
