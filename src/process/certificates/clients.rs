//! What clients' certificates are judged by while the process runs: `client_ca` and `crl`, checked for changes as
//! certificates are.
//!
//! A list of revoked certificates that has ended refuses every client of its issuer. Tickets are made anew at
//! that moment, as at every change: a client that resumes is not verified again.

use std::sync::Arc;

use super::{Files, Seen};
use crate::config::{ClientAuth, Tls};
use crate::tls::anchors::Anchors;
use crate::tls::identity::{self, Wrong};
use crate::tls::revocation::{self, Revocations};
use crate::tls::verifier::ClientDemand;

/// What clients' certificates are judged by.
pub(super) struct Clients {
    anchors: Files<Anchors>,
    crl: Option<Files<Arc<Revocations>>>,
    auth: ClientAuth,
    /// The end that was last waited for, in seconds since 1970; none = no list ends any more.
    until_s: Option<i64>,
}

/// The files' contents and the demand; equal ones judge equally.
type Settled = (Seen, Option<Seen>, ClientAuth);

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
        this.wait_for_the_next_end(super::now_s());
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

    /// Returns what it judges by. Tickets outlive a reload only if this is the same.
    pub(super) fn settled(&self) -> Settled {
        let crl = self.crl.as_ref().map(|crl| crl.looks.settled.clone());
        (self.anchors.looks.settled.clone(), crl, self.auth)
    }

    /// Checks the files, and whether a list ends; returns whether clients are judged anew.
    pub(super) fn look(&mut self, listener: &str, now_s: i64) -> bool {
        let mut anew = self.anchors.look_and_tell(listener);
        if anew {
            let (file, count) = (self.anchors.name(), self.anchors.good.len());
            tracing::info!(%listener, file, count, "client_ca replaced");
        }
        let Some(crl) = &mut self.crl else {
            return anew;
        };
        if crl.look_and_judge(listener, |new, old| new.follow(old)) {
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
    identity::client_ca(texts.first().map_or(&[], Vec::as_slice))
}

fn read_crl(texts: &[Vec<u8>]) -> Result<Arc<Revocations>, Wrong> {
    revocation::revocations(texts.first().map_or(&[], Vec::as_slice)).map(Arc::new)
}
