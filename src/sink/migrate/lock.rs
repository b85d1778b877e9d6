//! One migration of a database at a time, without Keeper: of tables made under one name ClickHouse lets one succeed.
//!
//! A lock is a table `migration_lock_N` whose comment says who holds it, or that it is free. Only the one with the highest
//! number counts, and whoever would hold the next makes the table N + 1: when N is free, or when its holder has not
//! renewed its comment in [`LOOKS`] looks. Of several that try, one succeeds. Tables below are dropped by the holder, the
//! highest one never is, so that a number comes once.

use std::process;
use std::time::Duration;

use clickhouse::Client;
use clickhouse::error::Error;
use jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How the tables are named.
pub const TABLE: &str = "migration_lock_";
/// How often a holder renews its comment.
const RENEWED: Duration = Duration::from_secs(1);
/// How often one that waits looks.
const LOOK: Duration = Duration::from_millis(250);
/// After so many looks at the same comment the holder is dead: 15 s, without comparing two clocks.
const LOOKS: u32 = 60;
const FREE: &str = "free";
const TABLE_ALREADY_EXISTS: &str = "Code: 57";

/// The right to migrate a database, until it is [released](Lock::release).
pub struct Lock {
    client: Client,
    number: u64,
    holder: String,
    /// Ends the renewal, which stands in no request then.
    stop: CancellationToken,
    renewal: JoinHandle<()>,
}

impl Lock {
    /// Waits for it as long as a living holder has it.
    pub async fn acquire(client: &Client) -> Result<Self, Error> {
        let (mut seen, mut looks) = (None, 0);
        loop {
            let highest = highest(client).await?;
            let is_free = highest.as_ref().is_none_or(|(_, comment)| comment == FREE);
            if seen != highest {
                looks = 0;
                if let Some((_, holder)) = highest.as_ref().filter(|_| !is_free) {
                    tracing::info!(holder, "waiting for another migration");
                }
            }
            looks += 1;
            if is_free || looks > LOOKS {
                let number = highest.as_ref().map_or(0, |(number, _)| *number) + 1;
                if let Some(lock) = Self::take(client, number).await? {
                    if let Some((_, holder)) = highest.filter(|_| !is_free) {
                        tracing::warn!(holder, "took over the migration of a holder that is gone");
                    }
                    return Ok(lock);
                }
                continue; // another was faster
            }
            seen = highest;
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn take(client: &Client, number: u64) -> Result<Option<Self>, Error> {
        let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
        let holder = format!("process {} on {:?}, since {}", process::id(), host.trim(), Timestamp::now());
        let create = format!("CREATE TABLE {TABLE}{number} (nothing UInt8) ENGINE = Null COMMENT ?");
        match client.query(&create).bind(&holder).execute().await {
            Ok(()) => {}
            Err(Error::BadResponse(text)) if text.starts_with(TABLE_ALREADY_EXISTS) => return Ok(None),
            Err(error) => return Err(error),
        }
        let stop = CancellationToken::new();
        let renewal = tokio::spawn(renew(client.clone(), number, holder.clone(), stop.clone()));
        let lock = Self { client: client.clone(), number, holder, stop, renewal };
        // A number that was dropped meanwhile can be made anew, but then there is a higher one.
        if lock.is_held().await? {
            lock.drop_below(number).await?;
            Ok(Some(lock))
        } else {
            client.query(&format!("DROP TABLE IF EXISTS {TABLE}{number}")).execute().await?;
            Ok(None)
        }
    }

    /// Whether nobody has taken it over.
    pub async fn is_held(&self) -> Result<bool, Error> {
        Ok(highest(&self.client).await?.is_some_and(|(number, _)| number == self.number))
    }

    /// Who holds it, for messages.
    pub fn holder(&self) -> &str {
        &self.holder
    }

    async fn drop_below(&self, number: u64) -> Result<(), Error> {
        for (other, _) in all(&self.client).await?.into_iter().filter(|(other, _)| *other < number) {
            self.client.query(&format!("DROP TABLE IF EXISTS {TABLE}{other}")).execute().await?;
        }
        Ok(())
    }

    /// Lets the next one have it.
    pub async fn release(mut self) -> Result<(), Error> {
        self.stop.cancel();
        // Its last request must not arrive behind this one. A panic there leaves nothing to wait for.
        let _ = (&mut self.renewal).await;
        comment(&self.client, self.number, FREE).await
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Says again and again that the holder lives.
async fn renew(client: Client, number: u64, holder: String, stop: CancellationToken) {
    for count in 1_u64.. {
        tokio::select! {
            () = tokio::time::sleep(RENEWED) => {}
            () = stop.cancelled() => return,
        }
        if let Err(error) = comment(&client, number, &format!("{holder}, renewed {count} times")).await {
            tracing::warn!(%error, "the lock of the migration is not renewed; it is tried again");
        }
    }
}

async fn comment(client: &Client, number: u64, text: &str) -> Result<(), Error> {
    client.query(&format!("ALTER TABLE {TABLE}{number} MODIFY COMMENT ?")).bind(text).execute().await
}

async fn highest(client: &Client) -> Result<Option<(u64, String)>, Error> {
    Ok(all(client).await?.into_iter().max())
}

/// Every lock: its number and comment.
async fn all(client: &Client) -> Result<Vec<(u64, String)>, Error> {
    client
        .query(
            "SELECT toUInt64OrZero(substring(name, length({prefix:String}) + 1)), comment FROM system.tables \
             WHERE database = currentDatabase() AND startsWith(name, {prefix:String})",
        )
        .param("prefix", TABLE)
        .fetch_all()
        .await
}
