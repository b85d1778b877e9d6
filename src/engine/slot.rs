//! A value of the state, and when it was last touched.

/// A value, and in which commit it was last touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot<T> {
    pub value: T,
    pub touched: u32,
}

impl<T> Slot<T> {
    /// A value that no commit has touched yet.
    pub fn new(value: T) -> Self {
        Self { value, touched: 0 }
    }
}
