//! What a rebuild knows of a table and does with it as a whole.

use clickhouse::{Client, Row};
use serde::Deserialize;
use uuid::Uuid;

use super::RebuildError;
use super::mark::Mark;

/// A table, as ClickHouse describes it.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// Its name.
    pub name: String,
    /// What rows are sorted by, and named by: expressions, with commas between them.
    pub sorting_key: String,
    /// The column that orders the versions of a row.
    pub version: Option<String>,
    /// The column that says that a row no longer holds, where there is one.
    pub retracted: Option<String>,
    /// When a row may be removed: an expression.
    pub expiry: Option<String>,
    /// What it says of itself, without a mark.
    pub comment: String,
    /// What a swap has left to do.
    pub mark: Option<Mark>,
}

#[derive(Debug, Row, Deserialize)]
struct Description {
    engine: String,
    engine_full: String,
    sorting_key: String,
    comment: String,
}

/// The tables of one database.
#[derive(Clone)]
pub(super) struct Tables {
    pub client: Client,
    pub database: String,
}

impl Tables {
    /// The table of that name.
    pub async fn describe(&self, name: &str) -> Result<Table, RebuildError> {
        let query =
            "SELECT ?fields FROM system.tables WHERE database = {database:String} AND name = {name:String}";
        let query = self.client.query(query).param("database", &self.database).param("name", name);
        let found: Option<Description> = query
            .fetch_optional()
            .await
            .map_err(|source| refused(format!("describe table {name}"), source))?;
        let Some(Description { engine, engine_full, sorting_key, comment }) = found else {
            return Err(RebuildError::NoTable { table: name.to_owned(), database: self.database.clone() });
        };
        if !engine.ends_with("ReplacingMergeTree") {
            return Err(RebuildError::Engine { table: name.to_owned(), engine });
        }
        let mut columns = version_columns(&engine_full).into_iter();
        let (comment, mark) = Mark::split(&comment);
        Ok(Table {
            name: name.to_owned(),
            sorting_key,
            version: columns.next(),
            retracted: columns.next(),
            expiry: expiry(&engine_full),
            comment: comment.to_owned(),
            mark,
        })
    }

    /// What other runs have left of that table: it is of runs that were killed, or its run ends by it.
    pub async fn leftovers(&self, name: &str) -> Result<Vec<String>, RebuildError> {
        let query = "SELECT name FROM system.tables WHERE database = {database:String} AND startsWith(name, {prefix:String})";
        let query = self.client.query(query).param("database", &self.database).param("prefix", prefix(name));
        query
            .fetch_all()
            .await
            .map_err(|source| refused(format!("look for what was left of table {name}"), source))
    }

    /// An empty table like this one, of a name that no other run has.
    pub async fn create_like(&self, table: &Table) -> Result<String, RebuildError> {
        let shadow = format!("{}{:08x}", prefix(&table.name), Uuid::now_v7().as_u128() as u32);
        self.execute(&format!("CREATE TABLE `{shadow}` AS `{}`", table.name), &shadow).await?;
        Ok(shadow)
    }

    /// That both have the same columns: a migration may have changed the live one since the other was made like it.
    pub async fn check_alike(&self, table: &str, shadow: &str) -> Result<(), RebuildError> {
        let query = "SELECT count() FROM (SELECT name, type, default_expression FROM system.columns \
             WHERE database = {database:String} AND table IN ({table:String}, {shadow:String}) \
             GROUP BY ALL HAVING count() != 2)";
        let query = self.client.query(query).param("database", &self.database);
        let query = query.param("table", table).param("shadow", shadow);
        let unlike: u64 = query
            .fetch_one()
            .await
            .map_err(|source| refused(format!("compare the columns of {table} and {shadow}"), source))?;
        if unlike > 0 {
            return Err(RebuildError::Migrated { table: table.to_owned() });
        }
        Ok(())
    }

    /// Each takes the other's name, at once.
    pub async fn exchange(&self, table: &str, shadow: &str) -> Result<(), RebuildError> {
        self.execute(&format!("EXCHANGE TABLES `{table}` AND `{shadow}`"), shadow).await
    }

    /// Writes down what a swap has left to do, or that it has nothing left.
    pub async fn comment(&self, name: &str, comment: &str, mark: Option<&Mark>) -> Result<(), RebuildError> {
        let text = mark.map_or_else(|| comment.to_owned(), |mark| mark.append_to(comment));
        let text = text.replace('\\', "\\\\").replace('\'', "\\'");
        self.execute(&format!("ALTER TABLE `{name}` MODIFY COMMENT '{text}'"), name).await
    }

    /// Removes a table, if it is still there.
    pub async fn drop(&self, name: &str) -> Result<(), RebuildError> {
        // SYNC: its data are gone when this returns. The rest lifts a bound for large tables, which this one may be.
        let statement = format!("DROP TABLE IF EXISTS `{name}` SYNC SETTINGS max_table_size_to_drop = 0");
        self.execute(&statement, name).await
    }

    async fn execute(&self, statement: &str, shadow: &str) -> Result<(), RebuildError> {
        let done = self.client.query_raw(statement).execute().await;
        done.map_err(|source| RebuildError::of_shadow(shadow, format!("do `{statement}`"), source))
    }
}

pub(super) fn refused(what: String, source: clickhouse::error::Error) -> RebuildError {
    RebuildError::ClickHouse { what, source }
}

fn prefix(table: &str) -> String {
    format!("{table}_rebuild_")
}

/// The names among the arguments of the engine: `ReplicatedReplacingMergeTree('/path', '{replica}', version, retracted)`.
fn version_columns(engine: &str) -> Vec<String> {
    let head = engine.split(" ORDER BY ").next().unwrap_or_default();
    let head = head.split(" PARTITION BY ").next().unwrap_or_default();
    let arguments = head.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or_default();
    let arguments = arguments.split(',').map(|argument| argument.trim().trim_matches('`'));
    arguments
        .filter(|argument| !argument.is_empty() && !argument.starts_with('\''))
        .map(str::to_owned)
        .collect()
}

/// From when on a merge may remove a row: the expression of the table's TTL. Where rows of some kind only are removed, or
/// moved elsewhere, the expression stands for all of them: more is left out of the comparison than need be, never less.
fn expiry(engine: &str) -> Option<String> {
    let (_, rest) = engine.split_once(" TTL ")?;
    let rest = rest.split(" SETTINGS ").next()?;
    let ends = [" DELETE", " WHERE ", " TO DISK ", " TO VOLUME ", " RECOMPRESS ", " GROUP BY "];
    let mut expressions = Vec::new();
    for rule in rules(rest) {
        let end = ends.iter().filter_map(|end| rule.find(end)).min().unwrap_or(rule.len());
        expressions.push(rule[..end].trim());
    }
    match expressions.as_slice() {
        [] => None,
        [one] => Some((*one).to_owned()),
        several => Some(format!("least({})", several.join(", "))),
    }
}

/// Splits at the commas that are in no parentheses.
fn rules(text: &str) -> Vec<&str> {
    let (mut depth, mut start) = (0, 0);
    let mut rules = Vec::new();
    for (place, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                rules.push(&text[start..place]);
                start = place + 1;
            }
            _ => {}
        }
    }
    rules.push(&text[start..]);
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_names_its_columns() {
        let columns = |engine| version_columns(engine).join(" ");
        assert_eq!(
            columns("ReplacingMergeTree(version, retracted) PARTITION BY f(a) ORDER BY (a, b)"),
            "version retracted"
        );
        assert_eq!(columns("ReplacingMergeTree PARTITION BY toYYYYMM(a) ORDER BY (a, b)"), "");
        assert_eq!(columns("ReplacingMergeTree(`v`) ORDER BY a"), "v");
        assert_eq!(columns("ReplicatedReplacingMergeTree('/a/{uuid}', '{replica}', v) ORDER BY a"), "v");
    }

    #[test]
    fn a_ttl_says_when_a_row_may_go() {
        let of = |ttl: &str| {
            expiry(&format!("ReplacingMergeTree ORDER BY a{ttl} SETTINGS index_granularity = 8192"))
        };
        assert_eq!(of(""), None);
        assert_eq!(
            of(" TTL toDateTime(at) + toIntervalDay(90)").unwrap(),
            "toDateTime(at) + toIntervalDay(90)"
        );
        assert_eq!(of(" TTL at + toIntervalDay(9) DELETE WHERE f(x) = 0").unwrap(), "at + toIntervalDay(9)");
        let two = " TTL f(at, 1) + toIntervalDay(9) TO VOLUME 'cold', at + toIntervalYear(1)";
        assert_eq!(of(two).unwrap(), "least(f(at, 1) + toIntervalDay(9), at + toIntervalYear(1))");
    }
}
