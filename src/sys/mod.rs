//! Everything that needs `unsafe` or speaks to the kernel in numbers, behind safe and narrow doors.

pub mod event;
pub mod probe;
