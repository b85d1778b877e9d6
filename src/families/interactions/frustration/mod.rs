//! Sessions, signals of frustration in them, and incidents made of those.
//!
//! A session keeps its events, normalised to what the rules see of them ([`normalized_event`]), in the order of their
//! time. A pass over them in that order finds the signals that the rules look for ([`scan`]), and signals that belong
//! together are an incident ([`mod@correlate`]). All three are functions of the events and of the watermark, so that the
//! order of arrival makes no difference: a late event is put in its place, the pass is made again from there, and what it
//! finds otherwise than before is emitted or retracted (I9). An event in order costs one step of the pass.

pub mod correlate;
pub mod element;
mod emit;
mod entries;
mod evidence;
mod fold;
mod found;
pub mod kind;
mod lifecycle;
pub mod normalize;
pub mod normalized_event;
pub mod pointer;
pub mod rows;
pub mod rule;
pub mod scan;
pub mod session;
pub mod settings;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::entries::{head_mut, index};
use self::kind::Kind;
use self::normalize::normalize;
use self::session::{ALL, Entry, Head, Name, Part, Profile, SignalName};
use self::settings::InteractionSettings;
use crate::engine::{Context, Operator, Rejection, SessionWindows};
use crate::engine::{Event, Millis};
use crate::families::interactions::event::Interaction;
use crate::families::interactions::frustration::rows::FrustrationRow;

/// Rows of an open session are at least so far apart in append time, in ms.
const UPDATE: Millis = 1_000;

/// The operator.
#[derive(Debug, Clone, Copy, Default)]
pub struct Frustration;

/// The timers of a session, each with the session's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Wait {
    /// The time-out of a signal's answer.
    Absence(i64, SignalName),
    /// The time of its next row.
    Update(i64),
    /// The end of the session.
    Close(i64),
    /// The end of its grace.
    Final(i64),
}

impl Wait {
    /// The name of the session.
    fn session(&self) -> i64 {
        match self {
            Self::Absence(name, _) | Self::Update(name) | Self::Close(name) | Self::Final(name) => *name,
        }
    }
}

impl Operator for Frustration {
    type Event = Interaction;
    type Name = Name;
    type Entry = Entry;
    type Timer = Wait;
    type Settings = Arc<InteractionSettings>;
    type Row = FrustrationRow;

    const NAME: &'static str = "interactions";
    const VERSION: i32 = 1;

    fn record(&self, context: &mut Context<'_, Self>, event: &Interaction) -> Result<(), Rejection> {
        let settings = Arc::clone(context.settings());
        let windows = SessionWindows { gap: settings.gap, maximum: Some(settings.maximum) };
        let time = event.event_time();
        let mut index = index(context);
        let placement = windows.place(index.sessions.iter().copied(), &index.cuts, time);
        let due = final_due(placement.session.end, &settings);
        if placement.absorbed.is_empty() && context.is_closed(due) {
            return Err(Rejection::Late);
        }
        // Of those that merge, the one that arrived first survives ("Identity" in the docs of the crate).
        let survivor = placement.absorbed.iter().copied().min();
        let name = survivor.unwrap_or_else(|| context.offset());
        index.sessions.retain(|(other, _)| !placement.absorbed.contains(other));
        index.sessions.push((name, placement.session));
        index.cuts.extend(&placement.cuts);
        context.put(&(ALL, Part::Index), Entry::Index(index));
        if survivor.is_none() {
            self.begin(context, event, name, placement.session.end, &settings);
        }
        for other in placement.absorbed.into_iter().filter(|other| *other != name) {
            self.absorb(context, name, other, &settings);
        }
        let is_changed = self.add(context, event, name, &settings);
        self.after(context, name, is_changed, time >= placement.session.end, &settings);
        Ok(())
    }

    fn timer(&self, context: &mut Context<'_, Self>, timer: &Wait, due: Millis) {
        let settings = Arc::clone(context.settings());
        match timer {
            Wait::Absence(name, signal) => self.ripen(context, *name, signal, &settings),
            Wait::Update(name) => {
                if let Some(head) = head_mut(context, *name) {
                    head.is_scheduled = false;
                }
                self.update(context, *name);
            }
            Wait::Close(name) => self.close(context, *name, &settings),
            Wait::Final(name) => self.finish(context, *name, due),
        }
    }

    /// Sessions that are not final yet are judged by the rules that are in force now.
    fn settings_changed(&self, context: &mut Context<'_, Self>) {
        let settings = Arc::clone(context.settings());
        for (name, _) in index(context).sessions {
            self.scan_anew(context, name, &settings);
            self.after(context, name, true, false, &settings);
        }
    }
}

fn final_due(end: Millis, settings: &InteractionSettings) -> Millis {
    end.saturating_add(settings.gap).saturating_add(settings.grace)
}

impl Frustration {
    fn begin(
        &self,
        context: &mut Context<'_, Self>,
        event: &Interaction,
        name: i64,
        end: Millis,
        settings: &InteractionSettings,
    ) {
        let head = Head {
            event_id: event.identity().name().into(),
            first_arrival: context.append_time(),
            counts: [0; Kind::ALL.len()],
            errors: 0,
            profile: Arc::new(Profile::default()),
            last: None,
            kept: 0,
            of_last_segment: 0,
            truncated: false,
            closed: false,
            is_dirty: false,
            is_scheduled: false,
            emitted_at: None,
            open_until: None,
            signals: 0,
            score: 0,
        };
        context.put(&(name, Part::Head), Entry::Head(Box::new(head)));
        context.put(&(name, Part::Tail), Entry::Tail(scan::Scan::default()));
        context.put(&(name, Part::Path), Entry::Path(Box::default()));
        context.set_timer(&Wait::Close(name), end.saturating_add(settings.gap));
    }

    /// Counts an event in, and puts it in its place. Whether what is found is another now.
    fn add(
        &self,
        context: &mut Context<'_, Self>,
        event: &Interaction,
        name: i64,
        settings: &InteractionSettings,
    ) -> bool {
        let place = (context.offset(), context.append_time());
        let before = match context.get(&(name, Part::Path)) {
            Some(Entry::Path(path)) => path.last.as_ref(),
            _ => None,
        };
        let normalized = normalize(event, place, before, settings);
        let (order, is_error) = (normalized.order(), normalized.is_error());
        let Some(head) = head_mut(context, name) else { return false };
        let is_last = head.last.is_none_or(|last| last <= order);
        head.last = head.last.max(Some(order));
        head.counts[normalized.kind as usize] += 1;
        head.errors += u32::from(is_error || (normalized.status >= 400));
        Profile::learn(&mut head.profile, event, &normalized);
        head.is_dirty = true;
        let is_over = head.open_until.is_some_and(|until| normalized.time > until);
        let is_changed = if is_last {
            self.append(context, name, order, normalized, settings)
        } else {
            self.insert(context, name, order, normalized, settings)
        };
        is_changed || is_error || is_over
    }
}
