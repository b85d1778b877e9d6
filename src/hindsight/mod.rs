//! What a log is for: looking back. What other settings would have found ([`backtest`]); why a row is what it is
//! ([`explain`]).

pub mod backtest;
pub mod explain;
