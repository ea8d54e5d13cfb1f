//! Everything that needs `unsafe` or raw kernel constants, behind safe and narrow interfaces.

pub mod async_fd;
pub mod capabilities;
pub mod clock;
pub mod epoll;
pub mod event;
pub mod inherited;
pub mod ktls;
pub mod peer;
pub mod pipe;
pub mod poll;
pub mod probe;
pub mod ring;
pub mod signals;
pub mod stream;
pub mod thread;
pub mod unix_path;
