//! How events arrive: a tab sends what has gathered every 5 s and when it is hidden or left; some batches come after the
//! next one, some twice, and, if that is asked for, some much later.

use std::sync::Arc;

use super::event::{Batch, Body, Event};
use super::session::Session;
use crate::engine::Millis;

/// How long a tab gathers.
const FLUSH: Millis = 5_000;
/// So many batches in a hundred come after the next one of their tab, if that is near: out of order by less than 10 s, the
/// default allowance.
const SWAPPED: u32 = 3;
/// So many in a hundred come twice, because their answer was lost.
const REPEATED: u32 = 2;
/// A late batch comes so much later: beyond the allowance, within the default grace of 1 h.
const LATE: (Millis, Millis) = (20_000, 3_000_000);

/// A session's batches, in no order; `late` is the share of those that come beyond the allowance.
pub(super) fn batches(session: Session, late: f64) -> Vec<Batch> {
    let Session { visitor, events, mut human, .. } = session;
    let mut tabs: Vec<Vec<Event>> = Vec::new();
    for event in events {
        let tab = event.tab as usize;
        tabs.resize_with(tabs.len().max(tab + 1), Vec::new);
        tabs[tab].push(event);
    }
    let mut batches = Vec::new();
    for events in tabs {
        let parts = cut(events);
        let on_time: Vec<Millis> =
            parts.iter().map(|(sent_at, _)| sent_at + human.lasting(60, 0.6, 15, 1_500)).collect();
        for (index, (_, events)) in parts.into_iter().enumerate() {
            let mut arrived_at = on_time[index];
            if human.chance(SWAPPED) {
                arrived_at = match on_time.get(index + 1) {
                    Some(next) if next - arrived_at < FLUSH + 1_000 => next + human.between(50, 400),
                    _ => arrived_at + human.between(1_000, 4_000),
                };
            }
            if human.share(late) {
                arrived_at += human.between(LATE.0, LATE.1);
            }
            let batch = Batch { arrived_at, visitor: Arc::clone(&visitor), events: events.into() };
            if human.chance(REPEATED) {
                let arrived_at = arrived_at + human.between(500, 20_000);
                batches.push(Batch { arrived_at, ..batch.clone() });
            }
            batches.push(batch);
        }
    }
    batches
}

/// A tab's events as it sends them, each part with its time.
fn cut(events: Vec<Event>) -> Vec<(Millis, Vec<Event>)> {
    let mut parts: Vec<(Millis, Vec<Event>)> = Vec::new();
    let mut is_open = false;
    for event in events {
        let is_last = matches!(event.body, Body::PageHide | Body::PageUnload);
        let (at, end) = (event.occurred_at, end(&event));
        match parts.last_mut() {
            Some((sent_at, part)) if is_open && at <= *sent_at => {
                // A movement is sent when it is over.
                *sent_at = if is_last { at } else { end.max(*sent_at) };
                part.push(event);
            }
            _ => parts.push((if is_last { at } else { end.max(at + FLUSH) }, vec![event])),
        }
        is_open = !is_last;
    }
    parts
}

fn end(event: &Event) -> Millis {
    match &event.body {
        Body::Move { points } => event.occurred_at + points.last().map_or(0, |point| Millis::from(point.0)),
        _ => event.occurred_at,
    }
}
