//! Frames compared with their lengths alone, whole and split in every way.

use proptest::prelude::*;

use super::{Frames, GOING_AWAY};

/// Makes a server's frame with this first byte and a payload of zeroes.
fn frame(first: u8, len: usize) -> Vec<u8> {
    let mut frame = vec![first];
    match len {
        0..=125 => frame.push(u8::try_from(len).unwrap()),
        126..=0xFFFF => {
            frame.push(126);
            frame.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.resize(frame.len() + len, 0);
    frame
}

/// Returns the position after these bytes, fed at once.
fn fed(bytes: &[u8]) -> Frames {
    let mut frames = Frames::default();
    frames.feed(bytes);
    frames
}

/// Returns where a frame may begin, by lengths alone, and where the boundaries become unknown (Close, or a
/// frame that no server may send).
fn boundaries(bytes: &[u8]) -> (Vec<usize>, Option<usize>) {
    let (mut at, mut found) = (0, vec![0]);
    loop {
        let Some(first) = bytes.get(at) else {
            return (found, None);
        };
        let opcode = first & 0x0F;
        if !matches!((opcode, first & 0x80), (0..=2, _) | (9 | 10, 0x80)) {
            return (found, Some(at + 1));
        }
        let Some(second) = bytes.get(at + 1) else {
            return (found, None);
        };
        if *second > 127 || opcode > 2 && *second > 125 {
            return (found, Some(at + 2));
        }
        let extended = match second {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some(length) = bytes.get(at + 2..at + 2 + extended) else {
            return (found, None);
        };
        let length = match extended {
            0 => u64::from(*second),
            _ => length
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        if length >= 1 << 63 {
            return (found, Some(at + 10));
        }
        let next = (at + 2 + extended) as u64 + length;
        if next > bytes.len() as u64 {
            return (found, None);
        }
        at = usize::try_from(next).unwrap();
        found.push(at);
    }
}

/// Checks every prefix against the lengths, for every way of feeding.
fn check(bytes: &[u8]) {
    let (found, over) = boundaries(bytes);
    let mut slowly = Frames::default();
    for len in 0..=bytes.len() {
        let at_once = fed(&bytes[..len]);
        assert_eq!(at_once, slowly, "{len} of {bytes:02x?}");
        assert_eq!(
            at_once.at_boundary(),
            found.contains(&len),
            "{len} of {bytes:02x?}"
        );
        let is_over = over.is_some_and(|over| len >= over);
        assert_eq!(
            at_once.unseen_max() == u64::MAX,
            is_over,
            "{len} of {bytes:02x?}"
        );
        slowly.feed(&bytes[len..bytes.len().min(len + 1)]);
    }
}

/// Frames of every kind and length class, one of them a message in three fragments with a ping between.
fn samples() -> Vec<u8> {
    [
        frame(0x81, 5),
        frame(0x82, 0),
        frame(0x01, 3),
        frame(0x89, 4),
        frame(0x00, 130),
        frame(0x80, 1),
        frame(0x8A, 125),
        // Compressed (RFC 7692).
        frame(0xC1, 20),
        frame(0x82, 126),
    ]
    .concat()
}

#[test]
fn every_prefix_and_every_change_of_a_byte() {
    let bytes = [samples(), GOING_AWAY.to_vec(), frame(0x81, 1)].concat();
    check(&bytes);
    for at in 0..bytes.len() {
        for change in [0x01, 0x02, 0x08, 0x0F, 0x70, 0x80, 0xFF] {
            let mut changed = bytes.clone();
            changed[at] ^= change;
            check(&changed);
        }
    }
}

#[test]
fn what_ends_the_telling() {
    let rows: [(&str, &[u8]); 9] = [
        ("close", &GOING_AWAY),
        ("close without a payload", &[0x88, 0x00]),
        ("a masked frame", &[0x81, 0x80, 1, 2, 3, 4]),
        ("a reserved opcode", &[0x83, 0x00]),
        ("a reserved control opcode", &[0x8B, 0x00]),
        ("a long ping", &[0x89, 126, 0, 126]),
        ("a very long pong", &[0x8A, 127]),
        ("a piece of a ping", &[0x09, 0x00]),
        (
            "a length beyond 63 bits",
            &[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0],
        ),
    ];
    for (what, bytes) in rows {
        let mut frames = fed(&frame(0x81, 1));
        assert!(frames.at_boundary());
        frames.feed(bytes);
        assert!(!frames.at_boundary(), "{what}");
        // Nothing makes the boundaries known again.
        frames.feed(&[0; 300]);
        frames.skip(1);
        assert_eq!(
            (frames.at_boundary(), frames.unseen_max()),
            (false, u64::MAX),
            "{what}"
        );
    }
}

#[test]
fn lengths_of_each_class() {
    for len in [0, 1, 125, 126, 127, 0xFFFF, 0x1_0000, 200_000] {
        let bytes = frame(0x82, len);
        let header_len = bytes.len() - len;
        assert_eq!(fed(&bytes[..header_len]).unseen_max(), len as u64);
        assert_eq!(fed(&bytes[..header_len - 1]).unseen_max(), 0);
        assert!(fed(&bytes).at_boundary());
        assert!(len == 0 || !fed(&bytes[..bytes.len() - 1]).at_boundary());
    }
    let longest = [&[0x82, 127, 0x7F][..], &[0xFF; 7]].concat();
    assert_eq!(fed(&longest).unseen_max(), u64::MAX >> 1);
}

#[test]
fn bytes_that_nobody_saw() {
    let header = &frame(0x82, 70_000)[..10];
    let mut frames = fed(header);
    frames.skip(0);
    frames.skip(69_999);
    assert_eq!((frames.at_boundary(), frames.unseen_max()), (false, 1));
    let mut other = frames;
    frames.skip(1);
    assert!(frames.at_boundary());
    frames.skip(0);
    assert!(frames.at_boundary());
    // Into the next header.
    other.skip(2);
    assert_eq!((other.at_boundary(), other.unseen_max()), (false, u64::MAX));
    for len in [0, 1, 5] {
        let mut frames = fed(&header[..len]);
        frames.skip(1);
        assert_eq!(frames.unseen_max(), u64::MAX, "{len}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_parts_do_not_matter(
        lens in proptest::collection::vec((0..3_u8, 0..400_usize), 1..12),
        cuts in proptest::collection::vec(0..5_000_usize, 0..20),
        skips in any::<u32>(),
    ) {
        let bytes: Vec<u8> = lens.iter().flat_map(|(opcode, len)| frame(*opcode, *len)).collect();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.push(bytes.len());
        cuts.sort_unstable();
        let (mut frames, mut from) = (Frames::default(), 0);
        for (number, cut) in cuts.into_iter().enumerate() {
            let part = &bytes[from..cut];
            if skips >> number & 1 == 1 && part.len() as u64 <= frames.unseen_max() {
                frames.skip(part.len() as u64);
            } else {
                frames.feed(part);
            }
            from = cut;
            prop_assert_eq!(frames, fed(&bytes[..cut]));
        }
        prop_assert!(frames.at_boundary());
    }

    #[test]
    fn noise_is_read_by_its_lengths(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        check(&bytes);
    }
}
