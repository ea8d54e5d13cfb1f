//! The health of one server: a state machine. It runs no checks and has no timer; results of checks and of
//! connections come in with their time, changes and due times come out.
//!
//! ```text
//!              first passed                 3 connects failed
//!  Unknown ------------------> Up ----------------------------> Suspect
//!     |                       |  ^  <-------------------------   |
//!     | first failed    fall  |  |      passed, connected,       | fall
//!     |                       v  | rise      10 s over           |
//!     +-----------------------> Down <---------------------------+
//! ```
//!
//! With checks, a suspicion orders one early check, whose result settles it. Without checks a server is never
//! down: the suspicion ends after [`SUSPICION`], and one failure is then enough to raise it again.
//!
//! Effect on the line-up: `Unknown` and `Down` servers are left out; `Suspect` ones are used only if no other
//! server is left. So suspicion alone never turns a request away.

use std::time::Duration;

/// Failed connects in a row that make a server suspect.
pub const SIGNS: u32 = 3;
/// Time for which a server stays suspect when there are no checks to settle it.
pub const SUSPICION: Duration = Duration::from_secs(10);
/// Shortest time between the beginnings of two suspicions, so that frequent requests cannot change the
/// line-up, or order checks, as often as they come.
pub const SUSPICION_PAUSE: Duration = Duration::from_secs(1);
/// Longest `fast_interval` unless one is given.
const FAST_INTERVAL_MAX: Duration = Duration::from_secs(1);
/// The first checks of all servers are spread over this time.
const FIRST_CHECK_WITHIN: Duration = Duration::from_millis(100);

/// How a server is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checks {
    /// Time from a result to the next check, while the results confirm the standing.
    pub interval: Duration,
    /// Time from a result to the next check while the results contradict the standing, and the shortest time
    /// to an early check. Usually [`Checks::fast`].
    pub fast_interval: Duration,
    /// Time limit of one check; the code that runs the check enforces it.
    pub timeout: Duration,
    /// Successes in a row until a server that is down is up.
    pub rise: u32,
    /// Failures in a row until a server that is up is down.
    pub fall: u32,
}

impl Checks {
    /// Returns the default `fast_interval` of an interval: the same, at most a second.
    #[must_use]
    pub fn fast(interval: Duration) -> Duration {
        interval.min(FAST_INTERVAL_MAX)
    }
}

/// Why a check failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its name has no address.
    Unresolved,
    /// The connection was refused.
    Refused,
    /// The address cannot be reached.
    Unreachable,
    /// No answer within the time limit.
    TimedOut,
    /// The connection ended before the answer did.
    Ended,
    /// The TLS handshake failed.
    Tls,
    /// An answer that is not HTTP, or not a valid answer to an upgrade.
    BadAnswer,
    /// A status that is not a success.
    Status(u16),
}

/// An event in the life of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A check succeeded.
    CheckPassed,
    /// A check failed.
    CheckFailed(Reason),
    /// A connection for a client was established.
    ConnectWorked,
    /// A connection for a client could not be established.
    ConnectFailed,
    /// The time of [`Next::Forgive`] has passed.
    SuspicionOver,
}

/// The standing of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not checked yet, so not used.
    Unknown,
    /// Used.
    Up,
    /// Used only if no other server is left.
    Suspect,
    /// Not used.
    Down,
}

/// A change of standing, for the line-up and the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The server is used from now on.
    Up,
    /// The server is not used from now on.
    Down,
    /// The server is a last resort from now on.
    Suspected,
    /// The server is no longer suspect.
    Cleared,
}

/// The next thing to do, and when; it replaces the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Run a check and report its result. While a check is running this may be ignored, because the result
    /// gives the next due time.
    Check(Duration),
    /// Report [`Event::SuspicionOver`].
    Forgive(Duration),
}

/// Result of an event; no `next` = as before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use]
pub struct Step {
    /// The change of standing, if there is one.
    pub change: Option<Change>,
    /// The next thing to do.
    pub next: Option<Next>,
}

/// The health of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    checks: Option<Checks>,
    state: State,
    /// Failed connects for clients since the last that worked.
    signs: u32,
    checked_at: Option<Duration>,
    suspected_at: Option<Duration>,
    came_back_at: Option<Duration>,
    last_failure: Option<Reason>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unknown,
    Up { failures: u32 },
    Suspect { failures: u32 },
    Down { successes: u32 },
}

impl Health {
    /// Makes the state of a new server: without checks it is up, with checks it is checked at once. `random`
    /// is any number.
    pub fn new(checks: Option<Checks>, random: u64) -> (Self, Step) {
        let state = match checks {
            Some(_) => State::Unknown,
            None => State::Up { failures: 0 },
        };
        let health = Self {
            checks,
            state,
            signs: 0,
            checked_at: None,
            suspected_at: None,
            came_back_at: None,
            last_failure: None,
        };
        let next = checks.map(|_| first_check(random));
        (health, Step { change: None, next })
    }

    /// Changes to other settings. A server in use stays in use until a check fails often enough; one that is
    /// no longer checked is up.
    pub fn reconfigure(&mut self, checks: Option<Checks>, random: u64) -> Step {
        let before = std::mem::replace(&mut self.checks, checks);
        if before == checks {
            return Step::default();
        }
        let change = match (checks, self.state) {
            (Some(_), _) | (None, State::Up { .. }) => None,
            (None, State::Suspect { .. }) => self.clear(),
            (None, State::Unknown | State::Down { .. }) => self.rise(None),
        };
        let next = checks.map(|_| first_check(random));
        Step { change, next }
    }

    /// Processes an event at `now`, a time since any fixed moment; `random` is any number, uniform over all
    /// values.
    pub fn on(&mut self, event: Event, now: Duration, random: u64) -> Step {
        match (event, self.checks) {
            (Event::CheckPassed, Some(checks)) => {
                self.checked_at = Some(now);
                let change = self.passed(checks, now);
                self.step(change, checks, random)
            }
            (Event::CheckFailed(reason), Some(checks)) => {
                self.checked_at = Some(now);
                self.last_failure = Some(reason);
                let change = self.failed(checks);
                self.step(change, checks, random)
            }
            (Event::ConnectFailed, _) => self.connect_failed(now),
            (Event::ConnectWorked, _) => {
                self.signs = 0;
                Step {
                    change: self.clear(),
                    next: None,
                }
            }
            (Event::SuspicionOver, None) => {
                // Used again, but not trusted: the next failed connect is enough.
                self.signs = SIGNS - 1;
                Step {
                    change: self.clear(),
                    next: None,
                }
            }
            // Late result of a check under earlier settings.
            (Event::CheckPassed | Event::CheckFailed(_), None)
            | (Event::SuspicionOver, Some(_)) => Step::default(),
        }
    }

    /// Returns the present standing.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match self.state {
            State::Unknown => Standing::Unknown,
            State::Up { .. } => Standing::Up,
            State::Suspect { .. } => Standing::Suspect,
            State::Down { .. } => Standing::Down,
        }
    }

    /// Returns how many connects in a row are known to have failed.
    #[must_use]
    pub fn signs(&self) -> u32 {
        self.signs
    }

    /// Returns when it last came back from being down; none if it is not up, or was never down.
    #[must_use]
    pub fn came_back_at(&self) -> Option<Duration> {
        self.came_back_at
    }

    /// Returns why the last failed check failed.
    #[must_use]
    pub fn last_failure(&self) -> Option<Reason> {
        self.last_failure
    }

    fn passed(&mut self, checks: Checks, now: Duration) -> Option<Change> {
        self.signs = 0;
        match self.state {
            State::Unknown => self.rise(None),
            State::Up { .. } => {
                self.state = State::Up { failures: 0 };
                None
            }
            State::Suspect { .. } => {
                self.state = State::Suspect { failures: 0 };
                self.clear()
            }
            State::Down { successes } if successes + 1 >= checks.rise => self.rise(Some(now)),
            State::Down { successes } => {
                self.state = State::Down {
                    successes: successes + 1,
                };
                None
            }
        }
    }

    fn failed(&mut self, checks: Checks) -> Option<Change> {
        let another = |failures: u32| failures + 1 < checks.fall;
        self.state = match self.state {
            State::Up { failures } if another(failures) => State::Up {
                failures: failures + 1,
            },
            State::Suspect { failures } if another(failures) => State::Suspect {
                failures: failures + 1,
            },
            State::Down { .. } => State::Down { successes: 0 },
            State::Unknown | State::Up { .. } | State::Suspect { .. } => {
                self.signs = 0;
                self.came_back_at = None;
                self.state = State::Down { successes: 0 };
                return Some(Change::Down);
            }
        };
        None
    }

    fn rise(&mut self, came_back_at: Option<Duration>) -> Option<Change> {
        self.signs = 0;
        self.came_back_at = came_back_at;
        self.state = State::Up { failures: 0 };
        Some(Change::Up)
    }

    fn clear(&mut self) -> Option<Change> {
        let State::Suspect { failures } = self.state else {
            return None;
        };
        self.state = State::Up { failures };
        Some(Change::Cleared)
    }

    fn connect_failed(&mut self, now: Duration) -> Step {
        self.signs = self.signs.saturating_add(1);
        let State::Up { failures } = self.state else {
            return Step::default();
        };
        let lately = self
            .suspected_at
            .is_some_and(|at| now < at + SUSPICION_PAUSE);
        if self.signs < SIGNS || lately {
            return Step::default();
        }
        self.state = State::Suspect { failures };
        self.suspected_at = Some(now);
        let next = match self.checks {
            Some(checks) => {
                let due = self.checked_at.map(|at| at + checks.fast_interval);
                Next::Check(due.map_or(Duration::ZERO, |due| due.saturating_sub(now)))
            }
            None => Next::Forgive(SUSPICION),
        };
        Step {
            change: Some(Change::Suspected),
            next: Some(next),
        }
    }

    /// Returns the time of the next check: soon while results contradict the standing.
    fn step(&self, change: Option<Change>, checks: Checks, random: u64) -> Step {
        let delay = match self.state {
            State::Unknown | State::Up { failures: 0 } | State::Down { successes: 0 } => {
                checks.interval
            }
            State::Up { .. } | State::Suspect { .. } | State::Down { .. } => checks.fast_interval,
        };
        Step {
            change,
            next: Some(Next::Check(jitter(delay, random))),
        }
    }
}

/// Returns a time of 90 to 110 percent of a delay, so that the checks of many servers, and of many
/// proxies, do not stay in step.
fn jitter(delay: Duration, random: u64) -> Duration {
    delay - delay / 10 + fraction(delay / 5, random)
}

fn first_check(random: u64) -> Next {
    Next::Check(fraction(FIRST_CHECK_WITHIN, random))
}

/// Scales a time by a random number, as a fraction of all values.
fn fraction(of: Duration, random: u64) -> Duration {
    // A time has fewer than 2^94 nanoseconds, so 32 bits of the number leave room for the product.
    let nanos = (of.as_nanos() * u128::from(random >> 32)) >> 32;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
