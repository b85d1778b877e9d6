//! The way out of the log under kill −9, outages and refusals: at the end every view is the fold of its topic (I6, I7).

use std::path::Path;
use std::time::{Duration, Instant};

use rdkafka::message::Message;
use tidewatch::engine::rows::DeadLetter;
use tidewatch_local::parts::PartName;
use tidewatch_local::{Stack, StackOptions};

use crate::load;
use crate::load::Load;
use crate::proxy::Proxy;
use crate::system::{BINARY, Process, System, eventually};
use crate::{expected, tables};

/// The steps of a batch at which a sink is killed.
const STEPS: [&str; 4] = ["sent", "inserted", "acknowledged", "committed"];
/// Small batches, and quick to be missed.
const SETTINGS: [&str; 2] = ["sink.batch_rows=200", "sink.session_timeout=1s"];

/// How long the kills may take in `cargo test`, and how many there are at most; `SINK_KILLS=1000` asks for a number instead.
fn limit() -> (Duration, usize) {
    match std::env::var("SINK_KILLS") {
        Ok(kills) => (Duration::MAX, kills.parse().expect("SINK_KILLS is a number")),
        Err(_) => (Duration::from_secs(45), 40),
    }
}

async fn written(sink: &Process) {
    eventually("rows", async || (sink.metric("tidewatch_sink_rows_total").await > 0.0).then_some(())).await;
}

/// Nothing is sent any more: the worker ends, the sinks write the rest, and every view is right.
async fn end(system: &System, worker: Process, sinks: Vec<Process>) {
    system.folded().await;
    assert!(worker.terminate().await.success());
    // A mark that it has appended since nobody folds any more.
    system.stored().await;
    let counts = tables::assert_every_view_follows(system).await;
    println!("rows that hold, each equal to the log's: {counts:?}");
    for topic in ["civic", "incidents", "sla-metrics", "dead-letters", "accounting", "progress", "settings"] {
        assert!(counts[topic] > 0, "nothing was compared of {topic}");
    }
    for sink in sinks {
        assert!(sink.terminate().await.success());
    }
}

/// Kills sinks at each step of a batch and at random moments, alone and beside another one that takes over and hands back.
#[tokio::test(flavor = "multi_thread")]
async fn i6_killed_sinks_leave_every_view_as_the_fold_of_its_topic() {
    let (time, most) = limit();
    let system = System::new("").await;
    // Of what is final soon, something comes too late.
    system.set(Some("boston"), serde_json::json!({"allowance": "0s", "grace": "1s"}));
    let worker = system.start_ready("process", &[]).await;
    let load = Load::start(&system, 5, 4);
    let began = Instant::now();
    let (mut at_steps, mut at_random) = (0, 0);
    while at_steps + at_random < most && began.elapsed() < time {
        for step in STEPS {
            system.start_sink_until(step, &SETTINGS).await.kill();
            at_steps += 1;
        }
        // Two share the work; one is killed wherever it is, the other takes over.
        let sinks = [system.start("sink", &SETTINGS), system.start("sink", &SETTINGS)];
        let [killed, heir] = sinks;
        killed.ready().await;
        heir.ready().await;
        written(&heir).await;
        // A moment, not a condition: any is as good as another.
        tokio::time::sleep(Duration::from_millis(began.elapsed().subsec_micros() as u64 % 200)).await;
        killed.kill();
        heir.kill();
        at_random += 2;
    }
    println!("sinks killed: {at_steps} at a step of a batch, {at_random} at a random moment");
    println!("{} records", load.stop());
    let sink = system.start_ready("sink", &[]).await;
    end(&system, worker, vec![sink]).await;
}

/// Two sinks share the work, while others come and go, in order and out of it; one is stopped for longer than its session
/// and wakes as nobody's member, with a batch in its hands.
#[tokio::test(flavor = "multi_thread")]
async fn i6_sinks_that_hand_over_leave_every_view_as_the_fold_of_its_topic() {
    let system = System::new("").await;
    let worker = system.start_ready("process", &[]).await;
    let load = Load::start(&system, 6, 4);
    let proxy = Proxy::start(&system.config.clickhouse.url).await;
    let through_proxy = format!("clickhouse.url={}", proxy.url);
    let zombie = system.start_ready("sink", &[SETTINGS[0], SETTINGS[1], &through_proxy]).await;
    let other = system.start_ready("sink", &SETTINGS).await;
    for round in 0..2 {
        let third = system.start_ready("sink", &SETTINGS).await;
        written(&third).await;
        if round % 2 == 0 {
            assert!(third.terminate().await.success());
        } else {
            third.kill();
        }
    }
    // It has sent rows whose end ClickHouse has not seen, and sleeps.
    proxy.stall(true);
    eventually("rows that are held back", async || (proxy.held_back() > 0).then_some(())).await;
    zombie.signal("STOP");
    // The other has taken over all partitions, the zombie's too, once each has come past what there is now.
    let ends: Vec<i64> = system.bounds("civic").into_iter().map(|(stable, _)| stable).collect();
    eventually("the other to take over", async || {
        let committed = system.committed(tidewatch::sink::GROUP, "civic");
        (0..).zip(&ends).all(|(partition, end)| committed[&partition] >= *end).then_some(())
    })
    .await;
    proxy.stall(false);
    zombie.signal("CONT");
    zombie.ready().await;
    println!("{} records", load.stop());
    end(&system, worker, vec![zombie, other]).await;
}

/// The answers to inserts are lost, connections are cut, requests are held back: the same rows are sent again, and show once.
#[tokio::test(flavor = "multi_thread")]
async fn i6_lost_answers_and_cut_connections_double_and_lose_nothing() {
    let system = System::new("").await;
    let worker = system.start_ready("process", &[]).await;
    let load = Load::start(&system, 7, 4);
    let proxy = Proxy::start(&system.config.clickhouse.url).await;
    let sink = system.start_ready("sink", &[SETTINGS[0], &format!("clickhouse.url={}", proxy.url)]).await;
    written(&sink).await;
    for _ in 0..2 {
        proxy.lose_answers(true);
        eventually("lost answers", async || (proxy.lost() > 3).then_some(())).await;
        proxy.lose_answers(false);
        for _ in 0..20 {
            proxy.cut();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        proxy.stall(true);
        eventually("rows that are held back", async || (proxy.held_back() > 0).then_some(())).await;
        proxy.cut();
        proxy.stall(false);
    }
    assert!(sink.metric("tidewatch_sink_retries_total").await > 0.0);
    println!("{} records", load.stop());
    end(&system, worker, vec![sink]).await;
}

/// ClickHouse is killed and comes back, three times, while events come in.
#[tokio::test(flavor = "multi_thread")]
async fn i7_a_clickhouse_that_is_killed_loses_nothing() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let options = |port| StackOptions {
        data: Some(folder.path().join("data")),
        kafka_port: None,
        clickhouse_port: port,
        parts: vec![PartName::ClickHouse],
    };
    let mut store = Stack::start(Path::new(BINARY), &options(None)).unwrap();
    let url = store.clickhouse().unwrap().to_owned();
    let port = url.rsplit_once(':').unwrap().1.parse().unwrap();
    let system = System::on_clickhouse(&url, "").await;
    let worker = system.start_ready("process", &[]).await;
    let sink = system.start_ready("sink", &[SETTINGS[0]]).await;
    let load = Load::start(&system, 8, 4);
    for _ in 0..3 {
        let before = sink.metric("tidewatch_sink_rows_total").await;
        let more = async || (sink.metric("tidewatch_sink_rows_total").await > before + 500.0).then_some(());
        eventually("rows", more).await;
        let pid = store.part_pid(PartName::ClickHouse).unwrap().to_string();
        assert!(std::process::Command::new("kill").args(["-9", &pid]).status().unwrap().success());
        eventually("the sink to say so", async || {
            let ready = reqwest::get(format!("{}/readyz", sink.url)).await.unwrap();
            (ready.status() == 503).then_some(())
        })
        .await;
        drop(store);
        store = Stack::start(Path::new(BINARY), &options(Some(port))).unwrap();
        sink.ready().await;
    }
    println!("{} records, ClickHouse killed 3 times", load.stop());
    end(&system, worker, vec![sink]).await;
    drop(system);
}

fn events(count: usize) -> impl Iterator<Item = tidewatch::families::civic::event::CivicEvent> {
    (0..count).map(|number| {
        let id = if number % 37 == 5 { format!("bad-{number}") } else { format!("good-{number}") };
        load::report("boston", format!("area {}", number % 7), id, number as i64, None)
    })
}

/// Rows that ClickHouse refuses are found among the others and end as dead letters, which hold their records; all others
/// are written. A letter that is refused itself ends in the log.
#[tokio::test(flavor = "multi_thread")]
async fn i7_a_refused_row_is_a_dead_letter_and_the_others_go_on() {
    let system = System::new("").await;
    system.query("ALTER TABLE civic_events ADD CONSTRAINT good CHECK event_id NOT LIKE 'bad-%'").await;
    load::append(&system, events(1_000));
    let bad = (0..1_000).filter(|number| number % 37 == 5).count();
    let sink = system.start_ready("sink", &[]).await;
    system.stored().await;
    let count = async |query: &str| system.query(query).await.trim().parse::<usize>().unwrap();
    assert_eq!(count("SELECT count() FROM civic_events_current").await, 1_000 - bad);
    let letters = "SELECT count() FROM dead_letters_current WHERE reason = 'refused' AND topic = 'civic'";
    eventually("the letters", async || (count(letters).await == bad).then_some(())).await;
    assert!(sink.metric("tidewatch_sink_refused_rows_total").await == bad as f64);

    let civic = system.read_committed("civic");
    for record in system.read_committed("dead-letters").into_values().flatten() {
        let letter: DeadLetter = expected::decode("dead-letters", record.payload().unwrap());
        assert!(
            letter.message.contains("table civic_events: ") && letter.message.contains("469"),
            "{}",
            letter.message
        );
        let kept = civic[&letter.partition].iter().find(|record| record.offset() == letter.offset).unwrap();
        assert_eq!(letter.record_value.as_deref(), kept.payload());
        assert_eq!(letter.record_key.as_deref(), kept.key());
    }

    // Now the letters are refused, too: there is one for each row, and none about a letter.
    system.query("ALTER TABLE dead_letters ADD CONSTRAINT none CHECK reason != 'refused'").await;
    load::append(&system, events(1_000).filter(|event| event.event_id.starts_with("bad")));
    system.stored().await;
    eventually("the refusal of the letters", async || {
        (sink.metric("tidewatch_sink_refused_rows_total").await == 3.0 * bad as f64).then_some(())
    })
    .await;
    system.stored().await;
    assert_eq!(system.read_committed("dead-letters").into_values().flatten().count(), 2 * bad);
    assert!(sink.terminate().await.success());
}

/// A table that is missing says nothing of its rows: they wait, the sink says so, and nobody gets a dead letter.
#[tokio::test(flavor = "multi_thread")]
async fn i7_rows_wait_for_a_table_that_is_away() {
    let system = System::new("").await;
    let sink = system.start_ready("sink", &[]).await;
    system.query("RENAME TABLE civic_events TO hidden").await;
    load::append(&system, events(100));
    eventually("the sink to say so", async || {
        let ready = reqwest::get(format!("{}/readyz", sink.url)).await.unwrap();
        let is_away = ready.status() == 503;
        let text = ready.text().await.unwrap();
        (is_away && text.contains("civic_events")).then_some(())
    })
    .await;
    system.query("RENAME TABLE hidden TO civic_events").await;
    system.stored().await;
    assert_eq!(system.query("SELECT count() FROM civic_events_current").await.trim(), "100");
    assert_eq!(system.read_committed("dead-letters").into_values().flatten().count(), 0);
    assert!(sink.terminate().await.success());
}

/// The codes of the errors that condemn a row are ClickHouse's own.
#[tokio::test(flavor = "multi_thread")]
async fn errors_of_data_are_named_as_clickhouse_names_them() {
    let system = System::new("").await;
    for (code, name) in tidewatch::sink::refusal::OF_DATA {
        assert_eq!(system.query(&format!("SELECT errorCodeToName({code})")).await.trim(), name);
    }
}

/// Several programs that bring one database up to date: each file is applied once, by one of them, and all end well.
#[tokio::test(flavor = "multi_thread")]
async fn migrations_at_once_wait_for_each_other() {
    let system = System::new("").await;
    let mut config = system.config.clickhouse.clone();
    config.database = format!("{}_fresh", config.database);
    let all = (0..6).map(|_| {
        let config = config.clone();
        tokio::spawn(async move { tidewatch::sink::migrate(&config).await.unwrap() })
    });
    let mut applied = Vec::new();
    for one in all.collect::<Vec<_>>() {
        applied.extend(one.await.unwrap().into_iter().map(|applied| applied.name));
    }
    let mut once = applied.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(applied.len(), once.len(), "a file was applied twice: {applied:?}");
    assert!(once.len() >= 9);
    let database = &config.database;
    let query = format!("SELECT count() FROM {database}.migrations");
    assert_eq!(system.query(&query).await.trim(), once.len().to_string());
    system.query(&format!("DROP DATABASE {database}")).await;
}

/// A holder that died holds nobody up for good; one that lives does.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_whose_holder_died_is_taken_over() {
    let system = System::new("").await;
    let mut config = system.config.clickhouse.clone();
    config.database = format!("{}_dead", config.database);
    let database = config.database.clone();
    system.query(&format!("CREATE DATABASE {database}")).await;
    let lock = format!("{database}.migration_lock_7");
    system.query(&format!("CREATE TABLE {lock} (nothing UInt8) ENGINE = Null COMMENT 'the dead'")).await;
    let migration = tokio::spawn(async move { tidewatch::sink::migrate(&config).await });
    // It lives for a while: nobody goes before it.
    for renewal in 0..20 {
        system.query(&format!("ALTER TABLE {lock} MODIFY COMMENT 'the dead, renewed {renewal} times'")).await;
        assert!(!migration.is_finished());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!migration.await.unwrap().unwrap().is_empty());
    let locks = format!(
        "SELECT groupArray((name, comment)) FROM system.tables WHERE database = '{database}' AND name LIKE 'migration_lock%'"
    );
    assert_eq!(system.query(&locks).await.trim(), "[('migration_lock_8','free')]");
    system.query(&format!("DROP DATABASE {database}")).await;
}

/// `docs/tables.md` is what the migrated database says of itself.
#[tokio::test(flavor = "multi_thread")]
async fn the_data_dictionary_is_current() {
    let system = System::new("").await;
    let text = tidewatch::sink::describe(&system.config.clickhouse).await.unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tables.md");
    if std::env::var_os("RENEW_DOCS").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == text,
        "docs/tables.md is not what `tidewatch migrate --describe` prints; renew it by \
         `RENEW_DOCS=1 cargo test --test it -- the_data_dictionary_is_current`"
    );
    // Each table and column says what it is; a view's columns are its table's.
    for query in [
        "SELECT groupArray(name) FROM system.tables WHERE database = currentDatabase() AND comment = ''",
        "SELECT groupArray((table, name)) FROM system.columns WHERE database = currentDatabase() AND comment = '' \
         AND NOT endsWith(table, '_current') AND NOT startsWith(table, 'migration_lock_')",
    ] {
        assert_eq!(system.query(query).await.trim(), "[]");
    }
}
