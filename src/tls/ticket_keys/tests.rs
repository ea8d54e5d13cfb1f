//! Files that are keys and files that are none; which tickets are accepted.

use super::*;
use proptest::prelude::*;

const HERE: Scope = [7; 32];

/// A key file that differs for each `seed`.
fn file(seed: u8) -> Vec<u8> {
    (0..FILE_LEN)
        .map(|at| seed.wrapping_add(u8::try_from(at).unwrap() * 3))
        .collect()
}

fn tickets_of(seeds: &[u8], scope: Scope) -> Tickets {
    let files: Vec<_> = seeds.iter().map(|seed| file(*seed)).collect();
    tickets(read(&files).unwrap(), scope)
}

#[test]
fn what_a_key_file_is() {
    let base64 = format!("{}\n", BASE64_STANDARD.encode(file(1)));
    let rows: [(&[u8], &str); 7] = [
        (&file(1), ""),
        (
            &file(1)[1..],
            "has 79 bytes; a ticket key is 80 random bytes, openssl rand -out FILE 80",
        ),
        (&[file(1), file(2)].concat(), "has 160 bytes; "),
        (b"", "has 0 bytes; "),
        (&[0; FILE_LEN], "holds no random bytes; "),
        (&[b'a'; FILE_LEN], "is text; "),
        (base64.as_bytes(), "base64 -d FILE > NEW"),
    ];
    for (bytes, expected) in rows {
        let said = check(bytes)
            .err()
            .map_or_else(String::new, |why| why.to_string());
        assert!(said.contains(expected), "{said}\n{expected}");
        assert_eq!(said.is_empty(), expected.is_empty(), "{said}");
    }
    let second = read(&[file(1), Vec::new()]).unwrap_err().to_string();
    assert!(second.starts_with("file 2 has 0 bytes"), "{second}");
    assert!(read(&[]).is_err());
}

#[test]
fn who_opens_the_tickets_of_whom() {
    let rows = [
        // The same files: a fleet.
        (&[1][..], HERE, &[1][..], HERE, true),
        // Rotation: a new key seals, the old one still opens; those who do not have the new one yet cannot.
        (&[1], HERE, &[2, 1], HERE, true),
        (&[2, 1], HERE, &[1, 2], HERE, true),
        (&[2, 1], HERE, &[1], HERE, false),
        (&[1], HERE, &[2], HERE, false),
        // A listener that trusts other clients.
        (&[1], HERE, &[1], [8; 32], false),
    ];
    for (sealing, from, opening, to, expected) in rows {
        let ticket = tickets_of(sealing, from).encrypt(b"a session").unwrap();
        let opened = tickets_of(opening, to).decrypt(&ticket);
        assert_eq!(opened.is_some(), expected, "{sealing:?} {opening:?}");
        assert!(opened.is_none_or(|session| session == b"a session"));
    }
}

#[test]
fn a_ticket_ends() {
    let key = Key::read(&file(1)).unwrap();
    let ticket = key.seal(&HERE, 1_000_000, b"a session").unwrap();
    let (body, tag) = ticket.split_last_chunk::<TAG_LEN>().unwrap();
    let end_s = 1_000_000 + u64::from(LIFETIME_S);
    for (now_s, expected) in [
        (1_000_000, true),
        (999_900, true),
        (end_s, true),
        (end_s + 1, false),
    ] {
        assert_eq!(
            key.open(&HERE, now_s, body, tag).is_some(),
            expected,
            "{now_s}"
        );
    }
}

#[test]
fn tickets_differ_and_tell_nothing() {
    let tickets = tickets_of(&[1], HERE);
    let (one, other) = (
        tickets.encrypt(&[9; 64]).unwrap(),
        tickets.encrypt(&[9; 64]).unwrap(),
    );
    assert_ne!(one[NAME_LEN..], other[NAME_LEN..]);
    assert!(!one.windows(8).any(|window| window == [9; 8]));
    let shown = format!("{tickets:?}");
    assert!(shown.contains("name") && !shown.contains("hmac"), "{shown}");
}

#[test]
fn no_prefix_and_no_changed_bit_is_accepted() {
    let tickets = tickets_of(&[1, 2], HERE);
    let ticket = tickets.encrypt(b"a session").unwrap();
    for len in 0..ticket.len() {
        assert_eq!(tickets.decrypt(&ticket[..len]), None, "{len}");
    }
    for bit in 0..ticket.len() * 8 {
        let mut changed = ticket.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(tickets.decrypt(&changed), None, "{bit}");
    }
}

proptest! {
    #[test]
    fn any_session_comes_back_and_other_bytes_are_no_ticket(
        session in prop::collection::vec(any::<u8>(), 0..2000),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let tickets = tickets_of(&[3, 1], HERE);
        let ticket = tickets.encrypt(&session).unwrap();
        prop_assert_eq!(tickets.decrypt(&ticket), Some(session));
        prop_assert_eq!(tickets.decrypt(&bytes), None);
    }
}
