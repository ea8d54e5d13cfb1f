//! What clients' certificates are judged by while the process runs: `client_ca` and `crl`, checked for changes as
//! certificates are.
//!
//! A list of revoked certificates that has ended refuses every client of its issuer. Tickets are made anew at
//! that moment, as at every change: a client that resumes is not verified again.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};

use super::certificate::now_s;
use super::files::Files;
use crate::admin::state::CertificateOwner;
use crate::config::{ClientAuth, Tls};
use crate::tls::anchors::Anchors;
use crate::tls::identity;
use crate::tls::revocation::{self, Revocations};
use crate::tls::verifier::ClientDemand;
use crate::tls::wrong::Wrong;

/// What clients' certificates are judged by.
pub(super) struct Clients {
    anchors: Files<Anchors>,
    crl: Option<Files<Arc<Revocations>>>,
    auth: ClientAuth,
    /// The end that was last waited for, in seconds since 1970; none = no list ends any more.
    until_s: Option<i64>,
}

impl Clients {
    /// Reads the files of a listener; none if its clients are not asked for certificates.
    ///
    /// # Errors
    /// A description of the fault; the files were valid when the configuration was read.
    pub(super) fn of(tls: &Tls) -> Result<Option<Self>, Wrong> {
        let Some(client_ca) = &tls.client_ca else {
            return Ok(None);
        };
        let anchors = Files::read(vec![client_ca.clone()], read_anchors)?;
        let crl = tls.crl.as_ref();
        let crl = crl
            .map(|path| Files::read(vec![path.clone()], read_crl))
            .transpose()?;
        let mut this = Self {
            anchors,
            crl,
            auth: tls.client_auth,
            until_s: None,
        };
        this.wait_for_the_next_end(now_s());
        Ok(Some(this))
    }

    /// Returns what a handshake demands of clients now.
    pub(super) fn demand(&self) -> ClientDemand {
        ClientDemand {
            anchors: self.anchors.good.clone(),
            required: self.auth == ClientAuth::Require,
            revocations: self.crl.as_ref().map(|crl| Arc::clone(&crl.good)),
        }
    }

    /// Returns a digest of what it judges by: the same in all processes that have the same files, and another
    /// one after each change and after the end of a list. Tickets stand for clients that were judged by the
    /// same, so they outlive a reload only if it is equal, and those under keys from files carry it.
    pub(super) fn scope(&self) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        context.update(&self.anchors.digest);
        context.update(&self.crl.as_ref().map_or([0; 32], |crl| crl.digest));
        context.update(&[u8::from(self.auth == ClientAuth::Require)]);
        context.update(&self.until_s.unwrap_or(i64::MAX).to_be_bytes());
        let mut scope = [0; 32];
        scope.copy_from_slice(context.finish().as_ref());
        scope
    }

    /// Checks the files, and whether a list ends; returns whether clients are judged anew.
    pub(super) fn look(&mut self, listener: &str, now_s: i64) -> bool {
        let owner = CertificateOwner::Listener(listener.into());
        let mut anew = self.anchors.look_and_tell(&owner);
        if anew {
            let (file, count) = (self.anchors.name(), self.anchors.good.len());
            tracing::info!(%listener, file, count, "client_ca replaced");
        }
        let Some(crl) = &mut self.crl else {
            return anew;
        };
        if crl.look_and_judge(&owner, |new, old| new.follow(old)) {
            let (file, (lists, revoked)) = (crl.name(), crl.good.counts());
            tracing::info!(%listener, file, lists, revoked, "crl replaced");
            anew = true;
        }
        if anew {
            for why in crl.good.warnings(&self.anchors.good, now_s) {
                tracing::warn!(%listener, file = crl.name(), "{why}");
            }
        } else if self.until_s.is_some_and(|until_s| until_s <= now_s) {
            for why in crl.good.end_warnings(now_s) {
                tracing::warn!(%listener, file = crl.name(), "{why}");
            }
            anew = true;
        }
        if anew {
            self.wait_for_the_next_end(now_s);
        }
        anew
    }

    fn wait_for_the_next_end(&mut self, now_s: i64) {
        let crl = self.crl.as_ref();
        self.until_s = crl.and_then(|crl| crl.good.next_end(now_s));
    }
}

fn read_anchors(texts: &[Vec<u8>]) -> Result<Anchors, Wrong> {
    identity::anchors(texts.first().map_or(&[], Vec::as_slice))
}

fn read_crl(texts: &[Vec<u8>]) -> Result<Arc<Revocations>, Wrong> {
    revocation::revocations(texts.first().map_or(&[], Vec::as_slice)).map(Arc::new)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::tls::testing::authority;
    use crate::tls::testing::revoking;

    const Y2030: i64 = 1_893_456_000;

    #[test]
    fn tickets_end_with_a_list_and_with_every_change() {
        let folder = TempDir::new().unwrap();
        let ca = authority("clients");
        let (ca_file, crl) = (folder.path().join("ca.pem"), folder.path().join("crl.pem"));
        let list = |years| revoking(years, &[7]).signed_by(&ca).unwrap().pem().unwrap();
        fs::write(&ca_file, ca.pem()).unwrap();
        fs::write(&crl, list((2025, 2030))).unwrap();
        let tls = Tls {
            client_ca: Some(ca_file.clone()),
            crl: Some(crl.clone()),
            client_auth: ClientAuth::Request,
            ..Tls::default()
        };
        let mut clients = Clients::of(&tls).unwrap().unwrap();
        assert!(!clients.demand().required);
        let before = clients.scope();
        let same = Clients::of(&tls).unwrap().unwrap();
        assert_eq!(same.scope(), before);
        let strict = Tls {
            client_auth: ClientAuth::Require,
            ..tls.clone()
        };
        assert_ne!(Clients::of(&strict).unwrap().unwrap().scope(), before);
        let lax = Tls {
            crl: None,
            ..tls.clone()
        };
        assert_ne!(Clients::of(&lax).unwrap().unwrap().scope(), before);
        // The last second, the end, and later.
        for (now_s, anew) in [(Y2030 - 1, false), (Y2030, true), (Y2030 + 1, false)] {
            assert_eq!(clients.look("edge", now_s), anew, "{now_s}");
            assert_eq!(clients.scope() == before, now_s < Y2030, "{now_s}");
        }
        let ended = clients.scope();
        fs::write(&crl, list((2026, 2040))).unwrap();
        // A change counts when it is read twice.
        let looks = [(); 3].map(|()| clients.look("edge", Y2030 + 2));
        assert_eq!(looks, [false, true, false]);
        assert!(![before, ended].contains(&clients.scope()));
        let renewed = clients.scope();
        // An older one does not.
        fs::write(&crl, list((2025, 2040))).unwrap();
        assert_eq!(
            [(); 3].map(|()| clients.look("edge", Y2030 + 3)),
            [false; 3]
        );
        assert_eq!(clients.scope(), renewed);
        let in_use = clients.demand().revocations.unwrap();
        assert_eq!(in_use.next_end(Y2030), Some(2_208_988_800));
        fs::write(&ca_file, authority("others").pem()).unwrap();
        assert_eq!(
            [(); 3].map(|()| clients.look("edge", Y2030 + 4)),
            [false, true, false]
        );
        assert_ne!(clients.scope(), renewed);
    }
}
