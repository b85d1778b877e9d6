//! What is kept under a key.

use std::sync::Arc;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::duplicates::Sequence;
use super::event::Millis;
use super::slot::Slot;
use super::small_map::SmallMap;
use super::time::KeyTime;
use super::timers::{KeyTimers, Wake};

/// What a key keeps besides entries and timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub time: KeyTime,
    /// How far the key has dropped: what was due up to here is finalised and gone (I9).
    pub dropped_through: Millis,
    /// All its records so far are those of one producer, whose sequence has no gap: they come in order (I3).
    pub is_in_order: bool,
}

impl Head {
    pub fn new(time: KeyTime) -> Self {
        Self { time, dropped_through: Millis::MIN, is_in_order: true }
    }
}

/// All that is kept under a key.
pub(super) struct KeyCell<N, E, T> {
    pub name: CompactString,
    pub head: Head,
    pub entries: SmallMap<N, Slot<E>>,
    pub timers: KeyTimers<T>,
    /// What many keys have nothing of.
    names: Option<Box<Names>>,
    /// The key's entry in the wake queue that counts.
    pub wake: Wake,
    /// When its head was last touched, as [`Slot::touched`].
    pub head_touched: u32,
}

/// The producers of a key's records, and the aliases that lead to it.
#[derive(Default)]
pub(super) struct Names {
    pub producers: SmallMap<Box<str>, Slot<Sequence>>,
    pub aliases: Vec<Arc<str>>,
}

impl<N: Ord, E, T: Ord + Clone> KeyCell<N, E, T> {
    pub fn new(name: &str, head: Head) -> Self {
        Self {
            name: name.into(),
            head,
            entries: SmallMap::default(),
            timers: KeyTimers::default(),
            names: None,
            wake: Wake::default(),
            head_touched: 0,
        }
    }

    /// Whether it can be forgotten: it has no entries, no timers and no aliases.
    pub fn is_idle(&self) -> bool {
        self.entries.is_empty() && self.timers.is_empty() && self.aliases().is_empty()
    }

    /// What its producers have sent.
    pub fn producers(&self) -> impl Iterator<Item = (&Box<str>, &Slot<Sequence>)> {
        self.names.iter().flat_map(|names| names.producers.iter())
    }

    /// What a producer has sent.
    pub fn producer(&self, name: &str) -> Option<&Slot<Sequence>> {
        self.names.as_ref()?.producers.get(name)
    }

    /// The aliases that lead here.
    pub fn aliases(&self) -> &[Arc<str>] {
        self.names.as_ref().map_or(&[], |names| &names.aliases)
    }

    /// Its producers and aliases, to be changed.
    pub fn names_mut(&mut self) -> &mut Names {
        self.names.get_or_insert_default()
    }
}

/// The tenant of a key: what stands before the first `/`.
pub(super) fn tenant_of(key: &str) -> &str {
    // A search for a `char` costs more than such a short way on foot.
    key.bytes().position(|byte| byte == b'/').map_or(key, |slash| &key[..slash])
}
