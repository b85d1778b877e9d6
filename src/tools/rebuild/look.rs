//! One look at a table and its shadow, row by row, in ClickHouse itself.
//!
//! What a reader sees is compared under FINAL, by the sorting key and a hash of all columns that come from the log. FINAL
//! hides rows that are retracted; they matter all the same, for they keep older versions dead (I6), so the last version of
//! each such row is looked up beside it and takes part as any other. A row that holds on one side and is retracted on
//! the other differs by that. Older versions do not take part: a merge may have removed them.
//!
//! A look goes over one partition of the table after the other: versions of a row never lie in two. What a partition needs
//! beyond a bound goes to ClickHouse's disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use clickhouse::{Client, Row};
use serde::Deserialize;

use super::RebuildError;
use super::report::{Column, Example, Kind};
use super::table::{Table, refused};

/// Memory of a comparison, in bytes, from which on ClickHouse goes on with its disk.
const SPILL: &str = "1073741824";
/// Characters of a value that an example shows.
const SHOWN: usize = 60;

/// The hash of a row on either side; 0 where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    /// Of the live table.
    pub table: u128,
    /// Of what was replayed.
    pub log: u128,
}

impl Pair {
    pub fn kind(self) -> Kind {
        match self {
            Self { table: 0, .. } => Kind::Missing,
            Self { log: 0, .. } => Kind::Extra,
            _ => Kind::Changed,
        }
    }
}

/// The rows that differ, by the hash of their key.
pub(super) type Differing = BTreeMap<u128, Pair>;

/// What a look at one partition has found.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Rows on either side or both, without those behind their TTL.
    pub rows: u64,
    /// Of them, retracted on either side.
    pub retracted: u64,
    /// Rows behind their TTL.
    pub expired: u64,
    /// Of the rows, those that differ.
    pub differing: Differing,
}

#[derive(Debug, Row, Deserialize)]
struct Counted {
    rows: u64,
    retracted: u64,
    expired: u64,
    /// Of each row: the hash of its key, and those of its values in the table and by the log.
    differing: Vec<(u128, u128, u128)>,
}

#[derive(Debug, Row, Deserialize)]
struct Described {
    /// The hash of its key.
    row: u128,
    /// Its key.
    name: String,
    /// The columns that differ, with their values in the table and by the log.
    columns: Vec<(String, String, String)>,
}

/// Compares a table with its shadow.
pub(super) struct Comparison {
    client: Client,
    database: String,
    table: Table,
    shadow: String,
    columns: Vec<String>,
    /// Whether a row is behind its TTL: an expression.
    expired: String,
}

impl Comparison {
    /// Of `table` with `shadow`, in the `columns` that come from the log.
    pub async fn new(
        client: &Client,
        database: &str,
        table: &Table,
        shadow: &str,
        columns: Vec<String>,
    ) -> Result<Self, RebuildError> {
        // One bound for all looks; a day, so that what expires meanwhile lies behind it, too.
        let bound =
            client.query("SELECT toInt64(toUnixTimestamp(now() + INTERVAL 1 DAY))").fetch_one::<i64>();
        let bound =
            bound.await.map_err(|source| refused("ask ClickHouse for its time".to_owned(), source))?;
        let expired = match &table.expiry {
            Some(expiry) => format!("toUInt8(({expiry}) <= toDateTime({bound}))"),
            None => "0::UInt8".to_owned(),
        };
        let client = client.clone().with_setting("max_bytes_before_external_group_by", SPILL);
        let (database, table, shadow) = (database.to_owned(), table.clone(), shadow.to_owned());
        Ok(Self { client, database, table, shadow, columns, expired })
    }

    /// The partitions of both.
    pub async fn partitions(&self) -> Result<BTreeSet<String>, RebuildError> {
        let query = "SELECT DISTINCT partition_id FROM system.parts \
             WHERE active AND database = {database:String} AND table IN ({table:String}, {shadow:String})";
        let query = self.client.query(query).param("database", &self.database);
        let query = query.param("table", &self.table.name).param("shadow", &self.shadow);
        let found: Vec<String> = query.fetch_all().await.map_err(|source| self.refused(source))?;
        Ok(found.into_iter().collect())
    }

    /// Looks at a partition.
    pub async fn look(&self, partition: &str) -> Result<Look, RebuildError> {
        let columns = self.columns.iter().map(|column| format!("`{column}`")).collect::<Vec<_>>().join(", ");
        let hash = format!("reinterpretAsUInt128(sipHash128(formatRow('RowBinary', {columns})))");
        let query = format!(
            "SELECT countIf(NOT is_expired) AS rows, countIf(NOT is_expired AND is_retracted) AS retracted, \
                 countIf(is_expired) AS expired, \
                 groupArrayIf((rebuild_key, live, log), NOT is_expired AND live != log) AS differing \
             FROM (SELECT rebuild_key, sumIf(rebuild_value, rebuild_live) AS live, sumIf(rebuild_value, NOT rebuild_live) AS log, \
                 max(rebuild_expired) AS is_expired, max(rebuild_retracted) AS is_retracted \
                 FROM ({}) GROUP BY rebuild_key)",
            self.rows(&hash, "1"),
        );
        let query = self.client.query(&query).param("rebuild_partition", partition);
        let Counted { rows, retracted, expired, differing } =
            query.fetch_one().await.map_err(|source| self.refused(source))?;
        let differing = differing.into_iter().map(|(key, table, log)| (key, Pair { table, log })).collect();
        Ok(Look { rows, retracted, expired, differing })
    }

    /// How some rows of a partition differ.
    pub async fn examples(&self, partition: &str, rows: &Differing) -> Result<Vec<Example>, RebuildError> {
        let texts: Vec<_> = self.columns.iter().map(|column| text(column)).collect();
        let names: Vec<_> = self.columns.iter().map(|column| format!("'{column}'")).collect();
        let value = format!("(toString(tuple({})), [{}])", self.table.sorting_key, texts.join(", "));
        let keys: Vec<_> = rows.keys().map(|key| format!("toUInt128('{key}')")).collect();
        let count = names.len();
        // A side that has no row has no values: that is no difference to show.
        let query = format!(
            "SELECT rebuild_key AS row, any(rebuild_value.1) AS name, \
                 arrayMap(x -> (x.1, leftUTF8(x.2, {SHOWN}), leftUTF8(x.3, {SHOWN})), arrayFilter(x -> x.2 != x.3, \
                     arrayZip([{}], arrayResize(anyIf(rebuild_value.2, rebuild_live), {count}), \
                         arrayResize(anyIf(rebuild_value.2, NOT rebuild_live), {count})))) AS columns \
             FROM ({}) GROUP BY rebuild_key ORDER BY rebuild_key",
            names.join(", "),
            self.rows(&value, &format!("{} IN ({})", self.key(), keys.join(", "))),
        );
        let query = self.client.query(&query).param("rebuild_partition", partition);
        let found: Vec<Described> = query.fetch_all().await.map_err(|source| self.refused(source))?;
        let example = |Described { row, name, columns }| {
            let kind = rows.get(&row)?.kind();
            let columns = columns.into_iter().filter(|_| kind == Kind::Changed);
            let columns = columns.map(|(name, table, log)| Column { name, table, log }).collect();
            Some(Example { row: name, kind, columns })
        };
        Ok(found.into_iter().filter_map(example).collect())
    }

    /// The hash of a row's name.
    fn key(&self) -> String {
        format!("reinterpretAsUInt128(sipHash128(formatRow('RowBinary', {})))", self.table.sorting_key)
    }

    /// A query of the rows of a partition on both sides, with a value of each, as far as they meet a condition. A name of its
    /// own each: an alias would win over a column.
    fn rows(&self, value: &str, condition: &str) -> String {
        let (key, sorting_key, expired) = (self.key(), &self.table.sorting_key, &self.expired);
        let mut query = String::new();
        for (table, is_live) in [(&self.table.name, "true"), (&self.shadow, "false")] {
            let union = if query.is_empty() { "" } else { " UNION ALL " };
            // Writing to a string never fails.
            let _ = write!(
                query,
                "{union}SELECT {key} AS rebuild_key, {value} AS rebuild_value, {is_live} AS rebuild_live, \
                     {expired} AS rebuild_expired, 0::UInt8 AS rebuild_retracted \
                 FROM `{table}` FINAL WHERE _partition_id = {{rebuild_partition:String}} AND {condition}"
            );
            let (Some(version), Some(retracted)) = (&self.table.version, &self.table.retracted) else {
                continue;
            };
            let _ = write!(
                query,
                " UNION ALL SELECT {key} AS rebuild_key, argMax({value}, `{version}`) AS rebuild_value, {is_live} AS rebuild_live, \
                     max({expired}) AS rebuild_expired, 1::UInt8 AS rebuild_retracted \
                 FROM `{table}` WHERE _partition_id = {{rebuild_partition:String}} AND {condition} \
                     AND ({sorting_key}) IN (SELECT {sorting_key} FROM `{table}` \
                         WHERE _partition_id = {{rebuild_partition:String}} AND `{retracted}` = 1) \
                 GROUP BY rebuild_key HAVING argMax(`{retracted}`, `{version}`) = 1"
            );
        }
        query
    }

    fn refused(&self, source: clickhouse::error::Error) -> RebuildError {
        let what = format!("compare table {} with what its log gives", self.table.name);
        RebuildError::of_shadow(&self.shadow, what, source)
    }
}

/// The value of a column, for people.
fn text(column: &str) -> String {
    let text = format!("ifNull(toString(`{column}`), 'NULL')");
    format!("if(isValidUTF8({text}), {text}, concat('0x', hex({text})))")
}
