//! Choosing a server. Pure: load, ticket and randomness are passed in, an index comes out.
//!
//! A [`Chooser`] is prepared once per line-up of servers and then shared by all threads; a choice allocates
//! nothing and changes nothing. Other modules decide which servers are in the line-up ([`health`] helps) and
//! how often a request is retried.
//!
//! | method | a choice costs | its tables |
//! |---|---|---|
//! | `source` | one hash per server | 16 bytes per server |
//! | `round_robin` | one look at a table; more when servers are full | 2 bytes per unit of weight, common divisor taken out |
//! | `least_connections` | one look at each server's load, two when several are equal | none |
//! | `random_two` | two searches by halves | 4 bytes per server |
//! | `maglev` | one look at a table | 128 KiB |

mod chooser;
mod hash;
pub mod health;
mod load;
mod maglev;
mod method;
pub mod ramp;
mod rotation;
mod source;
#[cfg(test)]
mod tests;
mod vocabulary;

pub use chooser::{CANDIDATES_MAX, Chooser};
pub(crate) use hash::mix;
pub use method::Method;
pub use vocabulary::{Asking, Candidate, Load, Pick};
