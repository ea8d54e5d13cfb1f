//! The PROXY header that a server gets before anything else, if its configuration wants one: what the
//! client's own PROXY header said, and what we know of a TLS session that ended here.

use super::proxy_header::Origin;
use super::socket::Socket;
use crate::config::BackendServer;
use crate::proto::addr::PeerAddr;
use crate::proto::proxy::{self, Addresses, Header, Ssl, Tlvs};
use crate::tls::terms::Terms;

/// Appends the PROXY header that `server` wants to `out`, if it wants one. `arrived_on` is the
/// connection of the client.
pub(super) fn introduce(
    server: &BackendServer,
    client: PeerAddr,
    origin: &Origin,
    arrived_on: &Socket,
    out: &mut Vec<u8>,
) {
    let Some(version) = server.send_proxy else {
        return;
    };
    let destination = origin
        .destination
        .map_or_else(|| arrived_on.local(), PeerAddr::from);
    let header = Header {
        addresses: Addresses::between(client, destination),
        tlvs: tlvs(&origin.tlvs, arrived_on.terms()),
    };
    proxy::encode(version, &header, out);
}

/// Returns the extensions of the header: those of the header we believed, replaced where we know better
/// because TLS ended here.
fn tlvs(believed: &Tlvs, terms: Option<&Terms>) -> Tlvs {
    let unique_id = believed.unique_id.clone();
    let Some(terms) = terms else {
        return Tlvs {
            alpn: believed.alpn.clone(),
            authority: believed.authority.clone(),
            unique_id,
            ..Tlvs::default()
        };
    };
    let client = terms.client.as_ref();
    Tlvs {
        alpn: terms.alpn.clone(),
        authority: (terms.server_name.clone()).or_else(|| believed.authority.clone()),
        unique_id,
        ssl: Some(Ssl {
            over_tls: true,
            client_verified: client.is_some(),
            resumed: terms.resumed,
            version: Some(terms.version_name().to_owned()),
            common_name: client.and_then(|client| client.common_name.clone()),
            cipher: terms.cipher.map(str::to_owned),
        }),
        ..Tlvs::default()
    }
}
