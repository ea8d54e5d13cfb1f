//! The certificates that listeners show: read at the start, and looked at again for as long as the
//! process runs, so that a renewed one is shown to the next client without a signal. Connections
//! that are there know nothing of it.
//!
//! The files are read again after each [`LOOK_PAUSE`] and compared by content. That sees a file that
//! was rewritten in place, one that was renamed over, and a link anywhere in its path that was
//! switched, on every file system. Events (inotify) would not: they need a watch on every folder
//! that a link leads through, set anew when one is switched, and tell nothing of what another
//! machine did. A few small files cost some microseconds.
//!
//! A change counts when two looks in a row have seen the same, so that neither half a file nor a
//! certificate whose key comes a moment later is taken for the whole. What is not good then is said
//! once, and what was shown before stays.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{Context, SHA256};
use rustls::{RootCertStore, ServerConfig};
use tokio::sync::watch;

use crate::config::{CertificateFiles, Listener, Mode, TlsVersion};
use crate::log::timestamp;
use crate::reception::snapshot::TlsNow;
use crate::tls::identity::{self, Identity, Offer, Tickets, Wrong, server_config, tickets};

/// Between two looks at the files; two of them see a change, well within five seconds.
const LOOK_PAUSE: Duration = Duration::from_millis(1500);
/// Between two looks at the end of validity of every certificate.
const END_PAUSE: Duration = Duration::from_secs(60 * 60);
/// How long the end of one certificate is not spoken of again.
const END_QUIET_S: i64 = 24 * 60 * 60;

/// What one listener shows.
pub(super) struct Shown {
    listener: Arc<str>,
    certificates: Vec<Certificate>,
    client_ca: Option<Files<Arc<RootCertStore>>>,
    only_tls13: bool,
    http: bool,
    tickets: Tickets,
    /// What is trusted has changed, so the tickets have to.
    tickets_due: bool,
    /// There is something to publish.
    stale: bool,
    /// Where reception finds it.
    published: watch::Sender<Arc<ServerConfig>>,
}

impl Shown {
    /// Reads the certificates of a listener; none when it speaks no TLS.
    ///
    /// # Errors
    /// What is wrong with them, though the configuration has seen that they were good.
    pub(super) fn of(listener: &Listener) -> Result<Option<Self>, Wrong> {
        let Some(tls) = &listener.tls else {
            return Ok(None);
        };
        let certificates = tls.certificates.iter().map(Certificate::read);
        let certificates = certificates.collect::<Result<Vec<_>, _>>()?;
        let client_ca = tls.client_ca.as_deref();
        let client_ca = client_ca
            .map(|path| Files::read(vec![path.to_owned()], read_client_ca))
            .transpose()?;
        let (only_tls13, http) = (
            tls.min_version == TlsVersion::V1_3,
            listener.mode == Mode::Http,
        );
        let tickets = tickets()?;
        let offer = offer(&certificates, client_ca.as_ref(), only_tls13, http);
        let config = server_config(offer, Arc::clone(&tickets))?;
        Ok(Some(Self {
            listener: Arc::clone(&listener.name),
            certificates,
            client_ca,
            only_tls13,
            http,
            tickets,
            tickets_due: false,
            stale: false,
            published: watch::channel(config).0,
        }))
    }

    /// Returns where the present one is always found.
    pub(super) fn now(&self) -> TlsNow {
        self.published.subscribe()
    }

    /// Goes on with the tickets of the one that was shown before for the same listener, so that its
    /// clients need no full handshake after a reload; not where others are trusted now.
    fn succeed(&mut self, before: &[Self]) {
        let trusts = |one: &Self| one.client_ca.as_ref().map(|ca| ca.looks.settled.clone());
        let same = |one: &&Self| {
            one.listener == self.listener && !one.tickets_due && trusts(one) == trusts(self)
        };
        if let Some(before) = before.iter().find(same) {
            self.tickets = Arc::clone(&before.tickets);
            self.publish();
        }
    }

    /// Looks whether a file has changed, and shows what is new.
    fn look(&mut self, now_s: i64) {
        let mut changed = false;
        for certificate in &mut self.certificates {
            changed |= certificate.look(&self.listener, now_s);
        }
        if let Some(client_ca) = &mut self.client_ca {
            let trusted_anew = client_ca.look_and_tell(&self.listener);
            if trusted_anew {
                let count = client_ca.good.len();
                tracing::info!(listener = %self.listener, file = client_ca.name(), count, "client_ca replaced");
            }
            changed |= trusted_anew;
            // A ticket stands for a certificate that was verified by what is trusted no more.
            self.tickets_due |= trusted_anew;
        }
        self.stale |= changed;
        if self.tickets_due {
            match tickets() {
                Ok(new) => {
                    self.tickets = new;
                    self.tickets_due = false;
                }
                // Nothing is published with the old ones; the next look tries again.
                Err(wrong) => {
                    tracing::error!(listener = %self.listener, %wrong, "tickets cannot be made anew");
                    return;
                }
            }
        }
        if std::mem::take(&mut self.stale) {
            self.publish();
        }
    }

    fn publish(&self) {
        let client_ca = self.client_ca.as_ref();
        let offer = offer(&self.certificates, client_ca, self.only_tls13, self.http);
        match server_config(offer, Arc::clone(&self.tickets)) {
            Ok(config) => drop(self.published.send_replace(config)),
            Err(wrong) => {
                tracing::error!(listener = %self.listener, %wrong, "certificates not replaced");
            }
        }
    }
}

fn offer(
    certificates: &[Certificate],
    client_ca: Option<&Files<Arc<RootCertStore>>>,
    only_tls13: bool,
    http: bool,
) -> Offer {
    let identities = certificates.iter().map(|one| one.files.good.clone());
    Offer {
        identities: identities.collect(),
        client_ca: client_ca.map(|client_ca| Arc::clone(&client_ca.good)),
        only_tls13,
        http,
    }
}

/// A certificate with its key.
struct Certificate {
    files: Files<Identity>,
    /// When its end was last spoken of, in seconds since 1970.
    spoken_of_s: Option<i64>,
}

impl Certificate {
    /// Reads it. Its warnings have been said with the configuration.
    fn read(files: &CertificateFiles) -> Result<Self, Wrong> {
        let files = Files::read(vec![files.cert.clone(), files.key.clone()], read_identity)?;
        let now_s = now_s();
        let spoken_of_s = files.good.end_warning(now_s).map(|_| now_s);
        Ok(Self { files, spoken_of_s })
    }

    /// Tells whether there is a new one.
    fn look(&mut self, listener: &str, now_s: i64) -> bool {
        if !self.files.look_and_tell(listener) {
            return false;
        }
        let (file, identity) = (self.files.name(), &self.files.good);
        let names = identity.names().join(", ");
        let until = identity.not_after().and_then(|s| u64::try_from(s).ok());
        let until = until.map(|s| timestamp(UNIX_EPOCH + Duration::from_secs(s)));
        tracing::info!(%listener, file, names, until, "certificate replaced");
        for why in identity.warnings(now_s) {
            tracing::warn!(%listener, file, "{why}");
        }
        self.spoken_of_s = identity.end_warning(now_s).map(|_| now_s);
        true
    }

    /// Says that its end is near, unless that was said today.
    fn look_at_end(&mut self, listener: &str, now_s: i64) {
        if let Some(why) = self.end_to_tell(now_s) {
            tracing::warn!(%listener, file = self.files.name(), "{why}");
        }
    }

    fn end_to_tell(&mut self, now_s: i64) -> Option<String> {
        let quiet = |said_s| (said_s..said_s + END_QUIET_S).contains(&now_s);
        if self.spoken_of_s.is_some_and(quiet) {
            return None;
        }
        let why = self.files.good.end_warning(now_s)?;
        self.spoken_of_s = Some(now_s);
        Some(why)
    }
}

fn read_identity(texts: &[Vec<u8>]) -> Result<Identity, Wrong> {
    match texts {
        [cert, key] => identity::identity(cert, key),
        _ => identity::identity(&[], &[]),
    }
}

fn read_client_ca(texts: &[Vec<u8>]) -> Result<Arc<RootCertStore>, Wrong> {
    identity::client_ca(texts.first().map_or(&[], Vec::as_slice))
}

/// Files that make one thing together.
struct Files<T> {
    paths: Vec<PathBuf>,
    make: fn(&[Vec<u8>]) -> Result<T, Wrong>,
    /// What they made when they last made something.
    good: T,
    looks: Looks,
    /// What was last said of them, unless they are good.
    complaint: Option<Wrong>,
}

impl<T> Files<T> {
    fn read(paths: Vec<PathBuf>, make: fn(&[Vec<u8>]) -> Result<T, Wrong>) -> Result<Self, Wrong> {
        let texts = texts_of(&paths);
        let looks = Looks::begin(seen(&texts));
        Ok(Self {
            good: make(&texts?)?,
            paths,
            make,
            looks,
            complaint: None,
        })
    }

    /// Names the files in the log.
    fn name(&self) -> String {
        let mut names: Vec<_> = self
            .paths
            .iter()
            .map(|path| path.display())
            .map(|name| name.to_string())
            .collect();
        names.dedup();
        names.join(", ")
    }

    /// Takes what is new and good, and says what is not; tells whether there is something new.
    fn look_and_tell(&mut self, listener: &str) -> bool {
        match self.look() {
            None => false,
            Some(Ok(())) => true,
            Some(Err(why)) => {
                let file = self.name();
                tracing::warn!(%listener, file, %why, "not replaced: what was read before stays");
                false
            }
        }
    }

    /// Looks once; an answer is to be told.
    fn look(&mut self) -> Option<Result<(), Wrong>> {
        let texts = texts_of(&self.paths);
        if !self.looks.settles(seen(&texts)) {
            return None;
        }
        match texts.and_then(|texts| (self.make)(&texts)) {
            Ok(good) => {
                self.good = good;
                self.complaint = None;
                Some(Ok(()))
            }
            Err(wrong) if self.complaint.as_ref() == Some(&wrong) => None,
            Err(wrong) => {
                self.complaint = Some(wrong.clone());
                Some(Err(wrong))
            }
        }
    }
}

fn texts_of(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, Wrong> {
    let text_of = |path: &PathBuf| identity::text_of(Path::new(path));
    paths.iter().map(text_of).collect()
}

/// What a look at files sees: a digest, because keys need not lie about once more, or why there is
/// none.
type Seen = Result<[u8; 32], Wrong>;

fn seen(texts: &Result<Vec<Vec<u8>>, Wrong>) -> Seen {
    let mut context = Context::new(&SHA256);
    for text in texts.as_ref().map_err(Clone::clone)? {
        context.update(&text.len().to_be_bytes());
        context.update(text);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    Ok(digest)
}

/// The looks at files so far.
struct Looks {
    /// What was last acted upon.
    settled: Seen,
    /// What the last look saw that is different.
    fresh: Option<Seen>,
}

impl Looks {
    fn begin(settled: Seen) -> Self {
        Self {
            settled,
            fresh: None,
        }
    }

    /// Tells whether something new has been seen twice in a row.
    fn settles(&mut self, seen: Seen) -> bool {
        if seen == self.settled {
            self.fresh = None;
            return false;
        }
        if self.fresh.as_ref() == Some(&seen) {
            self.settled = seen;
            self.fresh = None;
            return true;
        }
        self.fresh = Some(seen);
        false
    }
}

fn now_s() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_s = since_1970.map_or(0, |time| time.as_secs());
    now_s.try_into().unwrap_or(i64::MAX)
}

/// The thread that looks, once there is something to look after; it ends when this is dropped.
#[derive(Default)]
pub(super) struct Watch(Option<Sender<Vec<Shown>>>);

impl Watch {
    /// Looks after `shown` from now on, in place of what was shown before.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub(super) fn replace(&mut self, shown: Vec<Shown>) -> io::Result<()> {
        let shown = match &self.0 {
            Some(watch) => match watch.send(shown) {
                Ok(()) => return Ok(()),
                Err(gone) => gone.0,
            },
            None => shown,
        };
        if shown.is_empty() {
            return Ok(());
        }
        let (watch, replaced) = channel();
        thread::Builder::new()
            .name("certificates".to_owned())
            .spawn(move || look_after(shown, &replaced))?;
        self.0 = Some(watch);
        Ok(())
    }
}

fn look_after(mut shown: Vec<Shown>, replaced: &Receiver<Vec<Shown>>) {
    let mut end_looked_at = Instant::now();
    loop {
        match replaced.recv_timeout(LOOK_PAUSE) {
            Ok(mut others) => {
                others.iter_mut().for_each(|one| one.succeed(&shown));
                shown = others;
                continue;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now_s = now_s();
        for each in &mut shown {
            each.look(now_s);
        }
        if end_looked_at.elapsed() >= END_PAUSE {
            end_looked_at = Instant::now();
            for each in &mut shown {
                let certificates = each.certificates.iter_mut();
                certificates.for_each(|one| one.look_at_end(&each.listener, now_s));
            }
        }
    }
}

#[cfg(test)]
mod tests;
