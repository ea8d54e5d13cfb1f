//! The process: start, signals, drain.
