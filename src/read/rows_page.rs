//! A page of a resource's rows: their JSON, written once, and what is needed to bring it up to date.

use std::ops::Range;

use bytes::Bytes;
use uuid::Uuid;

use super::answers::Body;
use super::conditions::Conditions;
use super::live::Live;
use super::rows::Lookup;
use crate::http::{ApiError, Tenant};
use crate::resource::Resource;

/// A page of rows, the newest first.
#[derive(Debug)]
pub struct Page {
    /// What is answered.
    pub body: Body,
    rows: Vec<Shown>,
    next_cursor: Option<String>,
    total: u64,
}

/// A row of a page.
#[derive(Debug)]
struct Shown {
    id: Uuid,
    version: u64,
    /// Where its JSON lies in that of the page.
    place: Range<usize>,
}

impl Page {
    pub(super) fn of_body(body: Body) -> Self {
        Self { body, rows: Vec::new(), next_cursor: None, total: 0 }
    }

    /// What it takes in memory, about.
    pub fn bytes(&self) -> usize {
        self.body.json.len() + self.rows.len() * size_of::<Shown>()
    }

    /// The JSON of each row.
    pub fn rows(&self) -> impl Iterator<Item = &[u8]> {
        self.rows.iter().map(|row| &self.body.json[row.place.clone()])
    }

    /// The page without what this node knows to be outdated: of each row the newest version that it has seen. And whether it
    /// has seen a newer one that it no longer has.
    pub fn with_newer(
        &self,
        resource: &Resource,
        live: &Live,
        tenant: &Tenant,
        conditions: &Conditions,
    ) -> Result<(Option<Self>, bool), ApiError> {
        let (mut is_outdated, mut is_newer) = (false, false);
        let known: Vec<_> = self
            .rows
            .iter()
            .map(|shown| match live.known(resource.topic(), tenant, shown.id) {
                Lookup::Row(row) if row.version > shown.version => {
                    is_newer = true;
                    Some(Some(row))
                }
                Lookup::Retracted => {
                    is_newer = true;
                    Some(None)
                }
                Lookup::AtLeast(version) => {
                    is_outdated |= version > shown.version;
                    None
                }
                _ => None,
            })
            .collect();
        if !is_newer {
            return Ok((None, is_outdated));
        }
        let mut writer = PageWriter::new(resource);
        for (shown, newer) in self.rows.iter().zip(known) {
            let (version, json) = match &newer {
                None => (shown.version, &self.body.json[shown.place.clone()]),
                Some(None) => continue,
                Some(Some(row)) => {
                    let is_left = conditions.is_empty()
                        || conditions.matches(&serde_json::from_str(&row.json).map_err(ApiError::internal)?);
                    if !is_left {
                        continue;
                    }
                    (row.version, row.json.as_bytes())
                }
            };
            let start = writer.begin();
            writer.json.extend_from_slice(json);
            writer.end(start, shown.id, version);
        }
        let gone = (self.rows.len() - writer.rows.len()) as u64;
        let newer = writer.finish(self.next_cursor.clone(), self.total.saturating_sub(gone))?;
        Ok((Some(newer), is_outdated))
    }
}

/// Writes a page row by row.
pub struct PageWriter {
    /// The page so far.
    pub json: Vec<u8>,
    rows: Vec<Shown>,
}

impl PageWriter {
    /// A page without rows.
    pub fn new(resource: &Resource) -> Self {
        Self { json: format!("{{\"{}\":[", resource.member()).into_bytes(), rows: Vec::new() }
    }

    /// How many rows it has.
    pub fn count(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Where the JSON of the next row begins, which is to be appended.
    pub fn begin(&mut self) -> usize {
        if !self.rows.is_empty() {
            self.json.push(b',');
        }
        self.json.len()
    }

    /// The row that began there has been appended.
    pub fn end(&mut self, start: usize, id: Uuid, version: u64) {
        self.rows.push(Shown { id, version, place: start..self.json.len() });
    }

    /// The page, with what is behind it and how many rows all pages have.
    pub fn finish(self, next_cursor: Option<String>, total: u64) -> Result<Page, ApiError> {
        let Self { mut json, rows } = self;
        json.extend_from_slice(b"],\"next_cursor\":");
        serde_json::to_writer(&mut json, &next_cursor).map_err(ApiError::internal)?;
        json.extend_from_slice(format!(",\"total\":{total}}}").as_bytes());
        Ok(Page { body: Body::of_json(Bytes::from(json)), rows, next_cursor, total })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::read::parameters::Parameters;
    use crate::read::rows::Arrival;
    use crate::resource::{self, Row};

    fn incident(id: u128, version: u64, severity: &str) -> Row {
        let id = Uuid::from_u128(id);
        let json = serde_json::json!({ "id": id, "version": version.to_string(), "severity": severity });
        Row { json: json.to_string().into(), id, version, sort: 0 }
    }

    #[test]
    fn a_page_is_no_older_than_what_was_seen() {
        let (tenant, incidents) = (Tenant::new("a"), resource::named("incidents").unwrap());
        let mut writer = PageWriter::new(incidents);
        for id in 0..5 {
            let (row, start) = (incident(id, 5, "high"), writer.begin());
            writer.json.extend_from_slice(row.json.as_bytes());
            writer.end(start, row.id, row.version);
        }
        let page = writer.finish(None, 5).unwrap();
        let mut parameters = Parameters::of(&[("severity", "high")]);
        let conditions = Conditions::take(incidents, &mut parameters).unwrap();
        let learn = |live: &Live| {
            for (id, version, row) in
                [(0, 6, Some("high")), (1, 6, Some("low")), (2, 6, None), (3, 4, Some("high"))]
            {
                let row = row.map(|severity| Arc::new(incident(id, version, severity)));
                let (id, tenant, place) = (Uuid::from_u128(id), tenant.clone(), Some((0, 9)));
                live.learn("incidents", Arrival { id, tenant, version, row, bytes: 100, place });
            }
        };
        let live = Live::new(resource::all().unwrap(), Vec::new(), 1 << 20);
        let with_newer = |live: &Live| page.with_newer(incidents, live, &tenant, &conditions).unwrap();
        assert!(matches!(with_newer(&live), (None, false)));
        learn(&live);
        let (newer, is_outdated) = with_newer(&live);
        let newer = newer.unwrap();
        let versions: Vec<_> = newer.rows.iter().map(|row| row.version).collect();
        assert_eq!((versions, newer.total, is_outdated), (vec![6, 5, 5], 3, false));
        let json: serde_json::Value = serde_json::from_slice(&newer.body.json).unwrap();
        assert_eq!(json["incidents"][0]["version"], "6");
        // It has seen them, and had to let go of them before a table may have had them.
        let live = Live::new(resource::all().unwrap(), Vec::new(), 0);
        learn(&live);
        assert!(matches!(with_newer(&live), (None, true)));
    }
}
