//! What checks have found out about a member, as atomics: written by main, read by anybody.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::standing::MemberStanding;

/// Changes of one member that are remembered.
const RECENT_LEN: usize = 16;

/// The history of one member.
#[derive(Debug)]
pub struct Record {
    standing: AtomicU8,
    /// Milliseconds since 1970.
    changed_ms: AtomicU64,
    changes: AtomicU64,
    passed: AtomicU64,
    failed: AtomicU64,
    /// The latest last. Only main and the admin page, which it serves, ever look.
    recent: Mutex<VecDeque<Turn>>,
}

/// A change in how a member stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// How it stands from then on.
    pub standing: MemberStanding,
    /// Why, as the log says it.
    pub why: Arc<str>,
}

impl Default for Record {
    /// Begins with a member of which nothing is known.
    fn default() -> Self {
        Self {
            standing: AtomicU8::new(number(MemberStanding::Down)),
            changed_ms: AtomicU64::new(now_ms()),
            changes: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            recent: Mutex::default(),
        }
    }
}

impl Record {
    /// Takes note of how it stands from now on, which is no change.
    pub(super) fn begin(&self, standing: MemberStanding) {
        self.standing.store(number(standing), Ordering::Relaxed);
        self.changed_ms.store(now_ms(), Ordering::Relaxed);
    }

    /// Takes note of a change.
    pub(super) fn note_change(&self, standing: MemberStanding, why: &str) {
        self.standing.store(number(standing), Ordering::Relaxed);
        let time_ms = now_ms();
        self.changed_ms.store(time_ms, Ordering::Relaxed);
        self.changes.fetch_add(1, Ordering::Relaxed);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == RECENT_LEN {
            recent.pop_front();
        }
        recent.push_back(Turn {
            time_ms,
            standing,
            why: why.into(),
        });
    }

    /// Takes note of a check.
    pub(super) fn note_check(&self, passed: bool) {
        let counter = if passed { &self.passed } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how it stands.
    #[must_use]
    pub fn standing(&self) -> MemberStanding {
        match self.standing.load(Ordering::Relaxed) {
            0 => MemberStanding::Up,
            1 => MemberStanding::Suspect,
            2 => MemberStanding::Down,
            _ => MemberStanding::Drained,
        }
    }

    /// Returns since when, in milliseconds since 1970.
    #[must_use]
    pub fn since_ms(&self) -> u64 {
        self.changed_ms.load(Ordering::Relaxed)
    }

    /// Returns the latest changes, the first of them first.
    #[must_use]
    pub fn recent(&self) -> Vec<Turn> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().cloned().collect()
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

fn number(standing: MemberStanding) -> u8 {
    match standing {
        MemberStanding::Up => 0,
        MemberStanding::Suspect => 1,
        MemberStanding::Down => 2,
        MemberStanding::Drained => 3,
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_changes_are_remembered() {
        let record = Record::default();
        record.begin(MemberStanding::Up);
        assert!(record.recent().is_empty(), "a beginning is no change");
        for number in 0..RECENT_LEN + 3 {
            record.note_change(MemberStanding::Down, &number.to_string());
        }
        let recent = record.recent();
        assert_eq!(recent.len(), RECENT_LEN);
        assert_eq!((&*recent[0].why, record.changes()), ("3", 19));
        let last = recent.last().unwrap();
        assert_eq!((&*last.why, last.standing), ("18", MemberStanding::Down));
        assert_eq!(last.time_ms, record.since_ms());
    }
}
