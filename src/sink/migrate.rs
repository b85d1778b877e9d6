//! Migrations of ClickHouse: the numbered files of `schemas/clickhouse/`, applied forward only and in order.
//!
//! A file is `NNNN_name.sql`. It holds statements, each closed by a line that ends in `;`, and comments on lines of
//! their own that begin with `--`. A file is recorded once all of it is applied, so after a crash it runs
//! again from its beginning: every statement has to bear that (`IF NOT EXISTS`, `CREATE OR REPLACE VIEW`). A
//! file that was applied never changes; what comes after is a new file. A line `-- include NAME` stands for the lines of
//! `include/NAME.sql`, in what is applied as in its checksum. Of several programs that migrate at once, one does
//! and the others wait for it.

mod describe;
mod lock;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use clickhouse::{Client, Row};
use include_dir::{Dir, include_dir};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::describe::describe;
use self::lock::Lock;
use crate::config::ClickHouseConfig;
use crate::resource::{self, ResourceError};
use crate::store;

static FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/schemas/clickhouse");

static MIGRATIONS: LazyLock<Vec<Migration>> = LazyLock::new(load);

const RECORDS: &str = "\
    CREATE TABLE IF NOT EXISTS migrations (\
        number UInt32 COMMENT 'Number of the file', \
        name String COMMENT 'Name of the file', \
        checksum String COMMENT 'SHA-256 of the file, in hexadecimal', \
        applied_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it was applied'\
    ) ENGINE = ReplacingMergeTree ORDER BY number \
    COMMENT 'Which files of schemas/clickhouse were applied'";

/// A file that [`migrate`] applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Its number.
    pub number: u32,
    /// Its name, with number and ending.
    pub name: &'static str,
    /// How many statements it holds.
    pub statements: usize,
}

/// Why the tables could not be brought up to date. What was applied before stays; running again goes on there.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// What is declared of resources is not sound.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// ClickHouse could not be asked, or refused.
    #[error(
        "can't {what} at {url}: {}; are clickhouse.url, user and password right?",
        store::describe(source)
    )]
    ClickHouse {
        /// What was tried.
        what: String,
        /// Its endpoint.
        url: String,
        /// What went wrong.
        source: clickhouse::error::Error,
    },
    /// A statement was refused.
    #[error("statement {statement} of schemas/clickhouse/{file} failed: {}", store::describe(source))]
    Statement {
        /// The file.
        file: &'static str,
        /// Which of its statements, from 1.
        statement: usize,
        /// What ClickHouse says.
        source: clickhouse::error::Error,
    },
    /// A file is not what was applied.
    #[error(
        "schemas/clickhouse/{file} was applied to database {database} with checksum {applied} and is {found} now: \
         an applied file never changes; restore it and put the change into a new file"
    )]
    Changed {
        /// The file.
        file: &'static str,
        /// The database.
        database: String,
        /// Checksum of what was applied.
        applied: String,
        /// Checksum of the file.
        found: String,
    },
    /// Another one took this one for dead.
    #[error(
        "{holder} was silent for so long that another one migrates database {database} now, \
         before schemas/clickhouse/{file} was applied; run it again"
    )]
    TakenOver {
        /// What took over from here.
        holder: String,
        /// The file that was next.
        file: &'static str,
        /// The database.
        database: String,
    },
    /// There is nothing to describe.
    #[error("database {database} at {url} has no tables; run `tidewatch migrate` first")]
    Empty {
        /// The database.
        database: String,
        /// Its endpoint.
        url: String,
    },
    /// A file is new, but a later one was applied already.
    #[error(
        "schemas/clickhouse/{file} was never applied to database {database}, which is at {newest} already: \
         files are applied in order; give it the next free number"
    )]
    OutOfOrder {
        /// The file.
        file: &'static str,
        /// The database.
        database: String,
        /// The highest number that was applied.
        newest: u32,
    },
}

struct Migration {
    number: u32,
    name: &'static str,
    checksum: String,
    statements: Vec<String>,
}

#[derive(Debug, Row, Serialize, Deserialize)]
struct Record {
    number: u32,
    name: String,
    checksum: String,
}

/// Creates the database if it isn't there and applies what was not applied yet. Returns what it applied.
///
/// # Errors
/// If ClickHouse is away or refuses, or if the files and what was applied disagree ([`MigrateError`]).
pub async fn migrate(config: &ClickHouseConfig) -> Result<Vec<Applied>, MigrateError> {
    resource::all().map_err(Clone::clone)?;
    let failed = |what: &str| {
        let what = format!("{what} of database {}", config.database);
        move |source| MigrateError::ClickHouse { what, url: config.url.clone(), source }
    };
    let create = format!("CREATE DATABASE IF NOT EXISTS `{}`", config.database);
    store::server(config).query_raw(&create).execute().await.map_err(failed("ensure the existence"))?;
    let client = store::client(config);
    client.query_raw(RECORDS).execute().await.map_err(failed("create the table migrations"))?;
    if pending(&MIGRATIONS, &recorded(&client).await.map_err(failed(READ))?, &config.database)?.is_empty() {
        return Ok(Vec::new());
    }
    let lock = Lock::acquire(&client).await.map_err(failed("lock the migration"))?;
    let applied = apply_pending(&client, config, &lock).await;
    let released = lock.release().await.map_err(failed("unlock the migration"));
    // What went wrong first is what is to be told.
    applied.and_then(|applied| released.map(|()| applied))
}

const READ: &str = "read the table migrations";

async fn recorded(client: &Client) -> Result<BTreeMap<u32, String>, clickhouse::error::Error> {
    let records: Vec<Record> = client.query("SELECT ?fields FROM migrations FINAL").fetch_all().await?;
    Ok(records.into_iter().map(|record| (record.number, record.checksum)).collect())
}

async fn apply_pending(
    client: &Client,
    config: &ClickHouseConfig,
    lock: &Lock,
) -> Result<Vec<Applied>, MigrateError> {
    let failed = |what: &str| {
        let what = format!("{what} of database {}", config.database);
        move |source| MigrateError::ClickHouse { what, url: config.url.clone(), source }
    };
    // What was pending before may have been applied by the one that held the lock.
    let checksums = recorded(client).await.map_err(failed(READ))?;
    let mut applied = Vec::new();
    for migration in pending(&MIGRATIONS, &checksums, &config.database)? {
        if !lock.is_held().await.map_err(failed("look at the lock of the migration"))? {
            let (holder, file) = (lock.holder().to_owned(), migration.name);
            return Err(MigrateError::TakenOver { holder, file, database: config.database.clone() });
        }
        apply(client, migration).await?;
        record(client, migration).await.map_err(failed("write the table migrations"))?;
        tracing::info!(file = migration.name, database = config.database, "migration applied");
        applied.push(Applied {
            number: migration.number,
            name: migration.name,
            statements: migration.statements.len(),
        });
    }
    Ok(applied)
}

/// What is still to be applied. A number that is recorded but not known here is a newer program's.
fn pending<'a>(
    migrations: &'a [Migration],
    applied: &BTreeMap<u32, String>,
    database: &str,
) -> Result<Vec<&'a Migration>, MigrateError> {
    let newest = applied.last_key_value().map(|(number, _)| *number);
    let mut pending = Vec::new();
    for migration in migrations {
        let file = migration.name;
        match (applied.get(&migration.number), newest) {
            (Some(checksum), _) if *checksum == migration.checksum => {}
            (Some(checksum), _) => {
                return Err(MigrateError::Changed {
                    file,
                    database: database.to_owned(),
                    applied: checksum.clone(),
                    found: migration.checksum.clone(),
                });
            }
            (None, Some(newest)) if migration.number < newest => {
                return Err(MigrateError::OutOfOrder { file, database: database.to_owned(), newest });
            }
            (None, _) => pending.push(migration),
        }
    }
    Ok(pending)
}

async fn apply(client: &Client, migration: &Migration) -> Result<(), MigrateError> {
    for (index, statement) in migration.statements.iter().enumerate() {
        client.query_raw(statement).execute().await.map_err(|source| MigrateError::Statement {
            file: migration.name,
            statement: index + 1,
            source,
        })?;
    }
    Ok(())
}

async fn record(client: &Client, migration: &Migration) -> Result<(), clickhouse::error::Error> {
    let mut insert = client.insert::<Record>("migrations").await?;
    insert
        .write(&Record {
            number: migration.number,
            name: migration.name.to_owned(),
            checksum: migration.checksum.clone(),
        })
        .await?;
    insert.end().await
}

/// The files are part of the program: a fault in them is a fault of the build, and the test
/// `every_migration_loads` shows it.
fn load() -> Vec<Migration> {
    let mut migrations: Vec<Migration> = FILES
        .files()
        .map(|file| {
            let name = file.path().to_str().unwrap_or_default();
            let number = name
                .strip_suffix(".sql")
                .and_then(|stem| stem.split_once('_'))
                .and_then(|(number, _)| number.parse().ok())
                .unwrap_or_else(|| panic!("schemas/clickhouse/{name}: expected a name like 0007_what.sql"));
            let text = file.contents_utf8().unwrap_or_else(|| panic!("schemas/clickhouse/{name}: not UTF-8"));
            let text = expanded(text).unwrap_or_else(|error| panic!("schemas/clickhouse/{name}: {error}"));
            Migration { number, name, checksum: checksum(&text), statements: statements(&text) }
        })
        .collect();
    migrations.sort_by_key(|migration| migration.number);
    for pair in migrations.windows(2) {
        let [first, second] = [pair[0].name, pair[1].name];
        assert!(
            pair[0].number < pair[1].number,
            "schemas/clickhouse: {first} and {second} have the same number"
        );
    }
    migrations
}

/// The text of a file with what it includes.
fn expanded(text: &str) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        match line.strip_prefix("-- include ") {
            None => expanded.push_str(line),
            Some(name) => {
                let path = format!("include/{}.sql", name.trim_end());
                let included = FILES.get_file(&path).and_then(|file| file.contents_utf8());
                // What is included may include in turn; no file includes itself.
                expanded.push_str(&self::expanded(included.ok_or_else(|| format!("there is no {path}"))?)?);
            }
        }
    }
    Ok(expanded)
}

fn checksum(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The statements of a file, without the comments that have a line of their own.
fn statements(text: &str) -> Vec<String> {
    let mut statements = Vec::new();
    let mut statement = String::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("--")) {
        match line.trim_end().strip_suffix(';') {
            Some(last) => {
                statement.push_str(last);
                statements.push(std::mem::take(&mut statement));
            }
            None => {
                statement.push_str(line);
                statement.push('\n');
            }
        }
    }
    statements.push(statement);
    statements.retain(|statement| !statement.trim().is_empty());
    statements
}

#[cfg(test)]
mod tests;
