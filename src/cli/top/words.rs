//! Numbers as `longsplice top` writes them, and the filter for text from outside.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::admin::ctl::text::size;

/// Range of the interval between requests.
pub(super) const INTERVALS: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(60);
/// Heights of a bar, the lowest first.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A rate in tenths a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rate(pub(super) u64);

impl Rate {
    /// Returns the rate of `more` things in `time_ms`, counted as at least one millisecond.
    pub(super) fn of(more: u64, time_ms: u64) -> Self {
        let tenths = u128::from(more) * 10_000 / u128::from(time_ms.max(1));
        Self(u64::try_from(tenths).unwrap_or(u64::MAX))
    }

    /// Writes it as things a second.
    pub(super) fn count(self) -> String {
        match self.0 {
            0 => "0/s".to_owned(),
            1..1000 => format!("{}.{}/s", self.0 / 10, self.0 % 10),
            1000..1_000_000 => format!("{}/s", self.0 / 10),
            _ => format!("{}k/s", self.0 / 10_000),
        }
    }

    /// Writes it as bytes a second.
    pub(super) fn bytes(self) -> String {
        size(self.0 / 10) + "/s"
    }
}

/// Draws values as bars, the largest of them as a full one, nothing as a blank.
pub(super) fn bars(values: &[Rate]) -> String {
    let highest = values.iter().max().map_or(0, |it| it.0).max(1);
    let bar = |it: &Rate| match it.0 {
        0 => ' ',
        value => {
            let step = u128::from(value) * 8 / u128::from(highest);
            let step = usize::try_from(step).unwrap_or(8).clamp(1, 8);
            BARS[step - 1]
        }
    };
    values.iter().map(bar).collect()
}

/// Writes the interval between requests.
pub(super) fn interval(time: Duration) -> String {
    let ms = time.as_millis();
    match ms % 1000 {
        0 => format!("{}s", ms / 1000),
        _ if ms < 1000 => format!("{ms}ms"),
        rest => format!("{}.{}s", ms / 1000, rest / 100),
    }
}

/// Replaces characters that a terminal would act on or hide: control characters, marks that change the
/// direction of text, characters without a width.
pub(super) fn clean(text: &str) -> String {
    let shown = |c: char| {
        let hidden = c.is_control()
            || matches!(
                c,
                '\u{ad}'
                    | '\u{61c}'
                    | '\u{200b}'..='\u{200f}'
                    | '\u{2028}'..='\u{202e}'
                    | '\u{2060}'..='\u{206f}'
                    | '\u{feff}'
                    | '\u{fff9}'..='\u{fffb}'
                    | '\u{e0000}'..='\u{e007f}'
            );
        if hidden { '?' } else { c }
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paces_are_short() {
        let rows = [
            ((0, 1000), "0/s", "0B/s"),
            ((1, 2000), "0.5/s", "0B/s"),
            ((99, 1000), "99.0/s", "99B/s"),
            ((100, 1000), "100/s", "100B/s"),
            ((250_000, 1000), "250k/s", "244.1KiB/s"),
            ((5, 0), "5000/s", "4.8KiB/s"),
            ((u64::MAX, 1), "1844674407370955k/s", "1677721.5TiB/s"),
        ];
        for ((more, time_ms), count, bytes) in rows {
            let rate = Rate::of(more, time_ms);
            assert_eq!(
                (rate.count().as_str(), rate.bytes().as_str()),
                (count, bytes)
            );
        }
    }

    #[test]
    fn bars_fill_what_there_is() {
        let rates = [0, 1, 50, 100, 800].map(Rate);
        assert_eq!(bars(&rates), " ▁▁▁█");
        assert_eq!(bars(&[Rate(0), Rate(0)]), "  ");
        assert_eq!(bars(&[Rate(u64::MAX), Rate(u64::MAX / 2)]), "█▃");
    }

    #[test]
    fn nothing_that_a_terminal_obeys_comes_through() {
        assert_eq!(
            clean("down: \x1b]0;owned\x07\u{9b}2J\r\n"),
            "down: ?]0;owned??2J??"
        );
        assert_eq!(clean("a\u{202e}b\u{200b}c"), "a?b?c");
        assert_eq!(clean("größe 表 ✓"), "größe 表 ✓");
    }

    #[test]
    fn intervals_read_as_they_are_typed() {
        let rows = [
            (100, "100ms"),
            (1000, "1s"),
            (1500, "1.5s"),
            (60_000, "60s"),
        ];
        for (ms, text) in rows {
            assert_eq!(interval(Duration::from_millis(ms)), text);
        }
    }
}
