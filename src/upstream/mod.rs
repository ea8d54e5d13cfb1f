//! Backends at run time: their members, the standing of each, the choice for the next connection, and the
//! queue.
//!
//! The control thread publishes an immutable [`Lineup`] at every change; reception reads it, takes a
//! [`Reservation`] at a member, and gives it back by dropping it. Loads are shared atomics. No lock is taken
//! while there is room; when there is none, `queue` keeps the order.

pub mod check;
pub mod client_tls;
mod denied;
mod lineup;
mod member;
pub mod names;
mod places;
mod queue;
mod random;
mod record;
mod roster;
mod standing;
mod supervisor;
#[cfg(test)]
mod tests;

pub use denied::Denied;
pub use lineup::{Lineup, Seat};
pub use member::{Address, Member, MemberId, SUSPECT_FAILURES, Traffic, Wish};
pub use places::{Reservation, Upstream};
pub use queue::InLine;
pub use record::{Record, Turn};
pub use standing::MemberStanding;
pub use supervisor::{Supervisor, supervise};
