//! The engine, without I/O: a task folds one partition of one family topic (I2).
//!
//! A [`Task`] is fed records in the order of the log, each with its append time. It keeps the partition's clock, each
//! key's time (`time`), its timers (`timers`) and what has been seen (`duplicates`), and calls the [`Operator`] when
//! a record is to be folded or a timer fires. What comes back are rows. No Kafka, no tokio, no clock, no randomness in
//! here: the same records give the same rows, which is what makes replay, backtest and exactly-once possible.
//!
//! State is kept in cells (`state`), of which a record that fails is undone (`undo`), and which are written down (`changelog`) in
//! blocks (`packed`, `frame`). [`Windowed`] makes an
//! operator of an [`Aggregate`]; a [`TestDriver`] runs a task in memory.

mod accounting;
mod cells;
mod changelog;
mod cursor;
mod driver;
mod duplicates;
mod event;
mod evidence;
mod frame;
pub mod id;
mod key_cell;
mod operator;
mod packed;
mod record;
pub mod rows;
mod settings;
mod slot;
mod small_map;
mod state;
mod task;
mod time;
mod timers;
mod undo;
mod window;
mod windowed;

pub use accounting::{Counts, Outcome};
pub use changelog::RestoreError;
pub use cursor::Totals;
pub use driver::{Snapshot, TestDriver, cells};
pub use event::{Event, Identity, Millis};
pub use evidence::EvidenceState;
pub use frame::{Block, BlockKind, BlockReader, FrameError};
pub use operator::{Context, KEY_LIMIT, Operator, Rejection};
pub use record::{Payload, Record, TEXT_KEPT, VALUE_KEPT};
pub use settings::{FamilySettings, TenantSettings};
pub use task::{Checkpoint, Restore, Step, Task};
pub use time::{FUTURE_LIMIT, KeyTime};
pub use window::{FixedWindows, Placement, SessionWindows, Window};
pub use windowed::{Aggregate, Emission, WindowKind, Windowed, WindowedEntry};
