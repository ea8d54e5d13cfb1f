//! Drains of any size, with calls at various times and tunnels that end by themselves.

use proptest::prelude::*;

use super::*;

const BUCKET: Duration = Duration::from_millis(500);

/// One drain.
#[derive(Debug, Clone)]
struct Drain {
    tunnels: usize,
    window_ms: u64,
    rate: Option<NonZeroUsize>,
    seed: u64,
    /// Delays of calls in milliseconds, repeated.
    late: Vec<u64>,
    /// How many of a thousand tunnels end by themselves between two calls.
    leaving: usize,
}

impl Drain {
    /// Returns times and numbers of ends, until no tunnel is left.
    fn ends(&self) -> Vec<(Duration, usize)> {
        let window = Duration::from_millis(self.window_ms);
        let mut pace = Pace::new(window, self.rate, self.seed);
        let (mut left, mut now) = (self.tunnels, Duration::ZERO);
        let mut ends = Vec::new();
        for late in self.late.iter().cycle() {
            let due = pace.due(now, left);
            assert!(due <= left, "{due} of {left}");
            if due > 0 {
                ends.push((now, due));
            }
            left -= due;
            left -= left * self.leaving / 1000;
            if left == 0 {
                return ends;
            }
            now += pace.pause() + Duration::from_millis(*late);
            assert!(now < pace.length(self.tunnels) * 2 + SECOND, "no end of it");
        }
        ends
    }
}

fn within(ends: &[(Duration, usize)], from: Duration, len: Duration) -> usize {
    let inside = ends
        .iter()
        .filter(|(at, _)| *at >= from && *at < from + len);
    inside.map(|(_, count)| count).sum()
}

fn drains() -> impl Strategy<Value = Drain> {
    let rate = prop_oneof![Just(None), (1_usize..5_000).prop_map(NonZeroUsize::new)];
    let late = prop::collection::vec(0_u64..20, 1..20);
    (
        1_usize..5_000,
        1_u64..60_000,
        rate,
        any::<u64>(),
        late,
        0_usize..30,
    )
        .prop_map(|(tunnels, window_ms, rate, seed, late, leaving)| Drain {
            tunnels,
            window_ms,
            rate,
            seed,
            late,
            leaving,
        })
}

proptest! {
    #[test]
    fn all_end_by_the_end_of_the_window(drain in drains()) {
        let drain = Drain { rate: None, leaving: 0, ..drain };
        let ends = drain.ends();
        let all: usize = ends.iter().map(|(_, count)| count).sum();
        prop_assert_eq!(all, drain.tunnels);
        let look = Duration::from_millis(95);
        let last = ends.last().unwrap().0;
        prop_assert!(last <= Duration::from_millis(drain.window_ms) + look, "{:?}", last);
    }

    #[test]
    fn no_bucket_has_more_than_twice_its_share(drain in drains()) {
        // A window of whole buckets; at its very end those are told that are left.
        let buckets = drain.window_ms / 500 + 1;
        let drain = Drain { window_ms: buckets * 500, rate: None, ..drain };
        let ends = drain.ends();
        let share = drain.tunnels.div_ceil(usize::try_from(buckets).unwrap());
        for bucket in 0..=u32::try_from(buckets).unwrap() {
            let count = within(&ends, BUCKET * bucket, BUCKET);
            prop_assert!(count <= share * 2, "{} in {}, share {}", count, bucket, share);
        }
    }

    #[test]
    fn the_rate_is_kept(drain in drains()) {
        let rate = drain.rate.map_or(100, NonZeroUsize::get);
        let drain = Drain { rate: NonZeroUsize::new(rate), ..drain };
        let ends = drain.ends();
        // Ends that came due since the last call come late, so a second may have a call's share more.
        let most = rate + rate / 10 + 2;
        for (from, _) in &ends {
            let count = within(&ends, *from, SECOND);
            prop_assert!(count <= most, "{} from {:?} on, {} at most", count, from, most);
        }
    }
}

fn big() -> Drain {
    Drain {
        tunnels: 2000,
        window_ms: 20_000,
        rate: None,
        seed: 1,
        late: vec![0],
        leaving: 0,
    }
}

#[test]
fn ends_are_not_in_step() {
    let ends = big().ends();
    let counts: std::collections::BTreeSet<usize> = ends.iter().map(|(_, count)| *count).collect();
    assert!(counts.len() > 2, "{counts:?}");
    let other = Drain { seed: 2, ..big() };
    assert_ne!(ends, other.ends(), "two nodes are in step");
}

#[test]
fn a_rate_that_is_too_slow_for_the_window_wins() {
    let slow = Drain {
        rate: NonZeroUsize::new(50),
        ..big()
    };
    let last = slow.ends().last().unwrap().0;
    assert!((38..=41).contains(&last.as_secs()), "{last:?}");
    let pace = Pace::new(Duration::from_secs(20), slow.rate, 0);
    assert_eq!(pace.length(2000), Duration::from_secs(40));
    assert_eq!(pace.length(1000), Duration::from_secs(20));
}

#[test]
fn what_was_missed_is_spread_again() {
    let mut pace = Pace::new(Duration::from_secs(20), None, 1);
    assert!(pace.due(Duration::ZERO, 2000) <= 1);
    // No call for ten seconds, in which a thousand ends came due.
    let due = pace.due(Duration::from_secs(10), 1999);
    assert!((1..=25).contains(&due), "{due}");
    let left = 1999 - due;
    let due = pace.due(Duration::from_secs(11), left);
    assert!(due <= 50, "{due}");
    // And at the end all remaining ones are due.
    assert_eq!(pace.due(Duration::from_secs(20), left - due), left - due);
}

#[test]
fn those_that_come_late_are_spread_too() {
    let mut pace = Pace::new(Duration::from_secs(20), None, 1);
    assert_eq!(pace.due(Duration::from_secs(10), 0), 0);
    let due = pace.due(Duration::from_secs(10), 100);
    assert!(due <= 2, "{due}");
    assert_eq!(pace.due(Duration::from_secs(25), 7), 7);
}

#[test]
fn threads_are_emptied_evenly() {
    for (due, left, expected) in [
        (0, &[5, 5][..], &[0, 0][..]),
        (1, &[5, 6], &[0, 1]),
        (5, &[2, 9, 4], &[0, 5, 0]),
        (6, &[2, 9, 4], &[0, 5, 1]),
        (15, &[2, 9, 4], &[2, 9, 4]),
        (99, &[2, 9, 4], &[2, 9, 4]),
        (3, &[], &[]),
    ] {
        assert_eq!(divide(due, left), expected, "{due} of {left:?}");
    }
}
