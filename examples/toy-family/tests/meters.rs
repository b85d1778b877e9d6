//! The operators of the family meters, in memory: no Kafka, no clock.

use tidewatch::engine::rows::OperatorRow;
use tidewatch::engine::{FamilySettings, Outcome, TestDriver};
use tidewatch::families::meters::alarms::Alarms;
use tidewatch::families::meters::alarms::rows::AlarmsRow;
use tidewatch::families::meters::event::Reading;
use tidewatch::families::meters::hours;
use tidewatch::families::meters::hours::HoursRow;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// A reading of the meter m, which arrives as it happens.
fn reading(id: &str, at: i64, watts: i64) -> Reading {
    Reading { tenant: "t".into(), event_id: id.into(), occurred_at: at, meter: "m".into(), watts }
}

/// The alarms emitted since the last look: peak, end, whether final.
fn alarms(driver: &mut TestDriver<Alarms>) -> Vec<(i64, Option<i64>, bool)> {
    let rows = driver.take();
    let alarm = |row: AlarmsRow| match row {
        AlarmsRow::Alarm(alarm) => Some((alarm.peak_watts, alarm.closed_at, alarm.meta.is_final)),
        _ => None,
    };
    rows.into_iter().filter_map(alarm).collect()
}

#[test]
fn an_alarm_is_open_while_readings_are_above() {
    let mut driver = TestDriver::new(Alarms::default, FamilySettings::default());
    let mut read = |id, at, watts| driver.append("t/m", at, reading(id, at, watts));
    assert_eq!(read("1", 1_000, 5_000), Outcome::Folded);
    assert_eq!(read("2", 2_000, 5_001), Outcome::Folded);
    assert_eq!(read("3", 3_000, 6_000), Outcome::Folded);
    assert_eq!(read("4", 4_000, 10), Outcome::Folded);
    assert_eq!(read("4", 4_000, 10), Outcome::Duplicate);
    assert_eq!(read("5", 5_000, 10), Outcome::Folded);
    let expected = [(5_001, None, false), (6_000, None, false), (6_000, Some(4_000), true)];
    assert_eq!(alarms(&mut driver), expected);
}

#[test]
fn i7_i9_what_can_t_be_and_what_is_too_old_is_not_folded() {
    let mut driver = TestDriver::new(Alarms::default, FamilySettings::default());
    assert_eq!(driver.append("t/m", 1_000, reading("1", 1_000, 100_001)), Outcome::DeadLettered);
    assert_eq!(driver.append("t/m", 2_000, reading("2", 2_000, 1)), Outcome::Folded);
    assert_eq!(driver.append("t/m", 3_000, reading("3", 1_999, 9_000)), Outcome::Late);
    let topics: Vec<_> = driver.take().iter().map(OperatorRow::topic).collect();
    assert_eq!(topics, ["dead-letters", "late-events"]);
}

#[test]
fn a_silent_meter_s_alarm_ends_with_its_last_reading() {
    let mut driver = TestDriver::new(Alarms::default, FamilySettings::new(0, 2 * DAY));
    driver.append("t/m", 1_000, reading("1", 1_000, 9_000));
    driver.advance_to(1_001 + DAY);
    assert_eq!(alarms(&mut driver), [(9_000, None, false), (9_000, Some(1_000), true)]);
    assert_eq!(driver.append("t/m", 1_002 + DAY, reading("2", 1_000, 9_000)), Outcome::Late);
}

#[test]
fn an_hour_is_final_a_day_after_its_end() {
    let mut driver = TestDriver::new(hours::operator, FamilySettings::default());
    driver.append("t/m", 1_000, reading("1", 1_000, 10));
    driver.append("t/m", 2_000, reading("2", 2_000, -5));
    driver.advance_to(HOUR + DAY);
    let rows = driver.take();
    let hour = |row: &HoursRow| match row {
        HoursRow::Hour(hour) => {
            (hour.hour, hour.readings, hour.mean_watts, hour.peak_watts, hour.meta.is_final)
        }
        other => panic!("{other:?}"),
    };
    let rows: Vec<_> = rows.iter().map(hour).collect();
    assert_eq!(rows, [(0, 1, 10, 10, false), (0, 2, 2, 10, false), (0, 2, 2, 10, true)]);
}
