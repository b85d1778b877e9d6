//! The client of ClickHouse, as the roles share it.

use std::error::Error;

use clickhouse::Client;

use crate::config::ClickHouseConfig;

/// A client that reads and writes in the database of `config`.
pub fn client(config: &ClickHouseConfig) -> Client {
    server(config).with_database(&config.database)
}

/// A client that changes nothing. Where an answer is text, its times are RFC 3339 and its numbers numbers.
pub fn reader(config: &ClickHouseConfig) -> Client {
    client(config)
        .with_setting("readonly", "2")
        .with_setting("date_time_output_format", "iso")
        .with_setting("output_format_json_quote_64bit_integers", "0")
}

/// A client that is in no database of ours: for the statement that creates it.
pub fn server(config: &ClickHouseConfig) -> Client {
    Client::default().with_url(&config.url).with_user(&config.user).with_password(config.password.expose())
}

/// Whether ClickHouse was away, rather than refusing: the same request may succeed later.
pub fn is_away(error: &clickhouse::error::Error) -> bool {
    matches!(error, clickhouse::error::Error::Network(_) | clickhouse::error::Error::TimedOut)
}

/// An error with its causes in one line: the client's own message often leaves out what the network said.
pub fn describe(error: &clickhouse::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let inner = error.to_string();
        if !text.contains(&inner) {
            text = format!("{text}: {inner}");
        }
        cause = error.source();
    }
    text
}
