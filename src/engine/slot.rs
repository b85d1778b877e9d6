//! A value of the state, and when it was last touched.

/// A value, and the number of the delta that it was last touched in; 0 before all.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Slot<T> {
    pub value: T,
    pub touched: u32,
}

impl<T> Slot<T> {
    /// A value that was written down.
    pub fn new(value: T) -> Self {
        Self { value, touched: 0 }
    }
}
