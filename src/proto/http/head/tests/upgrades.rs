//! WebSocket upgrades: which are refused, which are none, and which answers open them.

use super::*;

#[test]
fn broken_upgrades_are_refused() {
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let version = "Sec-WebSocket-Version: 13";
    let rows = [
        (version, "X: y", HttpRefusal::UpgradeVersionMissing),
        (
            version,
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13",
            HttpRefusal::UpgradeVersionRepeated,
        ),
        (
            version,
            "Sec-WebSocket-Version: 8",
            HttpRefusal::WebsocketVersion,
        ),
        (
            version,
            "Sec-WebSocket-Version: 13, 8",
            HttpRefusal::WebsocketVersion,
        ),
        (
            version,
            "Sec-WebSocket-Version:",
            HttpRefusal::WebsocketVersion,
        ),
        (key, "X: y", HttpRefusal::UpgradeKeyMissing),
        (key, "Sec-WebSocket-Key:", HttpRefusal::UpgradeKey),
        (
            key,
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j",
            HttpRefusal::UpgradeKey,
        ),
        (
            key,
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            HttpRefusal::UpgradeKey,
        ),
    ];
    for (from, to, refusal) in rows {
        let head = UPGRADE.replace(from, to);
        assert_ne!(head, UPGRADE);
        assert_eq!(summary(head.as_bytes()), Err(refusal), "{head}");
        let status = if refusal == HttpRefusal::WebsocketVersion {
            426
        } else {
            400
        };
        assert_eq!(refusal.status(), status);
        assert_eq!(refusal.extra_lines().is_empty(), status == 400);
    }
    for missing in [
        HttpRefusal::UpgradeKeyMissing,
        HttpRefusal::UpgradeVersionMissing,
    ] {
        let text = missing.to_string();
        assert!(text.contains("does a proxy in front"), "{text}");
        assert!(text.contains("HTTP/1.0"), "{text}");
    }
    let with_length = UPGRADE.replace("Host: a", "Host: a\r\nContent-Length: 0");
    assert!(summary(with_length.as_bytes()).is_ok());
    let offered = UPGRADE.replace(": WebSocket", ": h2c, websocket");
    assert!(summary(offered.as_bytes()).unwrap().contains("websocket"));
}

/// An upgrade that cannot be one is no upgrade, whatever its key and version say.
#[test]
fn upgrades_that_cannot_be_are_no_upgrades() {
    use UpgradeRemoved::{Body, Method, Version};
    let rows = [
        ("", "", None, "GET [a] /chat None websocket keep-alive"),
        (
            "HTTP/1.1",
            "HTTP/1.0",
            Some(Version),
            "GET [a] /chat None keep-alive",
        ),
        (
            "GET /chat",
            "POST /chat",
            Some(Method),
            "POST [a] /chat None keep-alive",
        ),
        (
            "GET /chat",
            "get /chat",
            Some(Method),
            "get [a] /chat None keep-alive",
        ),
        (
            "GET /chat HTTP/1.1",
            "HEAD /chat HTTP/1.0",
            Some(Version),
            "HEAD [a] /chat None keep-alive",
        ),
        (
            "Host: a",
            "Host: a\r\nContent-Length: 1",
            Some(Body),
            "GET [a] /chat Length(1) keep-alive",
        ),
        (
            "Host: a",
            "Host: a\r\nTransfer-Encoding: chunked",
            Some(Body),
            "GET [a] /chat Chunked keep-alive",
        ),
        // Connection does not list it, so that there is nothing to remove.
        (
            "keep-alive, Upgrade\r\nUpgrade: WebSocket",
            "Upgrade\r\nUpgrade: h2c",
            None,
            "GET [a] /chat None keep-alive",
        ),
    ];
    for (from, to, removed, expected) in rows {
        let valid = UPGRADE.replacen(from, to, usize::from(!from.is_empty()));
        let without_key = valid.replace("Sec-WebSocket-Key: dGh", "Sec-WebSocket-Key: ");
        for head in [&valid, &without_key] {
            if removed.is_none() && head == &without_key && expected.contains("websocket") {
                continue;
            }
            assert_eq!(summary(head.as_bytes()).unwrap(), expected, "{head}");
            let Ok(Progress::Complete { value, .. }) = parse_request(head.as_bytes(), &LIMITS)
            else {
                panic!("{head}")
            };
            assert_eq!(value.upgrade_removed, removed, "{head}");
        }
    }
}

#[test]
fn only_the_right_answer_opens_a_websocket() {
    let right = "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: x, upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let rows = [
        ("", "", true),
        ("101 Sw", "200 Sw", false),
        ("HTTP/1.1", "HTTP/1.0", false),
        ("WebSocket", "h2c", false),
        ("WebSocket", "websocket, h2c", false),
        ("upgrade: WebSocket\r\n", "", false),
        ("x, upgrade", "x", false),
        ("xOo=", "xOo", false),
        ("s3pP", "S3pP", false),
        ("Sec-WebSocket-Accept", "X", false),
        (
            "\r\n\r\n",
            "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            false,
        ),
    ];
    for (from, to, expected) in rows {
        let head = right.replacen(from, to, 1);
        let Ok(Progress::Complete { value, .. }) = parse_response(head.as_bytes(), "GET", &LIMITS)
        else {
            panic!("{head}")
        };
        assert_eq!(
            value.accepts("dGhlIHNhbXBsZSBub25jZQ=="),
            expected,
            "{head}"
        );
    }
}
