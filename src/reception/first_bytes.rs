//! Words for a connection that begins with another protocol than its listener expects: what it sent, and
//! which key of the configuration decides about it. Whether it is refused is decided elsewhere.

use std::time::Duration;

use tokio::time::timeout;

use super::socket::Socket;
use crate::config::{Listener, Mode, ProxyProtocol};
use crate::proto::addr::PeerAddr;
use crate::proto::first_bytes::{Guess, LOOKED_AT_LEN_MAX, Opening, guess};

/// How long a connection that is refused anyway may take to send enough to be recognised.
const PATIENCE: Duration = Duration::from_secs(1);

/// Recognises the protocol that the bytes in `inbox`, the first of a connection, begin; reads more if they do
/// not tell.
pub(super) async fn recognise(socket: &Socket, inbox: &mut Vec<u8>) -> Option<Opening> {
    let reading = async {
        loop {
            match guess(inbox) {
                Guess::Known(opening) => return Some(opening),
                Guess::Other => return None,
                Guess::Maybe => {}
            }
            match socket.recv_onto(inbox, LOOKED_AT_LEN_MAX).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return None,
            }
        }
    };
    timeout(PATIENCE, reading).await.ok().flatten()
}

/// The connection on which something unexpected came.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// Its listener.
    pub(super) listener: &'a Listener,
    /// The address after the PROXY headers that were read.
    pub(super) speaker: PeerAddr,
    /// Whether the bytes came out of TLS that ends here.
    pub(super) inside_tls: bool,
}

/// Returns what the log says of a connection that begins with `opening` where the listener expects a request
/// or a handshake.
pub(super) fn told(opening: Opening, place: Place<'_>) -> String {
    let what = opening.as_str();
    match opening {
        Opening::ProxyV1 | Opening::ProxyV2 => format!("{what} {}", proxy_told(place)),
        Opening::ClientHello if place.inside_tls => {
            format!("{what} inside TLS: the client, or a proxy in front, encrypts twice")
        }
        Opening::ClientHello => format!(
            "{what} on a listener without [listener.tls]: add that table, or let clients use http://"
        ),
        Opening::Http2Preface if expects_tls(place) => format!(
            "{what} without TLS {}, which speaks HTTP/1.1: let the client use https:// and HTTP/1.1",
            tls_told(place.listener)
        ),
        Opening::Http2Preface => format!(
            "{what}, and mode = \"http\" speaks HTTP/1.1: let the client or the proxy in front speak \
             HTTP/1.1, or use mode = \"tcp\""
        ),
        Opening::Http1 if expects_tls(place) => format!(
            "{what} without TLS {}: let the client use https://, or bind another listener without TLS",
            tls_told(place.listener)
        ),
        Opening::Http1 => format!("{what} that breaks a rule"),
    }
}

/// Returns what a trusted source has sent in place of the PROXY header it owes.
pub(super) fn told_instead_of_header(opening: Option<Opening>) -> String {
    let began = match opening {
        Some(opening) => format!(": the connection begins with {}", opening.as_str()),
        None => String::new(),
    };
    format!(
        "the source is in trusted_proxies but sent no PROXY header{began}; let the balancer send one, or set \
         proxy_protocol to \"optional\" or \"off\""
    )
}

fn expects_tls(place: Place<'_>) -> bool {
    let listener = place.listener;
    !place.inside_tls && (listener.tls.is_some() || listener.mode == Mode::Sni)
}

fn tls_told(listener: &Listener) -> &'static str {
    match listener.mode {
        Mode::Sni => "on a listener with mode = \"sni\"",
        Mode::Http | Mode::Tcp => "on a listener with [listener.tls]",
    }
}

fn proxy_told(place: Place<'_>) -> String {
    let Place {
        listener,
        speaker,
        inside_tls,
    } = place;
    if inside_tls {
        return "inside TLS: the balancer must send it before the TLS handshake".to_owned();
    }
    let trusted = listener.trusted_proxies.contains(speaker);
    match listener.proxy_protocol {
        ProxyProtocol::Off => "on a listener with proxy_protocol = \"off\": set it to \"require\", and name the \
                               balancer in trusted_proxies"
            .to_owned(),
        ProxyProtocol::Optional | ProxyProtocol::Require if !trusted => format!(
            "from {}, which is not in trusted_proxies: add it there if it is your balancer",
            speaker.ip().map_or("a unix socket (unix:)".to_owned(), |ip| ip.to_string())
        ),
        ProxyProtocol::Optional | ProxyProtocol::Require => {
            "behind others: at most four in a row are read, and none behind one without a client's address"
                .to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::path::Path;

    use super::*;
    use crate::config::{Config, parse};

    fn config(keys: &str) -> Config {
        let text = format!(
            "[[listener]]\nbind = [\"127.0.0.1:1\"]\n{keys}\nroute = [{{ backend = \"a\" }}]\n\
             [[backend]]\nname = \"a\"\nserver = [{{ address = \"127.0.0.1:2\" }}]\n"
        );
        parse(&text, Path::new("x.toml")).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// The words name the key that decides, and the address that is not trusted.
    #[test]
    fn the_words_name_the_key() {
        use Opening::{ClientHello, Http1, Http2Preface, ProxyV1, ProxyV2};
        let trusting = "trusted_proxies = [\"10.0.0.0/8\"]\nproxy_protocol";
        let optional = &format!("{trusting} = \"optional\"");
        let required = &format!("{trusting} = \"require\"");
        let rows = [
            (ProxyV1, "", false, "proxy_protocol = \"off\""),
            (ProxyV2, "", false, "version 2"),
            (ProxyV2, "mode = \"sni\"", false, "proxy_protocol = \"off\""),
            (
                ProxyV1,
                optional,
                false,
                "203.0.113.9, which is not in trusted_proxies",
            ),
            (
                ProxyV2,
                required,
                false,
                "203.0.113.9, which is not in trusted_proxies",
            ),
            (ProxyV2, optional, true, "before the TLS handshake"),
            (ClientHello, "", false, "[listener.tls]"),
            (ClientHello, "", true, "encrypts twice"),
            (Http2Preface, "", false, "mode = \"http\" speaks HTTP/1.1"),
            (Http2Preface, "", true, "mode = \"http\" speaks HTTP/1.1"),
            (Http2Preface, "mode = \"sni\"", false, "mode = \"sni\""),
            (Http1, "mode = \"sni\"", false, "https://"),
        ];
        for (opening, keys, inside_tls, expected) in rows {
            let config = config(keys);
            let place = Place {
                listener: &config.listeners[0],
                speaker: PeerAddr::from(SocketAddr::from(([203, 0, 113, 9], 1))),
                inside_tls,
            };
            let text = told(opening, place);
            assert!(text.starts_with(opening.as_str()), "{text}");
            assert!(text.contains(expected), "{text}");
        }
        let config = config(optional);
        let place = Place {
            listener: &config.listeners[0],
            speaker: PeerAddr::from(SocketAddr::from(([10, 0, 0, 9], 1))),
            inside_tls: false,
        };
        let text = told(ProxyV1, place);
        assert!(text.contains("at most four in a row"), "{text}");
        for opening in [None, Some(ClientHello)] {
            let text = told_instead_of_header(opening);
            assert!(text.contains("proxy_protocol"), "{text}");
            assert_eq!(
                text.contains("TLS ClientHello"),
                opening.is_some(),
                "{text}"
            );
        }
    }
}
