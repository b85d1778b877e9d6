//! The path of the pointer.

use serde::{Deserialize, Serialize};

use crate::families::interactions::event::{Moves, Point};

/// The path of the pointer within one record, reduced to its turns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointerPath {
    /// When it turned back: ms after the record's time.
    pub turns: Vec<i32>,
    /// The direction in which it began.
    pub begins: (i32, i32),
    /// The direction in which it ended.
    pub ends: (i32, i32),
}

impl PointerPath {
    /// The path of some moves; `None` where the pointer stayed. A turn is where the direction changes by more than 90°; steps shorter than `least` px have none.
    pub fn of(moves: &Moves, least: i32) -> Option<Self> {
        let mut points = moves.points.iter();
        let mut from: Point = *points.next()?;
        let mut path: Option<Self> = None;
        for point in points {
            let step = (point.x.saturating_sub(from.x), point.y.saturating_sub(from.y));
            if i64::from(step.0).pow(2) + i64::from(step.1).pow(2) < i64::from(least).pow(2) {
                continue;
            }
            match &mut path {
                None => path = Some(Self { turns: Vec::new(), begins: step, ends: step }),
                Some(path) => {
                    if turns_back(path.ends, step) && path.turns.len() < 64 {
                        path.turns.push(from.after);
                    }
                    path.ends = step;
                }
            }
            from = *point;
        }
        path
    }
}

/// Whether two directions are more than 90° apart.
pub fn turns_back(one: (i32, i32), other: (i32, i32)) -> bool {
    i64::from(one.0) * i64::from(other.0) + i64::from(one.1) * i64::from(other.1) < 0
}
