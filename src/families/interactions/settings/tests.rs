use serde_json::json;

use super::*;

fn read(document: Value) -> Result<InteractionsSettings, String> {
    let Value::Object(document) = document else { panic!("no object") };
    InteractionsSettings::read(&[&document]).map_err(|problem| problem.to_string())
}

#[test]
fn the_defaults_are_those_of_the_operator() {
    let settings = InteractionsSettings::default().settings().operator;
    assert_eq!(*settings, InteractionSettings::default());
    assert_eq!(read(json!({})).unwrap(), InteractionsSettings::default());
}

#[test]
fn a_part_of_a_rule_can_be_set() {
    let settings = read(json!({"rules": {"rage_click": {"count": {"at_least": 4}}}})).unwrap();
    let mut expected = InteractionsSettings::default();
    let rage = expected.rules.get_mut("rage_click").unwrap();
    rage.count.as_mut().unwrap().at_least = 4;
    assert_eq!(settings, expected);
    let off = read(json!({"rules": {"rage_click": {"enabled": false}}})).unwrap();
    assert_eq!(off.settings().operator.rules.len(), 8);
}

#[test]
fn what_is_impossible_is_named() {
    for (document, expected) in [
        (json!({"grace": "-1s"}), "grace: "),
        (json!({"gap": "0s"}), "gap: 0s is out of bounds: expected 1s to 1d"),
        (json!({"preset": "nobody"}), "preset: "),
        (json!({"rules": {"rage_click": {"count": {"at_least": 0}}}}), "rules.rage_click.count.at_least: "),
        (json!({"rules": {"rage_click": {"count": {"at_lest": 0}}}}), "rules.rage_click.count.at_lest: "),
        (json!({"rules": {"rage_click": {"weight": 1.5}}}), "rules.rage_click.weight: "),
        (
            json!({"rules": {"new": {}}}),
            "rules.new: expected exactly one of count, absence, reversal and sequence",
        ),
        (
            json!({"rules": {"dead_click": {"absence": {"of": [{"type": ["clack"]}]}}}}),
            "rules.dead_click.absence.of[0].type[0]: ",
        ),
        (
            json!({"rules": {"rage_click": {"count": {"unless": [{"type": ["scroll"]}, {"within": "1s"}]}}}}),
            "rules.rage_click.count.unless[1].type: a condition without a type",
        ),
        (
            json!({"rules": {"new": {"sequence": {
                "first": [{"type": ["click"]}],
                "then": [{"type": ["error"], "within": "2d"}],
            }}}}),
            "rules.new.sequence.then[0].within: 2d is out of bounds",
        ),
    ] {
        let problem = read(document.clone()).unwrap_err();
        assert!(problem.starts_with(expected), "{document}: {problem}");
    }
}
