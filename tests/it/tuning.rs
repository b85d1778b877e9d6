//! Rules that are changed while the roles run: what is possible acts at once, what is not is refused by its place.

use std::time::Instant;

use serde_json::{Value, json};

use crate::system::{KEY, OTHER_KEY, Process, System, eventually};

const ROUTE: &str = "/v1/settings/interactions";

/// So many clicks in the same place, in a session of their own.
async fn click(process: &Process, key: &str, session: &str, clicks: usize) {
    let click = |seq| json!({"type": "click", "session_id": session, "seq": seq, "x": 5, "y": 5, "target": {"tag": "div"}});
    let events: Vec<Value> = (0..clicks).map(click).collect();
    let (status, answer) = process.post(key, "/v1/interactions", &json!({ "events": events })).await;
    assert_eq!((status, answer["accepted"].as_array().unwrap().len()), (202, clicks), "{answer}");
}

async fn list(process: &Process, key: &str, what: &str, session: &str) -> Vec<Value> {
    let (status, page) = process.get(key, &format!("/v1/{what}?session={session}")).await;
    assert_eq!(status, 200, "{page}");
    page[what].as_array().unwrap().clone()
}

/// The signals of a session, once all its clicks are counted.
async fn signals(process: &Process, key: &str, session: &str, clicks: usize) -> Vec<Value> {
    eventually("the session", async || {
        let sessions = list(process, key, "sessions", session).await;
        sessions.iter().any(|row| row["events"] == clicks).then_some(())
    })
    .await;
    list(process, key, "signals", session).await
}

/// The first signal of a session.
async fn signal(process: &Process, session: &str) -> Value {
    eventually("the signal", async || list(process, KEY, "signals", session).await.into_iter().next()).await
}

async fn put(process: &Process, document: &Value) -> (u16, Value) {
    process.put(KEY, ROUTE, None, document).await
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_a_changed_rule_acts_on_the_next_clicks_without_a_restart() {
    let system = System::new("").await;
    let all = system.start_ready("all", &[]).await;
    // Another session's clicks first: from then on the workers have their partitions.
    click(&all, KEY, "three", 3).await;
    assert_eq!(signal(&all, "three").await["rule"], "rage_click");
    click(&all, KEY, "two", 2).await;
    assert_eq!(signals(&all, KEY, "two", 2).await, Vec::<Value>::new(), "two are none");

    let mut version = json!(0);
    for round in 0..3 {
        let began = Instant::now();
        let (status, answer) = put(&all, &json!({"rules": {"rage_click": {"count": {"at_least": 2}}}})).await;
        assert_eq!(status, 200, "{answer}");
        assert!(answer["version"].as_i64() > version.as_i64());
        version = answer["version"].clone();
        let session = format!("next-{round}");
        click(&all, KEY, &session, 2).await;
        let found = signal(&all, &session).await;
        println!("a signal by the changed rule {:?} after the change was sent", began.elapsed());
        assert_eq!((&found["rule"], &found["count"]), (&json!("rage_click"), &json!(2)));
        assert_eq!(found["settings_version"], version, "{found}");
        assert_eq!(signal(&all, "two").await["count"], 2, "a session that is open is judged anew");

        // Stricter: what was one is none any more, and three are none from now on.
        let (status, answer) = put(&all, &json!({"rules": {"rage_click": {"count": {"at_least": 4}}}})).await;
        assert_eq!(status, 200, "{answer}");
        version = answer["version"].clone();
        eventually("the retraction", async || {
            let left = [list(&all, KEY, "signals", "two").await, list(&all, KEY, "signals", &session).await];
            left.iter().all(Vec::is_empty).then_some(())
        })
        .await;
        let session = format!("three-{round}");
        click(&all, KEY, &session, 3).await;
        assert_eq!(signals(&all, KEY, &session, 3).await, Vec::<Value>::new());
    }
    click(&all, OTHER_KEY, "theirs", 3).await;
    let theirs = signals(&all, OTHER_KEY, "theirs", 3).await;
    assert_eq!(theirs.len(), 1, "another tenant's rules are its own");
    assert!(all.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_impossible_rule_is_refused_by_its_place_and_changes_nothing() {
    let system = System::new("").await;
    let serve = system.start_ready("serve", &[]).await;
    let (_, before) = serve.get(KEY, ROUTE).await;
    let rage = |count: Value| json!({"rules": {"rage_click": {"count": count}}});
    let many: serde_json::Map<String, Value> =
        (0..24).map(|number| (format!("rule_{number}"), json!({"reversal": {}}))).collect();
    for (document, field) in [
        (rage(json!({"at_least": 0})), "rules.rage_click.count.at_least"),
        (rage(json!({"at_least": 1_001})), "rules.rage_click.count.at_least"),
        (rage(json!({"at_least": 25, "span": "1m"})), "rules.rage_click.count.at_least"),
        (rage(json!({"at_least": -1})), "rules.rage_click.count.at_least"),
        (rage(json!({"gap": "-1s"})), "rules.rage_click.count.gap"),
        (rage(json!({"gap": "0s"})), "rules.rage_click.count.gap"),
        (rage(json!({"lasting": "2d"})), "rules.rage_click.count.lasting"),
        (rage(json!({"of": []})), "rules.rage_click.count.of"),
        (rage(json!({"of": [{"type": ["clack"]}]})), "rules.rage_click.count.of[0].type[0]"),
        (rage(json!({"metric": "taxicab"})), "rules.rage_click.count.metric"),
        (rage(json!({"same": "mood"})), "rules.rage_click.count.same"),
        (rage(json!({"atleast": 3})), "rules.rage_click.count.atleast"),
        (json!({"rules": {"rage_click": {"weight": 1.1}}}), "rules.rage_click.weight"),
        (json!({"rules": {"rage_click": {"weight": -0.1}}}), "rules.rage_click.weight"),
        (json!({"rules": {"rage_click": {"reversal": {}}}}), "rules.rage_click"),
        (json!({"rules": {"mine": {"weight": 0.5}}}), "rules.mine"),
        (json!({"rules": {"Mine": {"reversal": {}}}}), "rules.Mine"),
        (json!({"rules": {"": {"reversal": {}}}}), "rules."),
        (json!({"rules": {"dead_click": {"absence": {"within": "0s"}}}}), "rules.dead_click.absence.within"),
        (
            json!({"rules": {"dead_click": {"absence": {"at_least": 3, "at_most": 2}}}}),
            "rules.dead_click.absence.at_most",
        ),
        (
            json!({"rules": {"thrashed_cursor": {"reversal": {"at_least": 0}}}}),
            "rules.thrashed_cursor.reversal.at_least",
        ),
        (
            json!({"rules": {"thrashed_cursor": {"reversal": {"span": "0s"}}}}),
            "rules.thrashed_cursor.reversal.span",
        ),
        (json!({"rules": {"quick_back": {"sequence": {"then": []}}}}), "rules.quick_back.sequence.then"),
        (
            json!({"rules": {"quick_back": {"sequence": {"first": [{}]}}}}),
            "rules.quick_back.sequence.first[0].type",
        ),
        (json!({ "rules": many }), "rules"),
        (json!({"rules": []}), "rules"),
        (json!({"preset": "nobody"}), "preset"),
        (json!({"gap": "0s"}), "gap"),
        (json!({"gap": "2h", "maximum": "1h"}), "maximum"),
        (json!({"opens_at": "grave"}), "opens_at"),
        (json!({"error_bonus": 101}), "error_bonus"),
        (json!({"events": 99}), "events"),
    ] {
        let (status, answer) = put(&serve, &document).await;
        assert_eq!(
            (status, &answer["error"]["details"]["field"]),
            (422, &json!(field)),
            "{document}: {answer}"
        );
    }
    assert_eq!(serve.get(KEY, ROUTE).await.1, before, "nothing is applied in part");
}
