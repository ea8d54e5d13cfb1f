//! Bodies that end where they say, and ambiguous ones that are refused, in any split.

use proptest::prelude::*;

use super::*;

const LIMITS: HeadLimits = HeadLimits {
    request_line: 100,
    head: 64,
    headers: 3,
};

/// The result of a whole input: bytes used, bytes of content, whether the body is done.
type Outcome = Result<(usize, u64, bool), FramingError>;

/// Reads `pieces` one after the other, as a connection would.
fn read<'a>(framing: Framing, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut body = Body::new(framing, &LIMITS);
    let (mut used, mut content) = (0, 0);
    for piece in pieces {
        let was_done = body.is_done();
        let advance = body.advance(piece)?;
        assert!(advance.used == piece.len() || advance.done);
        assert!(!was_done || advance.used == 0);
        used += advance.used;
        content += advance.content;
    }
    Ok((used, content, body.is_done()))
}

/// Reads an input whole, cut in two everywhere, and byte by byte.
fn check(framing: Framing, input: &str, expected: Outcome) {
    let input = input.as_bytes();
    assert_eq!(read(framing, [input]), expected, "{input:?}");
    assert_eq!(read(framing, input.chunks(1)), expected, "{input:?}");
    for at in 0..=input.len() {
        let (left, right) = input.split_at(at);
        assert_eq!(read(framing, [left, right]), expected, "{input:?} at {at}");
    }
}

#[test]
fn bodies_end_where_they_say() {
    use Framing::{Chunked, Length, None, UntilClose};
    let rows = [
        (None, "GET /", (0, 0, true)),
        (Length(0), "GET /", (0, 0, true)),
        (Length(3), "ab", (2, 2, false)),
        (Length(3), "abc", (3, 3, true)),
        (Length(3), "abcGET /", (3, 3, true)),
        (UntilClose, "HTTP/1.1 200", (12, 12, false)),
        (Chunked, "0\r\n\r\nGET /", (5, 0, true)),
        (Chunked, "3\r\nabc\r\n0\r\n\r\nGET /", (13, 3, true)),
        (Chunked, "3\r\n\r\n0\r\n0\r\n\r\n", (13, 3, true)),
        (Chunked, "00000000000000aA\r\n", (18, 0, false)),
        (Chunked, "7fffffffffffffff\r\nab", (20, 2, false)),
        (
            Chunked,
            "1;a=b; c=\"\u{e4} \t\"\r\nx\r\n00;z\r\n\r\n",
            (28, 1, true),
        ),
        (Chunked, "0\r\nX: y\r\nZ:\r\n\r\nGET", (15, 0, true)),
        (
            Chunked,
            "0\r\nConnections: y\r\nX-Forwarded: y\r\nA:\r\n\r\n",
            (41, 0, true),
        ),
        (Chunked, "3\r\nabc", (6, 3, false)),
    ];
    for (framing, input, (used, content, done)) in rows {
        check(framing, input, Ok((used, content, done)));
    }
}

#[test]
fn ambiguous_chunks_are_refused() {
    use FramingError as E;
    let rows = [
        ("\r\n", E::ChunkSize),
        (";a\r\n", E::ChunkSize),
        ("g\r\n", E::ChunkSize),
        ("+1\r\n", E::ChunkSize),
        ("-1\r\n", E::ChunkSize),
        ("0x1\r\n", E::ChunkSize),
        (" 1\r\n", E::ChunkSize),
        ("1 \r\n", E::ChunkSize),
        ("1 ;a\r\n", E::ChunkSize),
        ("1\t\r\n", E::ChunkSize),
        ("1_0\r\n", E::ChunkSize),
        ("1\n", E::ChunkSize),
        ("00000000000000001\r\n", E::ChunkSize),
        ("8000000000000000\r\n", E::ChunkSize),
        ("ffffffffffffffff\r\n", E::ChunkSize),
        ("1\ra", E::LineEnd),
        ("1\r\r\n", E::LineEnd),
        ("1;a\nx\r\n", E::ChunkExtension),
        ("1;a\0\r\n", E::ChunkExtension),
        ("1;a\x7f\r\n", E::ChunkExtension),
        ("1\r\nab\r\n", E::LineEnd),
        ("1\r\na\n", E::LineEnd),
        ("1\r\na\r1", E::LineEnd),
        ("0\r\n\n", E::Trailer),
        ("0\r\n\ra", E::LineEnd),
        ("0\r\nX: y\n", E::LineEnd),
        ("0\r\nX: y\rz", E::LineEnd),
        ("0\r\nX : y\r\n", E::Trailer),
        ("0\r\n X: y\r\n", E::Trailer),
        ("0\r\nX: y\r\n z\r\n", E::Trailer),
        ("0\r\n: y\r\n", E::Trailer),
        ("0\r\nX\r\n", E::Trailer),
        ("0\r\nX: \0\r\n", E::Trailer),
        ("0\r\ncontent-Length: 1\r\n", E::TrailerRefused),
        ("0\r\nTransfer-Encoding: chunked\r\n", E::TrailerRefused),
        ("0\r\nTransfer_Encoding: chunked\r\n", E::TrailerRefused),
        ("0\r\nHost: a\r\n", E::TrailerRefused),
        (
            "0\r\nA:b\r\nX-Forwarded-Whatever-It-Is: a\r\n",
            E::TrailerRefused,
        ),
        ("0\r\nX-Real-IP: a\r\n", E::TrailerRefused),
        ("0\r\nX_Client-Subject: a\r\n", E::TrailerRefused),
        ("0\r\nForwarded: a\r\n", E::TrailerRefused),
        ("0\r\nA:\r\nB:\r\nC:\r\nD:\r\n", E::TrailersTooLarge),
        (
            "0\r\nA: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
            E::TrailersTooLarge,
        ),
    ];
    for (input, error) in rows {
        check(Framing::Chunked, input, Err(error));
    }
    let extension = |len: usize| format!("0;{}\r\n\r\n", "a".repeat(len));
    check(Framing::Chunked, &extension(1024), Ok((1030, 0, true)));
    check(Framing::Chunked, &extension(1025), Err(E::ChunkExtension));
}

#[test]
fn an_error_stays() {
    let mut body = Body::new(Framing::Chunked, &LIMITS);
    assert_eq!(body.advance(b"x"), Err(FramingError::ChunkSize));
    assert_eq!(body.advance(b"0\r\n\r\n"), Err(FramingError::ChunkSize));
    assert!(!body.may_end() && !body.is_done());
}

#[test]
fn a_connection_may_end_only_between_messages() {
    let rows = [
        (Framing::None, "", true, Some(0)),
        (Framing::Length(2), "a", false, Some(1)),
        (Framing::Length(2), "ab", true, Some(0)),
        (Framing::Chunked, "0\r\n\r", false, None),
        (Framing::Chunked, "0\r\n\r\n", true, Some(0)),
        (Framing::UntilClose, "a", true, None),
    ];
    for (framing, input, expected, left) in rows {
        let mut body = Body::new(framing, &LIMITS);
        body.advance(input.as_bytes()).unwrap();
        assert_eq!(body.may_end(), expected, "{framing:?} {input:?}");
        assert_eq!(body.left(), left, "{framing:?} {input:?}");
    }
}

proptest! {
    #[test]
    fn any_split_gives_the_same_end(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
        behind in prop::collection::vec(any::<u8>(), 0..20),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut wire = Vec::new();
        for chunk in &chunks {
            wire.extend_from_slice(format!("{:X};n=v\r\n", chunk.len()).as_bytes());
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\nA: b\r\n\r\n");
        let len = wire.len();
        wire.extend_from_slice(&behind);
        let content = chunks.concat().len() as u64;
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len())).collect();
        cuts.push(0);
        cuts.push(wire.len());
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &wire[pair[0]..pair[1]]);
        prop_assert_eq!(read(Framing::Chunked, pieces), Ok((len, content, true)));
    }

    #[test]
    fn nonsense_is_the_same_nonsense_in_any_split(
        input in "[0-9a-f;: \r\n]{0,40}", at in any::<prop::sample::Index>(),
    ) {
        let (left, right) = input.as_bytes().split_at(at.index(input.len() + 1));
        prop_assert_eq!(
            read(Framing::Chunked, [left, right]),
            read(Framing::Chunked, [input.as_bytes()])
        );
    }
}
