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

/// Reads `pieces` one after the other, as a connection would, and adds to `passed` what is passed on.
fn read_on<'a>(
    mut body: Body,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    passed: &mut Vec<u8>,
) -> Outcome {
    let (mut used, mut content) = (0, 0);
    for piece in pieces {
        let was_done = body.is_done();
        let mut input = piece.to_vec();
        let advance = body.advance(&mut input)?;
        assert!(advance.used == piece.len() || advance.done);
        assert!(!was_done || advance.used == 0);
        assert!(advance.passed <= advance.used && advance.content <= advance.passed as u64);
        // What follows the body is not touched.
        assert_eq!(input[advance.used..], piece[advance.used..]);
        passed.extend_from_slice(&input[..advance.passed]);
        used += advance.used;
        content += advance.content;
    }
    Ok((used, content, body.is_done()))
}

/// The result of a whole input and all that is passed on of it; whole, cut in two everywhere, and byte by byte.
fn read_in_splits(body: &Body, input: &[u8]) -> (Outcome, Vec<u8>) {
    let mut whole = Vec::new();
    let outcome = read_on(body.clone(), [input], &mut whole);
    let read_as = |pieces: Vec<&[u8]>| {
        let mut passed = Vec::new();
        let found = read_on(body.clone(), pieces, &mut passed);
        assert_eq!(found, outcome, "{input:?}");
        // What is refused in its second part may have been passed on in its first one.
        assert!(passed == whole || outcome.is_err(), "{input:?}");
    };
    read_as(input.chunks(1).collect());
    for at in 0..=input.len() {
        let (left, right) = input.split_at(at);
        read_as(vec![left, right]);
    }
    (outcome, whole)
}

fn read<'a>(framing: Framing, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    read_on(Body::of_request(framing, &LIMITS), pieces, &mut Vec::new())
}

/// Reads the body of a request and of a response, which end alike.
fn check(framing: Framing, input: &str, expected: Outcome) {
    for body in [
        Body::of_request(framing, &LIMITS),
        Body::of_response(framing, Form::Chunks, &LIMITS),
        Body::of_response(framing, Form::Content, &LIMITS),
    ] {
        let (found, _) = read_in_splits(&body, input.as_bytes());
        assert_eq!(found, expected, "{input:?}");
    }
}

/// What a chunked body comes to: the chunks and the content that are passed on, or the error.
type Passed<'a> = Result<(&'a str, &'a str), FramingError>;

fn check_passed(input: &str, of_request: Passed<'_>, of_response: Passed<'_>) {
    let chunked = |form| Body::of_response(Framing::Chunked, form, &LIMITS);
    let bodies = [
        (
            Body::of_request(Framing::Chunked, &LIMITS),
            of_request.map(|(chunks, _)| chunks),
        ),
        (chunked(Form::Chunks), of_response.map(|(chunks, _)| chunks)),
        (
            chunked(Form::Content),
            of_response.map(|(_, content)| content),
        ),
    ];
    for (body, expected) in bodies {
        let (outcome, passed) = read_in_splits(&body, input.as_bytes());
        let passed = outcome.map(|(used, _, done)| {
            assert_eq!((used, done), (input.len(), true), "{input:?}");
            String::from_utf8(passed).unwrap()
        });
        assert_eq!(passed.as_deref(), expected.as_ref().copied(), "{input:?}");
    }
}

#[test]
fn extensions_and_blanks_are_not_passed_on() {
    use FramingError::{ChunkExtension, ChunkSize};
    let one = ("1\r\nx\r\n0\r\n\r\n", "x");
    let both = [
        ("1;a\r\nx\r\n0\r\n\r\n", one),
        ("1;a=b\r\nx\r\n0;c\r\n\r\n", one),
        ("1; a=\"b;\\\"c\" ;d\r\nx\r\n0\r\n\r\n", one),
        ("1;a=b;c=\"d\"\r\nx\r\n0;last=\"\"\r\n\r\n", one),
        (
            "1;a\r\n;\r\n2\r\n\r\n\r\n0;b\r\nX: y\r\n\r\n",
            ("1\r\n;\r\n2\r\n\r\n\r\n0\r\nX: y\r\n\r\n", ";\r\n"),
        ),
        (
            "00A\r\n0123456789\r\n00\r\n\r\n",
            ("00A\r\n0123456789\r\n00\r\n\r\n", "0123456789"),
        ),
        ("0\r\n\r\n", ("0\r\n\r\n", "")),
    ];
    for (input, passed) in both {
        check_passed(input, Ok(passed), Ok(passed));
    }
    let padded = [
        ("1 \r\nx\r\n0\r\n\r\n", ChunkSize),
        ("1 \t  \r\nx\r\n0    \r\n\r\n", ChunkSize),
        ("1 ;a\r\nx\r\n0\r\n\r\n", ChunkSize),
        ("1;a \r\nx\r\n0\r\n\r\n", ChunkExtension),
        ("1;a=b\t\r\nx\r\n0\r\n\r\n", ChunkExtension),
        ("1;a=\"b\" \r\nx\r\n0\r\n\r\n", ChunkExtension),
    ];
    for (input, error) in padded {
        check_passed(input, Err(error), Ok(one));
    }
    let refused = [
        ("1;\r\n", ChunkExtension),
        ("1; \r\n", ChunkExtension),
        ("1;a;\r\n", ChunkExtension),
        ("1;;a\r\n", ChunkExtension),
        ("1;=b\r\n", ChunkExtension),
        ("1;a=\r\n", ChunkExtension),
        ("1;a=\"b\r\n", ChunkExtension),
        ("1;a=b\"\r\n", ChunkExtension),
        ("1;a=\"b\"c\r\n", ChunkExtension),
        ("1;a=\"\r\n\"\r\n", ChunkExtension),
        ("1;a b\r\n", ChunkExtension),
        ("1;a,b\r\n", ChunkExtension),
        (" 1\r\n", ChunkSize),
        ("1 0\r\n", ChunkSize),
        ("1 a\r\n", ChunkSize),
        ("1 \n", ChunkSize),
    ];
    for (input, error) in refused {
        check_passed(input, Err(error), Err(error));
    }
    let blanks = |len: usize| format!("0{}\r\n\r\n", " ".repeat(len));
    check_passed(&blanks(1024), Err(ChunkSize), Ok(("0\r\n\r\n", "")));
    check_passed(&blanks(1025), Err(ChunkSize), Err(ChunkSize));
    // One limit for both together.
    let both =
        |extension: usize| format!("0{};{}\r\n\r\n", " ".repeat(1000), "a".repeat(extension));
    check_passed(&both(24), Err(ChunkSize), Ok(("0\r\n\r\n", "")));
    check_passed(&both(25), Err(ChunkSize), Err(ChunkExtension));
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
    let mut body = Body::of_request(Framing::Chunked, &LIMITS);
    assert_eq!(body.advance(&mut [b'x']), Err(FramingError::ChunkSize));
    assert_eq!(
        body.advance(&mut b"0\r\n\r\n".to_owned()),
        Err(FramingError::ChunkSize)
    );
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
        let mut body = Body::of_request(framing, &LIMITS);
        body.advance(&mut input.as_bytes().to_vec()).unwrap();
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
        let mut rewritten = Vec::new();
        for chunk in &chunks {
            rewritten.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
            rewritten.extend_from_slice(chunk);
            rewritten.extend_from_slice(b"\r\n");
        }
        rewritten.extend_from_slice(b"0\r\nA: b\r\n\r\n");
        for (form, expected) in [(Form::Chunks, rewritten), (Form::Content, chunks.concat())] {
            let pieces = cuts.windows(2).map(|pair| &wire[pair[0]..pair[1]]);
            let mut passed = Vec::new();
            let body = Body::of_response(Framing::Chunked, form, &LIMITS);
            let outcome = read_on(body, pieces, &mut passed);
            prop_assert_eq!(outcome, Ok((len, content, true)));
            prop_assert_eq!(passed, expected);
        }
    }

    #[test]
    fn nonsense_is_the_same_nonsense_in_any_split(
        input in "[0-2a;=\": \r\n]{0,40}", at in any::<prop::sample::Index>(),
    ) {
        let (left, right) = input.as_bytes().split_at(at.index(input.len() + 1));
        prop_assert_eq!(
            read(Framing::Chunked, [left, right]),
            read(Framing::Chunked, [input.as_bytes()])
        );
    }
}

#[test]
fn limits_of_trailers_are_named() {
    let many = "0\r\nA:\r\nB:\r\nC:\r\nD:\r\n";
    let long = format!("0\r\nA: {}\r\n", "a".repeat(64));
    let request = Body::of_request(Framing::Chunked, &LIMITS);
    let response = Body::of_response(Framing::Chunked, Form::Chunks, &LIMITS);
    let rows = [
        (
            &request,
            many,
            "there are more than 3 trailers, the limit `headers` in [listener.limits]",
        ),
        (
            &response,
            many,
            "there are more than 3 trailers, the limit `headers` in [backend.limits]",
        ),
        (
            &request,
            &long,
            "the trailers are longer than 64 bytes, the limit `head` in [listener.limits]",
        ),
        (
            &response,
            &long,
            "the trailers are longer than 64 bytes, the limit `head` in [backend.limits]",
        ),
    ];
    for (body, input, expected) in rows {
        let (outcome, _) = read_in_splits(body, input.as_bytes());
        assert_eq!(outcome.unwrap_err().to_string(), expected);
    }
    // Of the limit itself: three lines, and 64 bytes with the empty line.
    let just = format!("0\r\nA:{}\r\nB:\r\nC:\r\n\r\n", "a".repeat(50));
    assert_eq!(just.len() - "0\r\n".len(), 64);
    check(Framing::Chunked, &just, Ok((just.len(), 0, true)));
}
