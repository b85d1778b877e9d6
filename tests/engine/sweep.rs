//! Settings come into force key by key, between two commits or over several (I4).

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::to_string;
use tidewatch::engine::Millis;
use tidewatch::engine::{
    Context, EvidenceState, FamilySettings, Operator, Payload, Rejection, TenantSettings, TestDriver,
};

use crate::determinism::{Entry, actions, compare};
use crate::kit::{Row, TestEvent, kind};
use crate::model::{Act, Who};
use crate::properties;
use crate::properties::{Naming, family, log, times};

/// Says each time that other settings are in force, and has a timer due at once by them: what is done twice shows, and what
/// fires before all keys have followed.
struct Followers;

impl Operator for Followers {
    type Event = TestEvent;
    type Name = ();
    type Entry = i64;
    type Timer = ();
    type Settings = Millis;
    type Row = Row;

    const NAME: &'static str = "followers";
    const VERSION: i32 = 1;

    fn record(&self, context: &mut Context<'_, Self>, event: &TestEvent) -> Result<(), Rejection> {
        context.put(&(), event.value);
        context.set_timer(&(), event.time + context.settings());
        Ok(())
    }

    fn timer(&self, context: &mut Context<'_, Self>, (): &(), due: Millis) {
        emit(context, 0, due);
    }

    fn settings_changed(&self, context: &mut Context<'_, Self>) {
        let settings = *context.settings();
        emit(context, 1, settings);
        context.set_timer(&(), context.watermark() - settings);
        assert!(settings != 13, "unlucky");
    }
}

fn emit(context: &mut Context<'_, Followers>, name: i64, due: Millis) {
    let meta = context.row_meta(&[&name.to_string()], 0, &EvidenceState::default());
    let watermark = context.watermark();
    context.emit(Row::Fired { meta, name, due, watermark });
}

fn settings(times: (Millis, Millis, Millis), version: i64, operator: Millis) -> FamilySettings<Millis> {
    let mut settings = FamilySettings { version, ..family(times) };
    settings.defaults.operator = operator;
    for tenant in settings.tenants.values_mut() {
        tenant.operator = 2 * operator;
    }
    settings
}

proptest! {
    #[test]
    fn i4_settings_that_come_into_force_in_pieces(
        times in times(),
        steps in log(Naming::Mixed, 60),
        actions in actions(),
        every in 2_usize..12,
    ) {
        let mark = |append: Millis, version: i64| {
            let settings = settings(times, version, 1 + version % 7);
            (String::new(), append, Payload::Mark(Arc::new(settings)))
        };
        let mut entries: Vec<Entry<Followers>> = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            let append = match step {
                properties::Step::Mark(append) => *append,
                properties::Step::Record(input) => {
                    let event = Payload::Event(TestEvent::from(input));
                    entries.push((input.key.to_owned(), input.append, event));
                    input.append
                }
            };
            if index % every == 0 {
                entries.push(mark(append, index as i64));
            }
        }
        entries.push(mark(3_000_000, 1_000));
        let make = move || TestDriver::new(|| Followers, settings(times, 0, 1));
        compare(&make, &entries, &actions, |row: &Row| to_string(row).unwrap())?;
    }
}

/// A key that can't follow is undone alone, and dead-lettered with its cause; the others follow.
#[test]
fn i7_a_key_that_can_not_follow_is_dead_lettered_alone() {
    let mut driver = TestDriver::new(|| Followers, FamilySettings::new(1_000, 1_000_000));
    for (tenant, key) in [("a", "a/x"), ("b", "b/x")] {
        let (who, act) = (Who::Id("1".into()), Act::Nothing);
        let event = TestEvent { tenant: tenant.into(), who, time: 100, value: 0, act, fault: None };
        driver.append(key, 100, event);
    }
    driver.take();
    let timers = |driver: &TestDriver<Followers>| -> Vec<_> {
        driver.snapshot().into_iter().filter(|(name, _)| kind(name) == b't').collect()
    };
    let before = timers(&driver);
    let mut settings = FamilySettings { version: 7, ..FamilySettings::new(1_000, 1_000_000) };
    settings.defaults.operator = 5;
    settings.tenants.insert("a".into(), TenantSettings { allowance: 1_000, operator: 13 });
    driver.change_settings(110, settings);
    let rows = driver.take();
    let [Row::DeadLetter(letter), Row::Fired { .. }] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!(letter.reason, "poison_settings");
    assert_eq!(letter.message, "version 7 of the settings, of key a/x: poison: unlucky");
    let after = timers(&driver);
    assert_eq!(before.len(), 2);
    let kept = before.iter().filter(|timer| after.contains(timer)).count();
    assert_eq!(kept, 1, "only that of b/x has moved");
}
