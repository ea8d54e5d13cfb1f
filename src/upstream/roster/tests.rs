//! Members over time: failed connections, and names whose addresses change.

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
    Roster::new(Arc::new(backend), None, Duration::ZERO, || 0)
}

/// Returns each member's address and standing.
fn standings(roster: &mut Roster) -> Vec<(String, MemberStanding)> {
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
                traffic.note_sound();
            } else {
                let _ = traffic.note_refused();
            }
        }
        roster.look_around(SECOND, || 0);
        standings(&mut roster)[0].1
    };
    // Seen one by one, with or without unseen successes in between.
    assert_eq!(stands(&[false]), MemberStanding::Up);
    assert_eq!(stands(&[false]), MemberStanding::Up);
    assert_eq!(stands(&[true]), MemberStanding::Up);
    assert_eq!(stands(&[false]), MemberStanding::Up);
    assert_eq!(stands(&[false]), MemberStanding::Up);
    assert_eq!(stands(&[true, false]), MemberStanding::Up);
    assert_eq!(stands(&[false]), MemberStanding::Up);
    assert_eq!(stands(&[false]), MemberStanding::Suspect);
    assert_eq!(stands(&[true, false]), MemberStanding::Up);
}

/// Gives the name these addresses.
fn answer(roster: &mut Roster, ips: &[&str]) {
    let here = |ip: &&str| Endpoint {
        addr: (ip.parse::<std::net::IpAddr>().unwrap(), 80).into(),
        weight: None,
    };
    let endpoints = ips.iter().map(here).collect();
    let ttl = SECOND;
    roster.resolved(0, Ok(NameAnswer { endpoints, ttl }), SECOND, || 0);
}

/// Reports a check of the member at `ip`.
fn check(roster: &mut Roster, ip: &str, result: Result<(), CheckFailure>) {
    let seats = roster.seats(SECOND);
    let mut members = seats.iter().map(|seat| &seat.member);
    let at = format!("{ip}:80");
    let member = members.find(|it| it.address.to_string() == at);
    roster.checked(member.expect("a member").id(), result, SECOND, 0);
}

#[test]
fn the_old_addresses_stand_in_until_a_new_one_is_up_or_all_are_judged() {
    let up = |ip: &str| (format!("{ip}:80"), MemberStanding::Up);
    let down = |ip: &str| (format!("{ip}:80"), MemberStanding::Down);
    let mut roster = roster("health = { kind = \"tcp\" }", "app.example:80");
    answer(&mut roster, &["10.0.0.1"]);
    assert_eq!(standings(&mut roster), [down("10.0.0.1")]);
    check(&mut roster, "10.0.0.1", Ok(()));
    answer(&mut roster, &["10.0.0.2"]);
    assert_eq!(standings(&mut roster), [up("10.0.0.1"), down("10.0.0.2")]);
    // A member that was never up does not stand in, and one that returns keeps its health.
    answer(&mut roster, &["10.0.0.3"]);
    assert_eq!(standings(&mut roster), [up("10.0.0.1"), down("10.0.0.3")]);
    answer(&mut roster, &["10.0.0.1"]);
    assert_eq!(standings(&mut roster), [up("10.0.0.1")]);
    answer(&mut roster, &["10.0.0.2"]);
    check(&mut roster, "10.0.0.2", Ok(()));
    assert!(roster.is_changed(SECOND));
    assert_eq!(standings(&mut roster), [up("10.0.0.2")]);
    answer(&mut roster, &["10.0.0.3", "10.0.0.4"]);
    check(&mut roster, "10.0.0.3", Err(CheckFailure::Refused));
    assert_eq!(standings(&mut roster).first(), Some(&up("10.0.0.2")));
    check(&mut roster, "10.0.0.4", Err(CheckFailure::Refused));
    let both = [down("10.0.0.3"), down("10.0.0.4")];
    assert_eq!(standings(&mut roster), both);
}

#[test]
fn answers_that_rotate_leave_nothing_behind() {
    let mut roster = roster("", "app.example:80");
    let mut held = Vec::new();
    for _ in 0..10 {
        for ip in ["10.0.0.1", "10.0.0.2"] {
            answer(&mut roster, &[ip]);
            // Holds the members, as tunnels do.
            held.extend(roster.seats(SECOND).into_iter().map(|seat| seat.member));
        }
    }
    assert_eq!(roster.posts[0].departed.len(), 1);
    assert_eq!(held[0].id(), held[2].id());
}

#[test]
fn a_server_that_is_drained_stays_so_when_its_name_moves() {
    let mut roster = roster("", "app.example:80");
    answer(&mut roster, &["10.0.0.1", "10.0.0.2"]);
    let members = roster.seats(SECOND);
    members[0].member.traffic.set_wish(Wish::Drained);
    roster.look_around(SECOND, || 0);
    answer(&mut roster, &["10.0.0.1", "10.0.0.3"]);
    let stands = |roster: &mut Roster| standings(roster).into_iter().map(|(_, it)| it);
    // Only that address was drained, so another one is not, even in its place.
    let found: Vec<MemberStanding> = stands(&mut roster).collect();
    assert_eq!(found, [MemberStanding::Drained, MemberStanding::Up]);
    answer(&mut roster, &["10.0.0.1"]);
    answer(&mut roster, &["10.0.0.3"]);
    assert!(stands(&mut roster).all(|it| it == MemberStanding::Up));
    // The server was drained, so every new address is as well.
    let held = roster.seats(SECOND);
    for seat in &held {
        seat.member.traffic.set_wish(Wish::ServerDrained);
    }
    answer(&mut roster, &["10.0.0.4"]);
    assert!(stands(&mut roster).all(|it| it == MemberStanding::Drained));
    // A member that was absent when the drain was lifted, with tunnels, is not drained either.
    for seat in roster.seats(SECOND) {
        seat.member.traffic.set_wish(Wish::Serves);
    }
    answer(&mut roster, &["10.0.0.3"]);
    assert!(stands(&mut roster).all(|it| it == MemberStanding::Up));
    assert_eq!(roster.seats(SECOND)[0].member.id(), held[0].member.id());
}
