//! Lost lines: counted, and reported when the log takes lines again.

use std::time::{Duration, Instant};

/// Pause between two reports, and between two attempts to report.
const PAUSE: Duration = Duration::from_secs(1);

/// Lines that were lost and not reported yet.
#[derive(Debug, Default)]
pub(super) struct Loss {
    untold: u64,
    /// The journal's count of dropped entries at the last call.
    seen_dropped: u64,
    told_at: Option<Instant>,
}

impl Loss {
    /// Adds lines that the target did not take.
    pub(super) fn add(&mut self, lines: u64) {
        self.untold += lines;
    }

    /// Notes the total number of entries that the journal has dropped.
    pub(super) fn see_dropped(&mut self, dropped: u64) {
        self.untold += dropped - self.seen_dropped;
        self.seen_dropped = dropped;
    }

    /// Returns how many lost lines to report now, at most once a second.
    pub(super) fn due(&mut self, now: Instant) -> Option<u64> {
        let waits = |told: Instant| now.duration_since(told) < PAUSE;
        if self.untold == 0 || self.told_at.is_some_and(waits) {
            return None;
        }
        self.told_at = Some(now);
        Some(self.untold)
    }

    /// Notes that `lines` were reported.
    pub(super) fn told(&mut self, lines: u64) {
        self.untold -= lines;
    }

    /// Returns when to call again although nothing else is to be written; none = nothing to report.
    pub(super) fn patience(&self) -> Option<Duration> {
        (self.untold > 0).then_some(PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_told_once_and_not_more_than_once_a_second() {
        let mut loss = Loss::default();
        let start = Instant::now();
        assert_eq!((loss.due(start), loss.patience()), (None, None));
        loss.add(2);
        loss.see_dropped(3);
        assert_eq!(loss.due(start), Some(5));
        loss.add(1);
        assert_eq!(loss.due(start + PAUSE / 2), None);
        // The first report failed; its lines are not forgotten.
        assert_eq!(loss.due(start + PAUSE), Some(6));
        loss.told(6);
        loss.see_dropped(3);
        assert_eq!((loss.due(start + 2 * PAUSE), loss.patience()), (None, None));
        loss.see_dropped(4);
        assert_eq!(loss.patience(), Some(PAUSE));
    }
}
