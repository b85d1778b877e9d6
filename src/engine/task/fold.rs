//! What a record does: whose it is, whether it has been seen, what the operator makes of it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Task;
use crate::engine::accounting::Outcome;
use crate::engine::duplicates::{Addition, Fingerprint, Sequence, fingerprint};
use crate::engine::key_cell::{Head, tenant_of};
use crate::engine::operator::{Context, KEY_LIMIT, Operator, Rejection};
use crate::engine::record::Record;
use crate::engine::time::{FUTURE_LIMIT, KeyTime};
use crate::engine::{Event, Identity};

impl<O: Operator> Task<O> {
    pub(super) fn fold(
        &mut self,
        record: &Record<'_, O>,
        event: &O::Event,
        end: usize,
        rows: &mut Vec<O::Row>,
    ) -> Option<Result<Outcome, Rejection>> {
        let seen = match self.recognise(record, event) {
            Ok(Some(seen)) => seen,
            Ok(None) => return Some(Ok(Outcome::Duplicate)),
            Err(rejection) => return Some(Err(rejection)),
        };
        let key = seen.key;
        // What this record's time has made due comes before the record itself (I3).
        if self.next_due(key).is_some() {
            if !self.fire_key(key, end, rows) {
                self.surface_at_once(key);
                return None;
            }
            // That may have made unknown what the record names.
            if let Err(rejection) = self.resolve(record, event, event.alias()) {
                self.schedule(key);
                return Some(Err(rejection));
            }
        }
        let id = match seen.identity {
            // Its number has been seen whatever becomes of the record: one that is refused leaves no gap.
            Seen::Number(producer, number, addition) => {
                self.state.add_number(key, producer, number, addition);
                None
            }
            Seen::Id(id) => Some(id),
            Seen::Record => None,
        };
        let folded = self.attempt(key, rows, |operator, context| operator.record(context, event));
        if let (Ok(()), Some(id)) = (&folded, id) {
            self.state.ids.insert(id, self.position.clock, self.settings.duplicate_horizon);
        }
        self.schedule(key);
        Some(folded.map(|()| Outcome::Folded))
    }

    /// Calls the operator. A panic is a rejection; where there is one, what the operator has changed and emitted is undone.
    pub(super) fn attempt(
        &mut self,
        key: usize,
        rows: &mut Vec<O::Row>,
        call: impl FnOnce(&O, &mut Context<'_, O>) -> Result<(), Rejection>,
    ) -> Result<(), Rejection> {
        let allowance = self.allowance(key);
        let emitted = rows.len();
        let Self { operator, position, fresh_emissions, state, settings, .. } = self;
        let settings = &settings.of(&state.cells[key].name).operator;
        state.begin();
        let mut context = Context { position, fresh_emissions, state, key, allowance, settings, rows };
        // Whatever a panic leaves half done is undone.
        let called = catch_unwind(AssertUnwindSafe(|| call(operator, &mut context)));
        let called = called.unwrap_or_else(|cause| Err(refuse("poison", panic_message(&*cause))));
        match called {
            Ok(()) => self.state.keep(),
            Err(_) => {
                self.state.undo();
                rows.truncate(emitted);
            }
        }
        called
    }

    /// Under which key a record is folded, with that key's time brought forward; `None` if it has been seen before.
    fn recognise<'e>(
        &mut self,
        record: &Record<'_, O>,
        event: &'e O::Event,
    ) -> Result<Option<Recognised<'e>>, Rejection> {
        let (event_time, append_time) = (event.event_time(), record.append_time);
        let ahead = event_time.saturating_sub(append_time);
        if ahead > FUTURE_LIMIT {
            let message = format!("its time is {ahead} ms ahead of its append time");
            return Err(refuse("future_event", message));
        }
        let alias = event.alias();
        // Before the key is looked for: a repeat is one also when what it names is forgotten by now.
        let id = match event.identity() {
            Identity::Id(id) => {
                let scope = alias.as_deref().map_or(record.raw_key.unwrap_or_default(), str::as_bytes);
                let id = fingerprint(scope, id);
                if self.state.ids.contains(&id) {
                    return Ok(None);
                }
                Some(id)
            }
            _ => None,
        };
        let found = self.resolve(record, event, alias)?;
        let known = found.as_ref().ok().map(|key| &self.state.cells[*key]);
        // A key's time outlives its state by the horizon, and no longer, however long it stays in memory.
        let known = known.filter(|cell| !self.is_forgotten(&cell.head.time) || !cell.is_idle());
        let (identity, is_in_order) = match event.identity() {
            Identity::Sequence { producer, number } => {
                let seen = known.and_then(|cell| cell.producer(producer));
                let looked =
                    seen.map_or_else(|| Sequence::default().look(number), |slot| slot.value.look(number));
                let Ok(addition) = looked else {
                    let message = format!("producer {producer} has left {} gaps", Sequence::LIMIT);
                    return Err(refuse("too_many_gaps", message));
                };
                let Some(addition) = addition else { return Ok(None) };
                // Of two producers one may lag behind the other.
                let is_alone = known.is_none_or(|cell| cell.producers().all(|(name, _)| **name == *producer));
                (Seen::Number(producer, number, addition), is_alone && addition.is_gapless)
            }
            Identity::Id(_) | Identity::Record => (id.map_or(Seen::Record, Seen::Id), false),
        };
        // What waited in an intake topic was not there before it was appended there.
        let reached = record.first_append.map_or(event_time, |first| event_time.min(first));
        let mut head =
            known.map_or_else(|| Head::new(KeyTime::first(reached, append_time)), |cell| cell.head);
        head.time.advance(reached, append_time);
        head.is_in_order &= is_in_order;
        let is_known = known.is_some();
        let key = match found {
            Ok(key) => {
                if !is_known {
                    self.state.forget_producers(key);
                }
                self.state.set_head(key, head);
                key
            }
            Err(name) => {
                let key = self.state.create(&name, head);
                self.schedule_expiry(key);
                key
            }
        };
        Ok(Some(Recognised { key, identity }))
    }

    /// The key of a record, or the name of one that is not known yet.
    fn resolve(
        &self,
        record: &Record<'_, O>,
        event: &O::Event,
        alias: Option<String>,
    ) -> Result<Result<usize, String>, Rejection> {
        if let Some(alias) = alias {
            let key = self.state.aliases.get(&*alias);
            let unknown = || {
                refuse(
                    "unknown_id",
                    format!("nothing is known under {alias}: it has never been, or is long final"),
                )
            };
            return key.map(|key| Ok(*key)).ok_or_else(unknown);
        }
        if let Some(length) = record.raw_key.map(<[u8]>::len).filter(|length| *length > KEY_LIMIT) {
            let message = format!("its key has {length} bytes, at most {KEY_LIMIT} are allowed");
            return Err(refuse("wrong_key", message));
        }
        let name = record.raw_key.and_then(|key| std::str::from_utf8(key).ok());
        match name {
            Some(name) if tenant_of(name) == event.tenant() => {
                Ok(self.state.find(name).ok_or_else(|| name.to_owned()))
            }
            _ => {
                let found = name.map_or_else(|| format!("{:?}", record.raw_key), str::to_owned);
                let message = format!("its key is {found}, expected was {}/…", event.tenant());
                Err(refuse("wrong_key", message))
            }
        }
    }

    pub(super) fn is_forgotten(&self, time: &KeyTime) -> bool {
        self.position.clock.saturating_sub(time.last_append) > self.settings.duplicate_horizon
    }
}

/// A record's key, and how a repeat of it will be recognised.
struct Recognised<'e> {
    key: usize,
    identity: Seen<'e>,
}

enum Seen<'e> {
    Id(Fingerprint),
    Number(&'e str, u64, Addition),
    Record,
}

pub(super) fn refuse(reason: &'static str, message: String) -> Rejection {
    Rejection::Refused { reason, message }
}

fn panic_message(cause: &(dyn Any + Send)) -> String {
    let text = cause.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| cause.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}
