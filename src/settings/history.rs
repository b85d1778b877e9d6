//! All changes of settings, in the order of the log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::document::{Document, Json, Problem, SettingsKind, merged};
use crate::engine::{FamilySettings, Millis, TenantSettings};

/// A record of the topic `settings`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsChange {
    /// The family whose operators it is for.
    pub family: String,
    /// The tenant; none: all that have no settings of their own.
    pub tenant: Option<String>,
    /// The version of this family and tenant that it replaces, 0 for none: another one in force makes it void.
    pub base: Option<i64>,
    /// All that is set, as a JSON object: what is not named is inherited.
    pub document: String,
}

/// A change that took effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its offset.
    pub version: i64,
    /// When it was appended.
    pub at: Millis,
    /// The family.
    pub family: String,
    /// The tenant; none where it holds for all tenants.
    pub tenant: Option<String>,
    /// The document that was set.
    pub document: Json,
}

/// What has been set, in versions.
#[derive(Debug, Default)]
pub struct History {
    entries: Vec<Entry>,
}

impl History {
    /// Takes in the next change. `false`: it is void.
    pub fn add(&mut self, version: i64, at: Millis, change: SettingsChange) -> bool {
        let SettingsChange { family, tenant, base, document } = change;
        let replaced = self.entry(&family, tenant.as_deref(), i64::MAX).map_or(0, |entry| entry.version);
        // What no API lets in may still be appended by hand.
        let Ok(document) = serde_json::from_str(&document) else { return false };
        if base.is_some_and(|base| base != replaced) {
            return false;
        }
        self.entries.push(Entry { version, at, family, tenant, document });
        true
    }

    /// All versions of a family and tenant, from the first on.
    pub fn entries(&self, family: &str, tenant: Option<&str>) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.family == family && entry.tenant.as_deref() == tenant)
    }

    /// What is set for exactly this family and tenant, up to a version.
    pub fn entry(&self, family: &str, tenant: Option<&str>, version: i64) -> Option<&Entry> {
        self.entries(family, tenant).rfind(|entry| entry.version <= version)
    }

    /// What holds for a tenant under a version, with all that is inherited.
    pub fn effective(&self, family: &SettingsKind, tenant: Option<&str>, version: i64) -> Json {
        let defaults = (family.defaults)();
        let set = self.layers(family.name, tenant, version);
        merged(&std::iter::once(&defaults).chain(set).collect::<Vec<_>>())
    }

    /// The same, were a document set for a tenant, or for all.
    pub fn with(&self, family: &SettingsKind, tenant: Option<&str>, document: &Json) -> Self {
        let mut entries = self.entries.clone();
        entries.push(Entry {
            version: entries.last().map_or(0, |entry| entry.version) + 1,
            at: 0,
            family: family.name.to_owned(),
            tenant: tenant.map(str::to_owned),
            document: document.clone(),
        });
        Self { entries }
    }

    /// Whether a document could be set.
    pub fn check(&self, family: &SettingsKind, tenant: Option<&str>, document: &Json) -> Result<(), Problem> {
        let common = tenant.and_then(|_| self.entry(family.name, None, i64::MAX));
        let layers: Vec<&Json> = common.map(|entry| &entry.document).into_iter().chain([document]).collect();
        (family.check)(&layers)
    }

    /// The versions that change anything for a family.
    pub fn versions(&self, family: &str) -> impl DoubleEndedIterator<Item = i64> {
        self.entries.iter().filter(move |entry| entry.family == family).map(|entry| entry.version)
    }

    /// The newest version that changes anything for a family.
    pub fn newest(&self, family: &str) -> i64 {
        self.versions(family).next_back().unwrap_or(0)
    }

    /// The settings of a family under a version; of what can be set, the part by which an operator goes.
    pub fn family<D, S>(&self, version: i64) -> Result<FamilySettings<S>, Problem>
    where
        D: Document<Operator: Into<S>>,
    {
        let part = |whole: TenantSettings<D::Operator>| TenantSettings {
            allowance: whole.allowance,
            operator: whole.operator.into(),
        };
        let read =
            |tenant| D::read(&self.layers(D::FAMILY, tenant, version)).map(|read| part(read.settings()));
        let known = self.entries.iter().filter(|entry| entry.family == D::FAMILY && entry.version <= version);
        let names = known.filter_map(|entry| entry.tenant.as_deref());
        let tenants: Result<BTreeMap<_, _>, Problem> =
            names.map(|name| Ok((name.to_owned(), read(Some(name))?))).collect();
        Ok(FamilySettings {
            version,
            duplicate_horizon: D::DUPLICATE_HORIZON,
            defaults: read(None)?,
            tenants: tenants?,
        })
    }

    /// What is set for all, and on top what is set for the tenant.
    fn layers(&self, family: &str, tenant: Option<&str>, version: i64) -> Vec<&Json> {
        let common = self.entry(family, None, version);
        let own = tenant.and_then(|_| self.entry(family, tenant, version));
        common.into_iter().chain(own).map(|entry| &entry.document).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::families::civic::settings::CivicSettings;

    fn change(tenant: Option<&str>, base: Option<i64>, document: &serde_json::Value) -> SettingsChange {
        let tenant = tenant.map(str::to_owned);
        SettingsChange { family: "civic".to_owned(), tenant, base, document: document.to_string() }
    }

    fn object(value: &serde_json::Value) -> Json {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn i4_what_a_tenant_sets_lies_over_what_is_set_for_all() {
        let mut history = History::default();
        assert!(history.add(0, 0, change(None, None, &object(&json!({})).into())));
        assert!(history.add(3, 0, change(None, None, &json!({"default_due": "2h", "grace": "1d"}))));
        assert!(history.add(5, 0, change(Some("a"), None, &json!({"grace": "2d"}))));
        let effective = |tenant, version| {
            let json = history.effective(&crate::families::SETTINGS[0], tenant, version);
            ["default_due", "grace"].map(|name| json[name].as_str().unwrap().to_owned()).join(" ")
        };
        assert_eq!(effective(Some("a"), 2), "3d 30d");
        assert_eq!(effective(Some("a"), 4), "2h 1d");
        assert_eq!(effective(Some("a"), 5), "2h 2d");
        assert_eq!(effective(Some("b"), 5), "2h 1d");
        let family = history.family::<CivicSettings, <CivicSettings as Document>::Operator>(5).unwrap();
        assert_eq!((family.version, family.tenants.len()), (5, 1));
        assert_eq!(family.of("a/x").operator.grace, 2 * 86_400_000);
        assert_eq!(family.of("b/x").operator.grace, 86_400_000);
        assert_eq!(history.newest("civic"), 5);
    }

    #[test]
    fn i4_a_change_of_a_version_that_is_not_in_force_is_void() {
        let mut history = History::default();
        assert!(history.add(0, 0, change(Some("a"), Some(0), &json!({}))));
        assert!(history.add(1, 0, change(Some("a"), Some(0), &json!({}))));
        assert!(!history.add(2, 0, change(Some("a"), Some(0), &json!({"grace": "1d"}))));
        assert!(history.add(3, 0, change(Some("b"), Some(0), &json!({}))), "another tenant's are its own");
        assert!(history.add(4, 0, change(Some("a"), Some(1), &json!({}))));
        assert!(!history.add(
            5,
            0,
            SettingsChange { document: "[]".into(), ..change(Some("a"), None, &json!({})) }
        ));
        assert_eq!(
            history.entries("civic", Some("a")).map(|entry| entry.version).collect::<Vec<_>>(),
            [0, 1, 4]
        );
    }

    #[test]
    fn what_can_not_be_read_is_named() {
        let history = History::default();
        for (document, path) in [
            (json!({"graze": "1d"}), "graze"),
            (json!({"grace": "1w"}), "grace"),
            (json!({"default_due": "1ms"}), "default_due"),
            (json!({"allowance": null}), "allowance"),
        ] {
            let problem =
                history.check(&crate::families::SETTINGS[0], Some("a"), &object(&document)).unwrap_err();
            assert!(problem.to_string().contains(path), "{document}: {problem}");
        }
    }

    proptest! {
        /// Of changes that name what they replace, each accepted one replaces the one accepted before it.
        #[test]
        fn i4_no_update_is_lost(bases in proptest::collection::vec(0_i64..30, 1..60)) {
            let mut history = History::default();
            let mut last = 0;
            for (version, base) in (1..).zip(bases) {
                let is_accepted = history.add(version, 0, change(Some("a"), Some(base), &json!({})));
                prop_assert_eq!(is_accepted, base == last);
                if is_accepted {
                    last = version;
                }
            }
        }
    }
}
