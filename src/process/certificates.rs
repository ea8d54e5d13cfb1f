//! The certificates of listeners and those for servers: read at the start and checked for as long as the
//! process runs, so that the next handshake uses a renewed certificate without a signal. Established
//! connections are not affected.
//!
//! The files are read again after each [`LOOK_PAUSE`] and compared by content. That detects a file that was
//! rewritten in place, a file that was replaced by a rename, and a changed link anywhere in its path, on
//! every file system. Events (inotify) would not: they need a watch on every directory that a link leads
//! through, set anew when a link changes, and do not report changes by another machine. Reading a few small
//! files costs some microseconds.
//!
//! A change counts if two reads in a row give the same, so that neither half a file nor a certificate whose
//! key comes a moment later is used. A change with an error is reported once, and the previous certificate
//! stays in use. It also stays if the new one is worse ([`judge::worse`]); a reload asks nothing. What clients'
//! certificates are judged by is [`clients`].

mod certificate;
mod clients;
mod files;
mod folder;
mod servers;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use tokio::sync::watch;

use certificate::{Candidate, Certificate, now_s};
use clients::Clients;
use files::Files;
use folder::{Changes, Folder};
pub(super) use servers::ServersTls;

use crate::admin::state::{CertificateInUse, CertificateOwner, CertificatesInUse};
use crate::config::{CertificateSource, Listener, Mode, TlsVersion};
use crate::reception::snapshot::TlsNow;
use crate::tls::identity::{Offer, Tickets, server_config, tickets};
use crate::tls::judge::{self, About, Asked, Finding};
use crate::tls::servers::is_root_of_system;
use crate::tls::ticket_keys::{self, TicketKeys};
use crate::tls::wrong::Wrong;

/// Pause between two reads of the files; two reads detect a change, well within five seconds.
const LOOK_PAUSE: Duration = Duration::from_millis(1500);
/// Pause between two checks of every certificate's expiry.
const END_PAUSE: Duration = Duration::from_secs(60 * 60);

/// The certificates of one listener.
pub(super) struct Shown {
    listener: Arc<str>,
    certificates: Vec<Certificate>,
    folders: Vec<Folder>,
    /// The names that the routes take.
    asked: Asked,
    clients: Option<Clients>,
    only_tls13: bool,
    http: bool,
    /// The keys of tickets from files, if there are any.
    ticket_keys: Option<Files<Arc<TicketKeys>>>,
    tickets: Tickets,
    /// Whether the trusted certificates or the files of keys have changed, so that the tickets have to change too.
    tickets_due: bool,
    /// Whether a new configuration has to be published.
    stale: bool,
    /// The present configuration, for reception.
    published: watch::Sender<Arc<ServerConfig>>,
}

impl Shown {
    /// Reads the certificates of a listener; none if it has no TLS.
    ///
    /// # Errors
    /// A description of the fault; the files were valid when the configuration was read.
    pub(super) fn of(listener: &Listener) -> Result<Option<Self>, Wrong> {
        let Some(tls) = &listener.tls else {
            return Ok(None);
        };
        let (mut certificates, mut folders) = (Vec::new(), Vec::new());
        for (element, source) in tls.certificates.iter().enumerate() {
            match source {
                CertificateSource::Files(files) => {
                    let mut certificate = Certificate::read(files)?;
                    certificate.element = element;
                    certificates.push(certificate);
                }
                CertificateSource::Folder(path) => {
                    let (folder, its) = Folder::read(path, element)?;
                    folders.push(folder);
                    certificates.extend(its);
                }
            }
        }
        let clients = Clients::of(tls)?;
        let (only_tls13, http) = (
            tls.min_version == TlsVersion::V1_3,
            listener.mode == Mode::Http,
        );
        let ticket_keys = match tls.ticket_keys.as_slice() {
            [] => None,
            paths => Some(Files::read(paths.to_vec(), ticket_keys::read)?),
        };
        let tickets = tickets_of(ticket_keys.as_ref(), clients.as_ref())?;
        let offer = offer(&certificates, clients.as_ref(), only_tls13, http);
        let config = server_config(offer, Arc::clone(&tickets))?;
        Ok(Some(Self {
            listener: Arc::clone(&listener.name),
            certificates,
            folders,
            asked: listener.asked(),
            clients,
            only_tls13,
            http,
            ticket_keys,
            tickets,
            tickets_due: false,
            stale: false,
            published: watch::channel(config).0,
        }))
    }

    /// Returns the receiver of the present configuration.
    pub(super) fn now(&self) -> TlsNow {
        self.published.subscribe()
    }

    /// Takes over the tickets of the same listener before a reload, so that its clients need no full
    /// handshake; not if the trusted certificates have changed. Tickets under keys from files need nothing
    /// of the kind.
    fn succeed(&mut self, before: &[Self]) {
        if self.ticket_keys.is_some() {
            return;
        }
        let trusts = |one: &Self| one.clients.as_ref().map(Clients::scope);
        let same = |one: &&Self| {
            one.listener == self.listener
                && one.ticket_keys.is_none()
                && !one.tickets_due
                && trusts(one) == trusts(self)
        };
        if let Some(before) = before.iter().find(same) {
            self.tickets = Arc::clone(&before.tickets);
            self.publish();
        }
    }

    /// Checks whether a file has changed, and publishes the new contents.
    fn look(&mut self, now_s: i64) {
        let mut changed = self.look_at_folders(now_s);
        for index in 0..self.certificates.len() {
            changed |= self.look_at(index, now_s);
        }
        if let Some(clients) = &mut self.clients {
            let trusted_anew = clients.look(&self.listener, now_s);
            changed |= trusted_anew;
            // A ticket stands for a certificate that was verified by what counts no longer.
            self.tickets_due |= trusted_anew;
        }
        if let Some(keys) = &mut self.ticket_keys {
            let owner = CertificateOwner::Listener(Arc::clone(&self.listener));
            let renewed = keys.look_and_tell(&owner);
            if renewed {
                tracing::info!(listener = %self.listener, file = keys.name(), "ticket_keys replaced");
            }
            self.tickets_due |= renewed;
        }
        self.stale |= changed;
        if self.tickets_due {
            match tickets_of(self.ticket_keys.as_ref(), self.clients.as_ref()) {
                Ok(new) => {
                    self.tickets = new;
                    self.tickets_due = false;
                    self.stale = true;
                }
                // The previous configuration stays; the next check tries again.
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

    /// Checks whether certificates have come into a folder, or are gone; returns whether one has.
    fn look_at_folders(&mut self, now_s: i64) -> bool {
        let owner = CertificateOwner::Listener(Arc::clone(&self.listener));
        let mut all = Changes::default();
        for folder in &mut self.folders {
            let changes = folder.look(&mut self.certificates, &owner, now_s);
            all.added.extend(changes.added);
            all.removed.extend(changes.removed);
        }
        for file in &all.removed {
            tracing::info!(listener = %self.listener, file = %file.display(), "certificate removed");
        }
        for file in &all.added {
            let is_it = |it: &Certificate| it.files.paths.first() == Some(file);
            if let Some(index) = self.certificates.iter().position(is_it) {
                self.tell_new(index, now_s, "certificate added");
            }
        }
        !all.added.is_empty() || !all.removed.is_empty()
    }

    /// Checks whether there is a new certificate, and takes it unless it is worse; returns whether it took one.
    fn look_at(&mut self, index: usize, now_s: i64) -> bool {
        let owner = CertificateOwner::Listener(Arc::clone(&self.listener));
        let Some(new) = self
            .certificates
            .get_mut(index)
            .and_then(|it| it.candidate(&owner))
        else {
            return false;
        };
        let worse = self.worse(index, &new, now_s);
        let Some(certificate) = self.certificates.get_mut(index) else {
            return false;
        };
        if worse.is_empty() {
            certificate.take(new, now_s);
            self.tell_new(index, now_s, "certificate replaced");
            return true;
        }
        certificate.refuse(new, &worse, &owner);
        false
    }

    fn worse(&self, index: usize, new: &Candidate, now_s: i64) -> Vec<Finding> {
        let judged = self
            .certificates
            .iter()
            .map(|it| it.files.good.to_judge(""));
        let mut others: Vec<_> = judged.collect();
        if index >= others.len() {
            return Vec::new();
        }
        let old = others.swap_remove(index);
        let lost = new.issuer_lost.clone();
        let new = new.identity.to_judge("");
        judge::worse(&new, &old, &others, &self.asked, now_s, lost)
    }

    /// Logs that there is a new certificate, and what deserves a warning about it.
    fn tell_new(&self, index: usize, now_s: i64, text: &str) {
        let files: Vec<_> = self.certificates.iter().map(|it| it.files.name()).collect();
        let all = self.certificates.iter().zip(&files);
        let all: Vec<_> = all.map(|(it, file)| it.files.good.to_judge(file)).collect();
        let parts = (
            self.certificates.get(index),
            files.get(index),
            all.get(index),
        );
        let (Some(certificate), Some(file), Some(judged)) = parts else {
            return;
        };
        let (listener, identity) = (&self.listener, &certificate.files.good);
        let names = identity.names().join(", ");
        let until = certificate.until();
        tracing::info!(%listener, file, names, until, "{text}");
        let alone = judged.alone(now_s).into_iter();
        let alone = alone.chain(judged.issuer_missing(is_root_of_system));
        for why in alone {
            tracing::warn!(%listener, file, "{why}");
        }
        for (about, why) in judge::together(&all, &self.asked) {
            match about {
                About::Certificate(at) if at == index => {
                    tracing::warn!(%listener, file, "{why}");
                }
                About::Routes => tracing::warn!(%listener, "{why}"),
                // It has been warned of.
                About::Certificate(_) => {}
            }
        }
    }

    /// Describes its certificates for operators.
    fn in_use(&self) -> impl Iterator<Item = CertificateInUse> {
        let owner = || CertificateOwner::Listener(Arc::clone(&self.listener));
        self.certificates.iter().map(move |one| one.in_use(owner()))
    }

    fn publish(&self) {
        let clients = self.clients.as_ref();
        let offer = offer(&self.certificates, clients, self.only_tls13, self.http);
        match server_config(offer, Arc::clone(&self.tickets)) {
            Ok(config) => drop(self.published.send_replace(config)),
            Err(wrong) => {
                tracing::error!(listener = %self.listener, %wrong, "certificates not replaced");
            }
        }
    }
}

/// Makes tickets under the keys from files, or under keys of their own. Tickets under keys from files are good
/// for listeners only that trust the same clients: a client that resumes is not verified again.
fn tickets_of(
    keys: Option<&Files<Arc<TicketKeys>>>,
    clients: Option<&Clients>,
) -> Result<Tickets, Wrong> {
    let Some(keys) = keys else {
        return tickets();
    };
    let scope = clients.map_or([0; 32], Clients::scope);
    Ok(ticket_keys::tickets(Arc::clone(&keys.good), scope))
}

fn offer(
    certificates: &[Certificate],
    clients: Option<&Clients>,
    only_tls13: bool,
    http: bool,
) -> Offer {
    let identities = certificates.iter().map(|one| one.files.good.clone());
    Offer {
        identities: identities.collect(),
        clients: clients.map(Clients::demand),
        only_tls13,
        http,
    }
}

/// The thread that checks certificates, if there are any; it ends when this is dropped.
pub(super) struct Watch {
    thread: Option<Sender<Watched>>,
    in_use: CertificatesInUse,
}

/// What is checked.
#[derive(Default)]
pub(super) struct Watched {
    /// The certificates of listeners.
    pub(super) shown: Vec<Shown>,
    /// The files for servers.
    pub(super) to_servers: Vec<ServersTls>,
}

impl Watched {
    fn is_empty(&self) -> bool {
        self.shown.is_empty() && self.to_servers.is_empty()
    }

    /// Tells operators which certificates are in use.
    fn describe(&self, in_use: &CertificatesInUse) {
        let shown = self.shown.iter().flat_map(Shown::in_use);
        let to_servers = self.to_servers.iter().flat_map(ServersTls::in_use);
        let now: Vec<_> = shown.chain(to_servers).collect();
        if **in_use.load() != now {
            in_use.store(Arc::new(now));
        }
    }

    /// Checks whether a file has changed, and uses the new contents.
    fn look(&mut self, now_s: i64) {
        self.shown.iter_mut().for_each(|each| each.look(now_s));
        let to_servers = self.to_servers.iter_mut();
        to_servers.for_each(|each| each.look(now_s));
    }

    /// Warns of certificates that expire soon, unless that was logged today.
    fn look_at_end(&mut self, now_s: i64) {
        for each in &mut self.shown {
            let certificates = each.certificates.iter_mut();
            certificates.for_each(|one| one.look_at_end(&each.listener, now_s));
        }
        let to_servers = self.to_servers.iter_mut();
        to_servers.for_each(|each| each.look_at_end(now_s));
    }
}

impl Watch {
    /// Starts without a thread; operators are told of certificates through `in_use`.
    pub(super) fn new(in_use: CertificatesInUse) -> Self {
        Self {
            thread: None,
            in_use,
        }
    }

    /// Checks `watched` from now on, instead of the previous certificates and files.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub(super) fn replace(&mut self, watched: Watched) -> io::Result<()> {
        watched.describe(&self.in_use);
        let watched = match &self.thread {
            Some(watch) => match watch.send(watched) {
                Ok(()) => return Ok(()),
                Err(gone) => gone.0,
            },
            None => watched,
        };
        if watched.is_empty() {
            return Ok(());
        }
        let (watch, replaced) = channel();
        let in_use = Arc::clone(&self.in_use);
        thread::Builder::new()
            .name("certificates".to_owned())
            .spawn(move || look_after(watched, &replaced, &in_use))?;
        self.thread = Some(watch);
        Ok(())
    }
}

fn look_after(mut watched: Watched, replaced: &Receiver<Watched>, in_use: &CertificatesInUse) {
    let mut end_looked_at = Instant::now();
    loop {
        match replaced.recv_timeout(LOOK_PAUSE) {
            Ok(mut other) => {
                let shown = other.shown.iter_mut();
                shown.for_each(|one| one.succeed(&watched.shown));
                watched = other;
                // The previous ones may have been described after these were.
                watched.describe(in_use);
                continue;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now_s = now_s();
        watched.look(now_s);
        watched.describe(in_use);
        if end_looked_at.elapsed() >= END_PAUSE {
            end_looked_at = Instant::now();
            watched.look_at_end(now_s);
        }
    }
}

#[cfg(test)]
mod tests;
