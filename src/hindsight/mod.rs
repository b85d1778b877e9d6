//! What a log is for: looking back. What other settings would have found ([`backtest`]).

pub mod backtest;
