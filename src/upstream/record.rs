//! What checks have found out about a member, as atomics: written by main, read by anybody.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::Standing;

/// The history of one member.
#[derive(Debug)]
pub struct Record {
    standing: AtomicU8,
    /// Milliseconds since 1970.
    changed_ms: AtomicU64,
    changes: AtomicU64,
    passed: AtomicU64,
    failed: AtomicU64,
    /// Only main and the admin page, which it serves, ever look.
    why: Mutex<Arc<str>>,
}

impl Default for Record {
    /// Begins with a member of which nothing is known.
    fn default() -> Self {
        Self {
            standing: AtomicU8::new(number(Standing::Down)),
            changed_ms: AtomicU64::new(now_ms()),
            changes: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            why: Mutex::new("".into()),
        }
    }
}

impl Record {
    /// Takes note of how it stands from now on, which is no change.
    pub(super) fn begin(&self, standing: Standing) {
        self.standing.store(number(standing), Ordering::Relaxed);
        self.changed_ms.store(now_ms(), Ordering::Relaxed);
    }

    /// Takes note of a change.
    pub(super) fn note_change(&self, standing: Standing, why: &str) {
        self.standing.store(number(standing), Ordering::Relaxed);
        self.changed_ms.store(now_ms(), Ordering::Relaxed);
        self.changes.fetch_add(1, Ordering::Relaxed);
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = why.into();
    }

    /// Takes note of a check.
    pub(super) fn note_check(&self, passed: bool) {
        let counter = if passed { &self.passed } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match self.standing.load(Ordering::Relaxed) {
            0 => Standing::Up,
            1 => Standing::Suspect,
            2 => Standing::Down,
            _ => Standing::Drained,
        }
    }

    /// Returns since when, and why; the reason is empty until the first change.
    #[must_use]
    pub fn since(&self) -> (SystemTime, Arc<str>) {
        let ms = Duration::from_millis(self.changed_ms.load(Ordering::Relaxed));
        let why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        (SystemTime::UNIX_EPOCH + ms, Arc::clone(&why))
    }

    /// Returns how often that changed.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Returns how many checks were passed, and how many were not.
    #[must_use]
    pub fn checks(&self) -> (u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.passed), read(&self.failed))
    }
}

fn number(standing: Standing) -> u8 {
    match standing {
        Standing::Up => 0,
        Standing::Suspect => 1,
        Standing::Down => 2,
        Standing::Drained => 3,
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
