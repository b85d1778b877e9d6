//! Queries of ClickHouse, each in the name of one tenant.

use std::time::Duration;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use bytes::Bytes;
use clickhouse::error::Error;
use clickhouse::query::Query;
use clickhouse::{Client, RowOwned, RowRead};
use uuid::Uuid;

use crate::config::ClickHouseConfig;
use crate::engine::Millis;
use crate::http::{ApiError, ApiKeys, CanRead, Tenant};
use crate::store;

/// How long a query may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// When a client may ask again after ClickHouse was away.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The client that the read API uses.
pub fn client(config: &ClickHouseConfig) -> Client {
    store::reader(config)
        .with_setting("max_execution_time", TIMEOUT.as_secs().to_string())
        // `toString(id) AS id` is for the answer only: conditions and order mean the column.
        .with_setting("prefer_column_name_to_alias", "1")
}

/// Reads rows of one tenant: that of the request's API key. There is no other way to make one, and no other way to
/// query.
#[derive(Clone)]
pub struct TenantQueries {
    client: Client,
    tenant: Tenant,
}

impl<S> FromRequestParts<S> for TenantQueries
where
    S: Send + Sync,
    ApiKeys: FromRef<S>,
    Client: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &S) -> Result<Self, ApiError> {
        let CanRead(tenant) = CanRead::from_request_parts(parts, shared).await?;
        Ok(Self { client: Client::from_ref(shared), tenant })
    }
}

/// A query, without the condition on the tenant, which [`TenantQueries::fetch`] adds.
#[derive(Debug, Clone, Copy)]
pub struct Select<'a> {
    /// What to read.
    pub columns: &'a str,
    /// The view to read from; it has a column `tenant`.
    pub from: &'a str,
    /// `GROUP BY …`, `ORDER BY …`.
    pub tail: &'a str,
}

/// Conditions on the rows of a query. Their text is the program's own; values only ever travel as parameters.
#[derive(Debug, Clone, Default)]
pub struct SqlFilter {
    conditions: String,
    parameters: Vec<Parameter>,
}

/// A value in a condition.
#[derive(Debug, Clone)]
pub enum Parameter {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// A point in time.
    Time(Millis),
    /// An id.
    Id(Uuid),
}

impl SqlFilter {
    /// Adds a condition, whose text is the program's own; each `?` in it stands for the next of `values`.
    pub fn and(mut self, condition: &str, values: impl IntoIterator<Item = Parameter>) -> Self {
        let mut parts = condition.split('?');
        self.conditions.push_str(" AND ");
        self.conditions.push_str(parts.next().unwrap_or_default());
        for (value, part) in values.into_iter().zip(parts) {
            let number = self.parameters.len();
            self.conditions.push_str(&match value {
                Parameter::Text(_) => format!("{{p{number}:String}}"),
                Parameter::Number(_) => format!("{{p{number}:Int64}}"),
                Parameter::Time(_) => format!("fromUnixTimestamp64Milli({{p{number}:Int64}}, 'UTC')"),
                Parameter::Id(_) => format!("{{p{number}:UUID}}"),
            });
            self.conditions.push_str(part);
            self.parameters.push(value);
        }
        self
    }

    /// The conditions, for tests.
    #[cfg(test)]
    pub fn conditions(&self) -> &str {
        &self.conditions
    }

    /// Leaves, of the rows that pass the conditions so far and agree in `identity`, the one that lies first in the log; the
    /// conditions that follow are on what is left.
    pub fn once(mut self, identity: &str) -> Self {
        self.conditions.push_str(" QUALIFY row_number() OVER (PARTITION BY ");
        self.conditions.push_str(identity);
        self.conditions.push_str(" ORDER BY log_partition, log_offset) = 1");
        self
    }
}

impl TenantQueries {
    /// Whose rows it reads.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// The tenant's rows that `filter` leaves, at most `limit`.
    ///
    /// # Errors
    /// 503 where ClickHouse is away, refuses, or takes longer than 5 s; 500 where its answer is not understood.
    pub async fn fetch<T>(
        &self,
        select: Select<'_>,
        filter: &SqlFilter,
        limit: u64,
    ) -> Result<Vec<T>, ApiError>
    where
        T: RowOwned + RowRead,
    {
        answered(select.from, self.query(select, filter, limit).fetch_all()).await
    }

    /// As [`fetch`](Self::fetch), in ClickHouse's RowBinary.
    ///
    /// # Errors
    /// As there.
    pub async fn fetch_bytes(
        &self,
        select: Select<'_>,
        filter: &SqlFilter,
        limit: u64,
    ) -> Result<Bytes, ApiError> {
        let query = self.query(select, filter, limit);
        answered(select.from, async move { query.fetch_bytes("RowBinary")?.collect().await }).await
    }

    fn query(&self, select: Select<'_>, filter: &SqlFilter, limit: u64) -> Query {
        let Select { columns, from, tail } = select;
        let sql = format!(
            "SELECT {columns} FROM {from} WHERE tenant = {{tenant:String}}{} {tail} LIMIT {limit}",
            filter.conditions
        );
        let mut query = self.client.query_raw(&sql).param("tenant", self.tenant.as_str());
        for (number, parameter) in filter.parameters.iter().enumerate() {
            let name = format!("p{number}");
            query = match parameter {
                Parameter::Text(text) => query.param(&name, text),
                Parameter::Number(number) | Parameter::Time(number) => query.param(&name, number),
                Parameter::Id(id) => query.param(&name, id.to_string()),
            };
        }
        query
    }
}

/// What ClickHouse answers, within the time it has.
async fn answered<T>(from: &str, answer: impl Future<Output = Result<T, Error>>) -> Result<T, ApiError> {
    let error = match tokio::time::timeout(TIMEOUT, answer).await {
        Ok(Ok(rows)) => return Ok(rows),
        Ok(Err(error @ (Error::Network(_) | Error::TimedOut | Error::BadResponse(_)))) => {
            store::describe(&error)
        }
        Ok(Err(error)) => return Err(ApiError::internal(store::describe(&error))),
        Err(_) => format!("no answer within {TIMEOUT:?}"),
    };
    tracing::error!(error, from, "a query of ClickHouse failed");
    Err(ApiError::unavailable("the rows can't be read at the moment", RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_travel_as_parameters() {
        let filter = SqlFilter::default()
            .and("rule = ?", [Parameter::Text("'; DROP TABLE t --".into())])
            .and("(started_at, id) < (?, ?)", [Parameter::Time(5), Parameter::Id(Uuid::nil())])
            .and("ended_at IS NULL", [])
            .once("tab_id, seq")
            .and("score >= ?", [Parameter::Number(35)]);
        assert_eq!(
            filter.conditions,
            " AND rule = {p0:String} AND (started_at, id) < \
             (fromUnixTimestamp64Milli({p1:Int64}, 'UTC'), {p2:UUID}) AND ended_at IS NULL QUALIFY \
             row_number() OVER (PARTITION BY tab_id, seq ORDER BY log_partition, log_offset) = 1 \
             AND score >= {p3:Int64}"
        );
        assert_eq!(filter.parameters.len(), 4);
    }
}
