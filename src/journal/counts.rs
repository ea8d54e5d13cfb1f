//! Events counted by listener, backend and server: plain counters of each thread, summed by the reader.
//!
//! A thread has its own row for each combination of names it has met, to which no other thread writes; from
//! the second time on it finds the row without a lock. Names come from the configuration, so there are few
//! rows however many clients there are.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

use super::backlog::Backlog;
use super::cause::Cause;
use super::entry::{Entry, Offloaded, Subject};
use super::timing::Timing;

/// Upper bounds of the buckets of a stage, in microseconds; longer times are in one more bucket.
pub const BOUNDS_US: [u64; 16] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000,
    2_500_000, 10_000_000, 30_000_000,
];
/// Combinations of names that a thread finds without a lock.
const FOUND_MAX: usize = 4096;
/// Cipher suites that are distinguished.
const SUITES: usize = 12;

const CAUSES: usize = Cause::ALL.len();
const BUCKETS: usize = BOUNDS_US.len() + 1;
const OFFLOADS: usize = Offloaded::ALL.len();
/// Counts of one place each stand in front of those of a place for each cause.
const ENDED: usize = 2;
const REQUESTS: usize = ENDED + CAUSES;
const REFUSED: usize = REQUESTS + CAUSES;
const BYTES: usize = REFUSED + CAUSES;
const OFFLOAD: usize = BYTES + 4;
const STAGES: usize = OFFLOAD + 2 * OFFLOADS;
const STAGE_LEN: usize = BUCKETS + 1;
const LEN: usize = STAGES + Stage::ALL.len() * STAGE_LEN;

/// All counters, and the fill level of the queue.
#[derive(Debug)]
pub struct Counts {
    tally: Tally,
    by_cause: Vec<AtomicU64>,
    backlog: Backlog,
}

impl Counts {
    pub(super) fn new() -> Self {
        Self {
            tally: Tally::new(),
            by_cause: Cause::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            backlog: Backlog::default(),
        }
    }

    /// Returns how often `cause` was counted.
    #[must_use]
    pub fn of(&self, cause: Cause) -> u64 {
        self.by_cause
            .get(cause as usize)
            .map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Returns the counters by listener, backend and server.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Returns how many entries wait for the writer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.backlog.waiting()
    }

    /// Returns how many entries were dropped because the queue was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.backlog.dropped()
    }

    pub(super) fn backlog(&self) -> &Backlog {
        &self.backlog
    }

    /// Counts an entry.
    pub(super) fn note(&self, entry: &Entry) {
        match entry {
            Entry::Progress { .. } => {}
            Entry::Open { subject, .. } => self.tally.of(subject, |row| {
                row.add(Count::Opened, 1);
                row.took_those_of(subject);
            }),
            Entry::Close {
                subject,
                cause,
                path_in,
                path_out,
                ..
            } => {
                self.add(*cause);
                self.tally.of(subject, |row| {
                    row.add(Count::Ended(*cause), 1);
                    for (way, path) in [(Way::In, path_in), (Way::Out, path_out)] {
                        let offload = path.offload.map(|state| Count::Offload(way, state));
                        offload.iter().for_each(|count| row.add(*count, 1));
                    }
                });
            }
            Entry::Request {
                subject,
                cause,
                bytes_in,
                bytes_out,
                ..
            } => {
                let timing = subject.timing.as_deref().copied().unwrap_or_default();
                self.note_request(subject, &timing, *cause, (*bytes_in, *bytes_out));
            }
            Entry::Refused { subject, cause, .. } => {
                self.add(*cause);
                self.tally.of(subject, |row| {
                    row.add(Count::Refused(*cause), 1);
                    row.took_those_of(subject);
                });
            }
        }
    }

    /// Counts a request that was answered, with the bytes of its bodies.
    pub(super) fn note_request(
        &self,
        subject: &Subject,
        timing: &Timing,
        cause: Cause,
        (bytes_in, bytes_out): (u64, u64),
    ) {
        self.add(cause);
        self.tally.of(subject, |row| {
            row.add(Count::Requests(cause), 1);
            row.add(Count::BodyBytes(Way::In), bytes_in);
            row.add(Count::BodyBytes(Way::Out), bytes_out);
            row.took_all(timing);
        });
    }

    /// Counts an end at a listener that has no access line.
    pub(super) fn note_silently(&self, listener: &Arc<str>, cause: Cause) {
        self.add(cause);
        self.tally
            .at(listener, |row| row.add(Count::Refused(cause), 1));
    }

    fn add(&self, cause: Cause) {
        if let Some(count) = self.by_cause.get(cause as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The names of a row; a name not chosen yet is none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Names {
    /// Name of the listener.
    pub listener: Arc<str>,
    /// Name of the backend.
    pub backend: Option<Arc<str>>,
    /// Name of the server.
    pub server: Option<Arc<str>>,
}

/// A part of the opening of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// From accept to the end of the PROXY header.
    ProxyHeader,
    /// The TLS handshake.
    TlsHandshake,
    /// The request's head.
    Head,
    /// Waiting for a place at a server.
    Queue,
    /// Connecting to a server.
    Connect,
    /// From the request's being sent to the head of the answer, or the upgrade.
    Response,
}

impl Stage {
    /// Every stage, in their order.
    pub const ALL: [Self; 6] = [
        Self::ProxyHeader,
        Self::TlsHandshake,
        Self::Head,
        Self::Queue,
        Self::Connect,
        Self::Response,
    ];

    /// Returns the word of the metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProxyHeader => "proxy_header",
            Self::TlsHandshake => "tls_handshake",
            Self::Head => "head",
            Self::Queue => "queue",
            Self::Connect => "connect",
            Self::Response => "response",
        }
    }
}

/// A direction of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// From the client.
    In,
    /// To the client.
    Out,
}

/// An event that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// A connection was accepted.
    Accepted,
    /// A tunnel opened.
    Opened,
    /// A tunnel ended.
    Ended(Cause),
    /// A request was answered.
    Requests(Cause),
    /// A connection or a request was refused, or ended without an access line.
    Refused(Cause),
    /// A byte went through a tunnel.
    TunnelBytes(Way),
    /// A byte of a body was forwarded.
    BodyBytes(Way),
    /// A tunnel over TLS ended, with this offload state.
    Offload(Way, Offloaded),
}

impl Count {
    fn place(self) -> usize {
        match self {
            Self::Accepted => single(0),
            Self::Opened => single(1),
            Self::Ended(cause) => ENDED + cause as usize,
            Self::Requests(cause) => REQUESTS + cause as usize,
            Self::Refused(cause) => REFUSED + cause as usize,
            Self::TunnelBytes(way) => BYTES + way as usize,
            Self::BodyBytes(way) => BYTES + 2 + way as usize,
            Self::Offload(way, state) => OFFLOAD + way as usize * OFFLOADS + state as usize,
        }
    }
}

/// Returns the place of a count that has one place. A new one that [`ENDED`] does not make room for would
/// share its place with an end.
const fn single(place: usize) -> usize {
    assert!(place < ENDED, "ENDED makes room for every single count");
    place
}

/// The counters of one thread for one combination of names.
#[derive(Debug)]
pub struct Row {
    counts: Box<[AtomicU64]>,
    handshakes: Mutex<Handshakes>,
}

/// Counts by version, cipher and whether a session was resumed.
type Handshakes = Vec<((&'static str, &'static str, bool), u64)>;

impl Row {
    fn new() -> Self {
        Self {
            counts: (0..LEN).map(|_| AtomicU64::new(0)).collect(),
            handshakes: Mutex::default(),
        }
    }

    /// Adds to a count.
    pub fn add(&self, count: Count, more: u64) {
        self.add_at(count.place(), more);
    }

    fn add_at(&self, place: usize, more: u64) {
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// Adds the duration of a stage.
    pub fn took(&self, stage: Stage, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        let start = STAGES + stage as usize * STAGE_LEN;
        self.add_at(start + bucket, 1);
        self.add_at(start + BUCKETS, us);
    }

    /// Adds the durations of a request's stages.
    pub fn took_all(&self, timing: &Timing) {
        let stages = [
            (Stage::Head, timing.head),
            (Stage::Queue, timing.queue),
            (Stage::Connect, timing.connect),
            (Stage::Response, timing.response),
        ];
        for (stage, time) in stages {
            if let Some(time) = time {
                self.took(stage, time);
            }
        }
    }

    fn took_those_of(&self, subject: &Subject) {
        if let Some(timing) = subject.timing.as_deref() {
            self.took_all(timing);
        }
    }

    /// Counts a handshake; it costs far more than the uncontended lock.
    pub fn shook_hands(&self, version: &'static str, cipher: &'static str, resumed: bool) {
        let key = (version, cipher, resumed);
        let mut handshakes = self
            .handshakes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, count)) = handshakes.iter_mut().find(|(known, _)| *known == key) {
            *count += 1;
        } else if handshakes.len() < 2 * SUITES {
            handshakes.push((key, 1));
        }
    }
}

/// The sum of rows.
#[derive(Debug, Clone)]
pub struct Sum {
    counts: Vec<u64>,
    /// By version, cipher and whether a session was resumed.
    pub handshakes: BTreeMap<(&'static str, &'static str, bool), u64>,
}

impl Sum {
    fn new() -> Self {
        Self {
            counts: vec![0; LEN],
            handshakes: BTreeMap::new(),
        }
    }

    fn take_in(&mut self, row: &Row) {
        for (sum, count) in self.counts.iter_mut().zip(&row.counts) {
            *sum += count.load(Ordering::Relaxed);
        }
        let handshakes = row
            .handshakes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (key, count) in handshakes.iter() {
            *self.handshakes.entry(*key).or_default() += count;
        }
    }

    /// Returns a count.
    #[must_use]
    pub fn of(&self, count: Count) -> u64 {
        self.counts.get(count.place()).copied().unwrap_or(0)
    }

    /// Returns how many tunnels have ended.
    #[must_use]
    pub fn ended(&self) -> u64 {
        Cause::ALL
            .iter()
            .map(|cause| self.of(Count::Ended(*cause)))
            .sum()
    }

    /// Returns the counts of a stage by bucket, and the sum of its durations in microseconds.
    #[must_use]
    pub fn stage(&self, stage: Stage) -> (&[u64], u64) {
        let start = STAGES + stage as usize * STAGE_LEN;
        let buckets = self.counts.get(start..start + BUCKETS).unwrap_or_default();
        (
            buckets,
            self.counts.get(start + BUCKETS).copied().unwrap_or(0),
        )
    }
}

/// All rows.
#[derive(Debug)]
pub struct Tally {
    /// Distinguishes tallies of one process (tests have many).
    number: u64,
    rows: Mutex<HashMap<(ThreadId, Names), Arc<Row>>>,
}

/// Rows a thread has found before: keyed by tally and the addresses of the names in memory, which stay valid
/// while the names are held here.
type Found = HashMap<(u64, [usize; 3]), (Names, Arc<Row>)>;

thread_local! {
    static FOUND: RefCell<Found> = RefCell::default();
}

impl Tally {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            rows: Mutex::default(),
        }
    }

    /// Calls `write` with this thread's row for the names of a connection.
    pub fn of(&self, subject: &Subject, write: impl FnOnce(&Row)) {
        let Subject {
            listener,
            backend,
            server,
            ..
        } = subject;
        self.row(listener, backend.as_ref(), server.as_ref(), write);
    }

    /// Calls `write` with this thread's row for a listener.
    pub fn at(&self, listener: &Arc<str>, write: impl FnOnce(&Row)) {
        self.row(listener, None, None, write);
    }

    fn row(
        &self,
        listener: &Arc<str>,
        backend: Option<&Arc<str>>,
        server: Option<&Arc<str>>,
        write: impl FnOnce(&Row),
    ) {
        let place = |name: &Arc<str>| Arc::as_ptr(name).cast::<u8>() as usize;
        let of = |name: Option<&Arc<str>>| name.map_or(0, place);
        let key = (self.number, [place(listener), of(backend), of(server)]);
        // `write` never comes back here; on a thread that is ending, nothing is counted.
        let _ = FOUND.try_with(|found| {
            let mut found = found.borrow_mut();
            if found.len() >= FOUND_MAX && !found.contains_key(&key) {
                found.clear();
            }
            let (_, row) = found.entry(key).or_insert_with(|| {
                let names = Names {
                    listener: Arc::clone(listener),
                    backend: backend.cloned(),
                    server: server.cloned(),
                };
                let row = self.register(names.clone());
                (names, row)
            });
            write(row);
        });
    }

    fn register(&self, names: Names) -> Arc<Row> {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let row = rows.entry((std::thread::current().id(), names));
        Arc::clone(row.or_insert_with(|| Arc::new(Row::new())))
    }

    /// Returns the sums over all threads.
    #[must_use]
    pub fn read(&self) -> BTreeMap<Names, Sum> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sums = BTreeMap::new();
        for ((_, names), row) in rows.iter() {
            let sum = sums.entry(names.clone()).or_insert_with(Sum::new);
            sum.take_in(row);
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_count_apart_and_are_summed() {
        let (tally, other) = (Arc::new(Tally::new()), Tally::new());
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let tally = Arc::clone(&tally);
                std::thread::spawn(move || {
                    // A new name for each, as after a reload.
                    for _ in 0..2 {
                        let name: Arc<str> = "edge".into();
                        tally.at(&name, |row| row.add(Count::Accepted, 5));
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        other.at(&"edge".into(), |row| row.add(Count::Accepted, 100));
        let read = tally.read();
        let (names, sum) = read.first_key_value().unwrap();
        assert_eq!((read.len(), &*names.listener), (1, "edge"));
        assert_eq!((sum.of(Count::Accepted), sum.of(Count::Opened)), (30, 0));
        assert_eq!(tally.rows.lock().unwrap().len(), 3, "a row per thread");
    }

    #[test]
    fn every_count_has_a_place_of_its_own() {
        let row = Row::new();
        let each = |of: fn(Cause) -> Count| Cause::ALL.iter().map(move |cause| of(*cause));
        let ways = [Way::In, Way::Out];
        let mut all: Vec<Count> = vec![Count::Accepted, Count::Opened];
        all.extend(
            each(Count::Ended)
                .chain(each(Count::Requests))
                .chain(each(Count::Refused)),
        );
        all.extend(ways.map(Count::TunnelBytes));
        all.extend(ways.map(Count::BodyBytes));
        for way in ways {
            all.extend(Offloaded::ALL.map(|state| Count::Offload(way, state)));
        }
        for count in &all {
            row.add(*count, 1);
        }
        for stage in Stage::ALL {
            row.took(stage, Duration::from_micros(51));
        }
        let mut sum = Sum::new();
        sum.take_in(&row);
        assert!(all.iter().all(|count| sum.of(*count) == 1));
        assert_eq!(all.len(), STAGES);
        for stage in Stage::ALL {
            let (buckets, us) = sum.stage(stage);
            assert_eq!(
                (buckets[..3].to_vec(), us),
                (vec![0, 1, 0], 51),
                "{stage:?}"
            );
        }
    }

    #[test]
    fn buckets_take_their_upper_bound_in() {
        let row = Row::new();
        for us in [0, 50, 51, 30_000_000, 30_000_001] {
            row.took(Stage::Head, Duration::from_micros(us));
        }
        let mut sum = Sum::new();
        sum.take_in(&row);
        let (buckets, _) = sum.stage(Stage::Head);
        assert_eq!(
            (buckets[0], buckets[1], buckets[15], buckets[16]),
            (2, 1, 1, 1)
        );
    }
}
