//! The data dictionary: what the tables and their columns mean, as the migrated database itself says it.

use std::fmt::{self, Write};

use clickhouse::{Client, Row};
use serde::Deserialize;

use super::{MigrateError, lock};
use crate::config::ClickHouseConfig;
use crate::store;

const INTRODUCTION: &str = "\
# The tables

What the tables in ClickHouse and their columns mean, as the database says it: `tidewatch migrate --describe` prints this.
Read the views `*_current`. A table itself also holds former versions and repeats, until ClickHouse merges them away.
";
/// What the name of a table's view ends with.
const CURRENT: &str = "_current";

#[derive(Debug, Row, Deserialize)]
struct Table {
    name: String,
    comment: String,
    is_view: bool,
    engine_full: String,
    partition_key: String,
    sorting_key: String,
}

#[derive(Debug, PartialEq, Eq, Row, Deserialize)]
struct Column {
    table: String,
    name: String,
    r#type: String,
    comment: String,
}

/// The dictionary of the database, as Markdown.
///
/// # Errors
/// If ClickHouse is away or refuses, or if the database has no tables.
pub async fn describe(config: &ClickHouseConfig) -> Result<String, MigrateError> {
    let read = read(&store::client(config)).await;
    let (tables, columns) = read.map_err(|source| MigrateError::ClickHouse {
        what: format!("describe the tables of database {}", config.database),
        url: config.url.clone(),
        source,
    })?;
    if tables.is_empty() {
        return Err(MigrateError::Empty { database: config.database.clone(), url: config.url.clone() });
    }
    let mut text = INTRODUCTION.to_owned();
    for table in &tables {
        // A string takes all that is written to it.
        let _ = write_table(&mut text, table, &columns);
    }
    Ok(text)
}

async fn read(client: &Client) -> Result<(Vec<Table>, Vec<Column>), clickhouse::error::Error> {
    let tables = client
        .query(
            "SELECT name, comment, engine = 'View' AS is_view, engine_full, partition_key, sorting_key FROM system.tables \
             WHERE database = currentDatabase() AND NOT startsWith(name, ?) ORDER BY name",
        )
        .bind(lock::TABLE)
        .fetch_all()
        .await?;
    let columns = client
        .query(
            "SELECT table, name, type, comment FROM system.columns WHERE database = currentDatabase() ORDER BY table, position",
        )
        .fetch_all()
        .await?;
    Ok((tables, columns))
}

fn write_table(text: &mut String, table: &Table, columns: &[Column]) -> fmt::Result {
    let of = |name| columns_of(columns, name);
    write!(text, "\n## {}\n\n{}\n", table.name, table.comment)?;
    let base = table.name.strip_suffix(CURRENT).filter(|_| table.is_view);
    let types = |column: &Column| (column.name.clone(), column.r#type.clone());
    if let Some(base) = base.filter(|base| of(base).map(types).eq(of(&table.name).map(types))) {
        return writeln!(text, "A view; its columns are those of [{base}](#{base}).");
    }
    if !table.is_view {
        write!(text, "\nEngine `{}`", engine(&table.engine_full))?;
        for (what, key) in [("sorted by", &table.sorting_key), ("partitioned by", &table.partition_key)] {
            if !key.is_empty() {
                write!(text, ", {what} `{key}`")?;
            }
        }
        if let Some(ttl) = clause(&table.engine_full, " TTL ") {
            write!(text, ", kept until `{ttl}`")?;
        }
        writeln!(text, ".")?;
    }
    write!(text, "\n| column | type | meaning |\n| --- | --- | --- |\n")?;
    for Column { name, r#type, comment, .. } in of(&table.name) {
        writeln!(text, "| {name} | `{type}` | {} |", comment.replace('|', "\\|"))?;
    }
    Ok(())
}

fn columns_of<'a>(columns: &'a [Column], table: &'a str) -> impl Iterator<Item = &'a Column> {
    columns.iter().filter(move |column| column.table == table)
}

/// The engine and its arguments, without what follows.
fn engine(full: &str) -> &str {
    let end = [" PARTITION BY ", " ORDER BY ", " TTL ", " SETTINGS "]
        .iter()
        .filter_map(|word| full.find(word))
        .min();
    &full[..end.unwrap_or(full.len())]
}

fn clause<'a>(full: &'a str, word: &str) -> Option<&'a str> {
    let (_, rest) = full.split_once(word)?;
    Some(rest.split(" SETTINGS ").next().unwrap_or(rest))
}
