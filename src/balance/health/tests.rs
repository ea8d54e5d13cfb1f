//! The result of each event, as words, and the state kept.

use super::*;

const CHECKS: Checks = Checks {
    interval: Duration::from_secs(10),
    fast_interval: Duration::from_millis(800),
    timeout: Duration::from_secs(2),
    rise: 2,
    fall: 3,
};
/// Half of all values: no jitter.
const MIDDLE: u64 = 1 << 63;

/// Feeds events to a new server, and returns the result of each.
///
/// P and F are results of checks, w and f connects that worked and failed, o is the end of a
/// suspicion; a number lets so many milliseconds pass.
fn play(checks: Option<Checks>, script: &str) -> String {
    let (mut health, _) = Health::new(checks, MIDDLE);
    let mut now = Duration::from_secs(1000);
    let mut lines = Vec::new();
    for word in script.split_whitespace() {
        let event = match word {
            "P" => Event::CheckPassed,
            "F" => Event::CheckFailed(Reason::Refused),
            "w" => Event::ConnectWorked,
            "f" => Event::ConnectFailed,
            "o" => Event::SuspicionOver,
            pause => {
                now += Duration::from_millis(pause.parse().unwrap());
                continue;
            }
        };
        let step = health.on(event, now, MIDDLE);
        let next = match step.next {
            Some(Next::Check(delay)) => format!("c{}", delay.as_millis()),
            Some(Next::Forgive(delay)) => format!("o{}", delay.as_millis()),
            None => "-".to_owned(),
        };
        let change = step
            .change
            .map_or(String::new(), |change| format!("{change:?}:"));
        lines.push(change + &next);
    }
    lines.push(format!("{:?}", health.standing()));
    lines.join(" ")
}

#[test]
fn standings_change_as_results_and_signs_say() {
    let on = Some(CHECKS);
    let rows = [
        // One result settles the standing; connects do not affect it.
        (on, "", "Unknown"),
        (on, "P", "Up:c10000 Up"),
        (on, "F", "Down:c10000 Down"),
        (on, "f f f f w", "- - - - - Unknown"),
        // `fall` failures in a row, checked faster while they contradict the standing.
        (on, "P F F P F F", "Up:c10000 c800 c800 c10000 c800 c800 Up"),
        (
            on,
            "P F F F F",
            "Up:c10000 c800 c800 Down:c10000 c10000 Down",
        ),
        // `rise` successes in a row.
        (on, "F P F P P", "Down:c10000 c800 c10000 c800 Up:c10000 Up"),
        (on, "F f f f P P", "Down:c10000 - - - c800 Up:c10000 Up"),
        (on, "F w w w", "Down:c10000 - - - Down"),
        // Three failed connects in a row ask for a check at once, but not sooner after the one
        // before than the fast interval.
        (on, "P 5000 f f f", "Up:c10000 - - Suspected:c0 Suspect"),
        (
            on,
            "P 300 f f f f",
            "Up:c10000 - - Suspected:c500 - Suspect",
        ),
        (on, "P f f w f f", "Up:c10000 - - - - - Up"),
        // Results that settle a suspicion.
        (
            on,
            "P 900 f f f P f f",
            "Up:c10000 - - Suspected:c0 Cleared:c10000 - - Up",
        ),
        (
            on,
            "P 900 f f f w",
            "Up:c10000 - - Suspected:c0 Cleared:- Up",
        ),
        (
            on,
            "P 900 f f f F o P",
            "Up:c10000 - - Suspected:c0 c800 - Cleared:c10000 Up",
        ),
        (
            on,
            "P 900 f f f F F F",
            "Up:c10000 - - Suspected:c0 c800 c800 Down:c10000 Down",
        ),
        (
            on,
            "P F F f f f F",
            "Up:c10000 c800 c800 - - Suspected:c800 Down:c10000 Down",
        ),
        // Failures before it and in it count together; a connect does not undo a failed check.
        (
            on,
            "P F f f f F w F",
            "Up:c10000 c800 - - Suspected:c800 c800 Cleared:- Down:c10000 Down",
        ),
        // At most one suspicion begins per second, however many connects fail.
        (
            on,
            "P 900 f f f w f f f 900 f 100 f",
            "Up:c10000 - - Suspected:c0 Cleared:- - - - - Suspected:c0 Suspect",
        ),
        // Without checks it is up from the start and never down.
        (None, "", "Up"),
        (None, "f f f f f", "- - Suspected:o10000 - - Suspect"),
        (None, "f f w f f f", "- - - - - Suspected:o10000 Suspect"),
        (None, "f f f w", "- - Suspected:o10000 Cleared:- Up"),
        (
            None,
            "f f f 10000 o f",
            "- - Suspected:o10000 Cleared:- Suspected:o10000 Suspect",
        ),
        (
            None,
            "f f f 10000 o w f f",
            "- - Suspected:o10000 Cleared:- - - - Up",
        ),
        (None, "P F F F F", "- - - - - Up"),
    ];
    for (checks, script, expected) in rows {
        assert_eq!(play(checks, script), expected, "{script}");
    }
    let once = Checks {
        rise: 1,
        fall: 1,
        ..CHECKS
    };
    assert_eq!(
        play(Some(once), "P F P"),
        "Up:c10000 Down:c10000 Up:c10000 Up"
    );
}

#[test]
fn returns_and_failures_are_remembered() {
    let (mut health, _) = Health::new(Some(CHECKS), 0);
    let at = Duration::from_secs;
    let mut on = |event, now| {
        let step = health.on(event, at(now), 0);
        (step.change, health.came_back_at(), health.last_failure())
    };
    let [passed, failed] = [Event::CheckPassed, Event::CheckFailed(Reason::Status(500))];
    let status = Some(Reason::Status(500));
    // The first rise is a beginning, not a return.
    assert_eq!(on(passed, 1), (Some(Change::Up), None, None));
    let _ = [on(failed, 2), on(failed, 3)];
    assert_eq!(on(failed, 4), (Some(Change::Down), None, status));
    assert_eq!(on(passed, 5), (None, None, status));
    assert_eq!(on(passed, 6), (Some(Change::Up), Some(at(6)), status));
    let _ = [on(failed, 7), on(failed, 8)];
    assert_eq!(on(failed, 9), (Some(Change::Down), None, status));
}

#[test]
fn other_settings_keep_a_server_in_use_until_a_check() {
    let (up, _) = Health::new(None, MIDDLE);
    let mut checked = up.clone();
    let step = checked.reconfigure(Some(CHECKS), MIDDLE);
    assert_eq!(step.next, Some(Next::Check(FIRST_CHECK_WITHIN / 2)));
    assert_eq!((step.change, checked.standing()), (None, Standing::Up));
    assert_eq!(checked.reconfigure(Some(CHECKS), 0), Step::default());
    for fail in [Event::CheckFailed(Reason::TimedOut); 3] {
        let _ = checked.on(fail, Duration::ZERO, 0);
    }
    assert_eq!(checked.standing(), Standing::Down);
    let change = Some(Change::Up);
    assert_eq!(checked.reconfigure(None, 0), Step { change, next: None });
    for _ in 0..SIGNS {
        let _ = checked.on(Event::ConnectFailed, SUSPICION, 0);
    }
    assert_eq!(checked.standing(), Standing::Suspect);
    // The end of the suspicion was cancelled, so a check must settle it.
    let step = checked.reconfigure(Some(CHECKS), 0);
    assert_eq!(step.next, Some(Next::Check(Duration::ZERO)));
    let _ = checked.on(Event::SuspicionOver, SUSPICION * 2, 0);
    assert_eq!(checked.standing(), Standing::Suspect);
    let change = Some(Change::Cleared);
    assert_eq!(checked.reconfigure(None, 0), Step { change, next: None });
}

#[test]
fn delays_are_spread_by_a_tenth_to_both_sides() {
    let delay = Duration::from_secs(10);
    let millis = |random| jitter(delay, random).as_millis();
    assert_eq!([0, MIDDLE].map(millis), [9000, 10_000]);
    assert_eq!(millis(u64::MAX), 10_999);
    for delay in [Duration::ZERO, Duration::MAX / 2] {
        assert!(jitter(delay, u64::MAX) <= delay + delay / 10);
    }
    assert_eq!(Checks::fast(delay), Duration::from_secs(1));
    assert_eq!(Checks::fast(delay / 100), delay / 100);
}
