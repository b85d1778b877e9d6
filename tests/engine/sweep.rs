//! Settings come into force key by key, between two commits or over several (I4).

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::to_string;
use tidewatch::event::Millis;
use tidewatch::stream::{Context, FamilySettings, Operator, Payload, Rejection, TestDriver, Trail};

use crate::determinism::{Entry, actions, compare};
use crate::kit::{Row, TestEvent};
use crate::properties::{self, Naming, family, log, times};

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
    }
}

fn emit(context: &mut Context<'_, Followers>, name: i64, due: Millis) {
    let meta = context.row_meta(&[&name.to_string()], 0, &Trail::default());
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
