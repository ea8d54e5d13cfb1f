//! The history of a member's checks, as atomics: written by the control thread, read by all.

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
    /// Time of the last change, in milliseconds since 1970.
    changed_ms: AtomicU64,
    changes: AtomicU64,
    passed: AtomicU64,
    failed: AtomicU64,
    /// Oldest change first. Only the control thread and the admin page, which runs on it, take this lock.
    recent: Mutex<VecDeque<Turn>>,
}

/// A change of a member's standing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// The new standing.
    pub standing: MemberStanding,
    /// The reason, as in the log.
    pub why: Arc<str>,
}

impl Default for Record {
    /// Makes the history of a new member.
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
    /// Sets the first standing, which does not count as a change.
    pub(super) fn begin(&self, standing: MemberStanding) {
        self.standing.store(number(standing), Ordering::Relaxed);
        self.changed_ms.store(now_ms(), Ordering::Relaxed);
    }

    /// Records a change of standing.
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

    /// Counts a check.
    pub(super) fn note_check(&self, passed: bool) {
        let counter = if passed { &self.passed } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the present standing.
    #[must_use]
    pub fn standing(&self) -> MemberStanding {
        match self.standing.load(Ordering::Relaxed) {
            0 => MemberStanding::Up,
            1 => MemberStanding::Suspect,
            2 => MemberStanding::Down,
            _ => MemberStanding::Drained,
        }
    }

    /// Returns the time of the last change, in milliseconds since 1970.
    #[must_use]
    pub fn since_ms(&self) -> u64 {
        self.changed_ms.load(Ordering::Relaxed)
    }

    /// Returns the latest changes, oldest first.
    #[must_use]
    pub fn recent(&self) -> Vec<Turn> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().cloned().collect()
    }

    /// Returns the number of changes.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Returns how many checks were passed and how many failed.
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
