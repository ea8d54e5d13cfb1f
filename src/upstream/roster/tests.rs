//! Members over time: signs of failure, and names that point elsewhere.

use std::path::Path;

use super::*;
use crate::config::parse;

const SECOND: Duration = Duration::from_secs(1);

fn roster(lines: &str, address: &str) -> Roster {
    let text = format!(
        "[[listener]]\nbind = \"127.0.0.1:80\"\nroute = [{{ backend = \"app\" }}]\n\
         [[backend]]\nname = \"app\"\n{lines}\n[[backend.server]]\naddress = \"{address}\"\n"
    );
    let config = parse(&text, Path::new("test.toml")).expect("legal");
    let backend = config.backends.into_iter().next().expect("one");
    Roster::new(Arc::new(backend), Duration::ZERO, || 0)
}

/// Returns each member's address and how it stands.
fn standings(roster: &mut Roster) -> Vec<(String, Standing)> {
    let seats = roster.seats(SECOND).into_iter();
    let said = seats.map(|seat| (seat.member.address.to_string(), seat.standing));
    said.collect()
}

#[test]
fn failures_with_successes_between_them_raise_no_suspicion() {
    let mut roster = roster("", "10.0.0.1:80");
    let traffic = Arc::clone(&roster.seats(SECOND)[0].member.traffic);
    let mut stands = |failures: &[bool]| {
        for worked in failures {
            if *worked {
                traffic.note_connected();
            } else {
                let _ = traffic.note_refused();
            }
        }
        roster.look_around(SECOND, || 0);
        standings(&mut roster)[0].1
    };
    // Seen one by one, with what worked unseen, or not.
    assert_eq!(stands(&[false]), Standing::Up);
    assert_eq!(stands(&[false]), Standing::Up);
    assert_eq!(stands(&[true]), Standing::Up);
    assert_eq!(stands(&[false]), Standing::Up);
    assert_eq!(stands(&[false]), Standing::Up);
    assert_eq!(stands(&[true, false]), Standing::Up);
    assert_eq!(stands(&[false]), Standing::Up);
    assert_eq!(stands(&[false]), Standing::Suspect);
    assert_eq!(stands(&[true, false]), Standing::Up);
}
