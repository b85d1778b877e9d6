//! What a log is for: looking back. Why a row is what it is ([`explain`]).

pub mod explain;
