#![forbid(unsafe_code)]
pub mod codec;
pub mod config;
pub mod event;
pub mod log;
