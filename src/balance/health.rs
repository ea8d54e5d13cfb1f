//! The health of one server: a state machine. It makes no checks and has no timer; results and signs
//! come in with the time, and out come a change and when to do what next.
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
//! With checks, a suspicion asks for one early check, whose result settles it. Without checks a server
//! is never down: suspicion is over by itself after [`SUSPICION`], and then one failure is enough to
//! raise it again.
//!
//! What a standing means for the line-up: `Unknown` and `Down` servers are not in it; `Suspect` ones
//! only when nobody else is. So suspicion alone never turns a request away.

use std::time::Duration;

/// Failed connects in a row that make a server suspect.
pub const SIGNS: u32 = 3;
/// How long a server stays suspect when there are no checks to settle it.
pub const SUSPICION: Duration = Duration::from_secs(10);
/// Between the beginnings of two suspicions: requests must not be able to change the line-up, or to
/// order checks, as often as they come.
pub const SUSPICION_PAUSE: Duration = Duration::from_secs(1);
/// Longest `fast_interval` unless one is given.
const FAST_INTERVAL_MAX: Duration = Duration::from_secs(1);
/// The first checks of all servers are spread over this time.
const FIRST_CHECK_WITHIN: Duration = Duration::from_millis(100);

/// How a server is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checks {
    /// From one result to the next check, while nothing changes.
    pub interval: Duration,
    /// The same while results speak against the standing; an early check comes no sooner after a result
    /// either. Usually [`Checks::fast`].
    pub fast_interval: Duration,
    /// For one check; whoever makes it looks after that.
    pub timeout: Duration,
    /// Successes in a row until a server that is down is up.
    pub rise: u32,
    /// Failures in a row until a server that is up is down.
    pub fall: u32,
}

impl Checks {
    /// Returns the `fast_interval` that goes with an interval: the same, at most a second.
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
    /// Nothing came in time.
    TimedOut,
    /// The connection ended before the answer did.
    Ended,
    /// The TLS handshake failed.
    Tls,
    /// An answer that is not HTTP, or no right answer to an upgrade.
    BadAnswer,
    /// A status that does not count as success.
    Status(u16),
}

/// What happened.
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
    /// The time of [`Next::Forgive`] is over.
    SuspicionOver,
}

/// What may be thought of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not checked yet: not to be used.
    Unknown,
    /// To be used.
    Up,
    /// To be used when nobody else is there.
    Suspect,
    /// Not to be used.
    Down,
}

/// A change of standing that the line-up and the log should know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is to be used from now on.
    Up,
    /// It is not to be used from now on.
    Down,
    /// From now on it is the last resort.
    Suspected,
    /// It is no longer suspect.
    Cleared,
}

/// What to do next, and in what time; it takes the place of what was to be done before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Check, and say what came of it. While a check is running this may be forgotten, because its
    /// result will say when the next one is due.
    Check(Duration),
    /// Say [`Event::SuspicionOver`].
    Forgive(Duration),
}

/// What comes out of an event; nothing next = as before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use]
pub struct Step {
    /// Whether the standing has changed.
    pub change: Option<Change>,
    /// What to do next.
    pub next: Option<Next>,
}

/// The health of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    checks: Option<Checks>,
    state: State,
    /// Connects for clients that failed since one worked.
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
    /// Begins with a server of which nothing is known: without checks it is up, with checks it is to be
    /// checked at once, `random` being any number.
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

    /// Goes on under other settings. A server in use stays in use until a check says otherwise; one
    /// that is no longer checked is up.
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

    /// Takes in what happened at `now`, a time since any fixed moment; `random` is any number, uniform
    /// over all of them.
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
                // Tried again, but not trusted: the next sign is enough.
                self.signs = SIGNS - 1;
                Step {
                    change: self.clear(),
                    next: None,
                }
            }
            // Late news of a time with other settings.
            (Event::CheckPassed | Event::CheckFailed(_), None)
            | (Event::SuspicionOver, Some(_)) => Step::default(),
        }
    }

    /// Returns what may be thought of it now.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match self.state {
            State::Unknown => Standing::Unknown,
            State::Up { .. } => Standing::Up,
            State::Suspect { .. } => Standing::Suspect,
            State::Down { .. } => Standing::Down,
        }
    }

    /// Returns how many connects are known to have failed since one worked.
    #[must_use]
    pub fn signs(&self) -> u32 {
        self.signs
    }

    /// Returns when it came back from being down; none when it is not up, or has never been down.
    #[must_use]
    pub fn came_back_at(&self) -> Option<Duration> {
        self.came_back_at
    }

    /// Returns why the last check that failed did.
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

    /// Returns when the next check is due: soon while results speak against the standing.
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

/// Returns the part of a time that a random number is of all numbers.
fn fraction(of: Duration, random: u64) -> Duration {
    // A time has fewer than 2^94 nanoseconds, so 32 bits of the number leave room for the product.
    let nanos = (of.as_nanos() * u128::from(random >> 32)) >> 32;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
