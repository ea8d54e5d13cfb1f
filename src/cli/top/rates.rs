//! Rates from pairs of overviews: now, and in the last minutes.

use std::collections::{BTreeMap, VecDeque};

use super::words::Rate;
use crate::admin::overview::{Overview, Totals};

/// Number of rates that are kept.
const PULSES_MAX: usize = 600;
/// Shortest time over which rates are computed: the process itself counts the bytes of open tunnels about
/// twice a second.
const SPAN_MS: u64 = 900;

/// Rates between two overviews, of the process or of a part of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pulse {
    /// Connections of clients.
    pub(super) accepted: Rate,
    /// Tunnels that were opened.
    pub(super) opened: Rate,
    /// Requests that are no tunnels.
    pub(super) requests: Rate,
    /// Connections and requests that failed.
    pub(super) refused: Rate,
    /// Bytes from clients.
    pub(super) bytes_in: Rate,
    /// Bytes to clients.
    pub(super) bytes_out: Rate,
}

/// A part of the traffic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Share {
    /// One listener.
    Listener(String),
    /// One server: its backend and its name.
    Server(String, String),
}

/// The overviews of one process.
#[derive(Debug)]
pub(super) struct Watched {
    /// The latest overview.
    pub(super) now: Overview,
    /// Earlier ones; rates are computed from the first of them.
    past: VecDeque<Overview>,
    /// Rates of the process, the latest last.
    pub(super) pulses: VecDeque<Pulse>,
    shares: BTreeMap<Share, Pulse>,
}

impl Watched {
    /// Begins with a first overview.
    pub(super) fn new(now: Overview) -> Self {
        Self {
            now,
            past: VecDeque::new(),
            pulses: VecDeque::new(),
            shares: BTreeMap::new(),
        }
    }

    /// Takes the next overview of the same process.
    pub(super) fn take(&mut self, next: Overview) {
        self.past.push_back(std::mem::replace(&mut self.now, next));
        let is_old = |it: &Overview| it.at_ms + SPAN_MS <= self.now.at_ms;
        while self.past.get(1).is_some_and(is_old) {
            self.past.pop_front();
        }
        let Some(before) = self.past.front() else {
            return;
        };
        let time_ms = self.now.at_ms.saturating_sub(before.at_ms);
        let pulse = pulse(&self.now.totals, &before.totals, time_ms);
        if self.pulses.len() == PULSES_MAX {
            self.pulses.pop_front();
        }
        self.pulses.push_back(pulse);
        let before = sums(before);
        let none = Totals::default();
        let share = |(name, now): (Share, Totals)| {
            let before = before.get(&name).unwrap_or(&none);
            let pulse = self::pulse(&now, before, time_ms);
            (name, pulse)
        };
        self.shares = sums(&self.now).into_iter().map(share).collect();
    }

    /// Returns whether `next` is from the same process.
    pub(super) fn is_same(&self, next: &Overview) -> bool {
        let of = |it: &Overview| (it.status.pid, it.status.started_ms);
        of(&self.now) == of(next)
    }

    /// Returns the present rates.
    pub(super) fn pulse(&self) -> Pulse {
        self.pulses.back().copied().unwrap_or_default()
    }

    /// Returns the present rates of a part.
    pub(super) fn pulse_of(&self, share: &Share) -> Pulse {
        self.shares.get(share).copied().unwrap_or_default()
    }

    /// Returns the rate of a value that both overviews count.
    pub(super) fn rate_of(&self, count: impl Fn(&Overview) -> u64) -> Rate {
        let Some(before) = self.past.front() else {
            return Rate::default();
        };
        let more = count(&self.now).saturating_sub(count(before));
        Rate::of(more, self.now.at_ms.saturating_sub(before.at_ms))
    }
}

fn pulse(now: &Totals, before: &Totals, time_ms: u64) -> Pulse {
    let rate =
        |count: fn(&Totals) -> u64| Rate::of(count(now).saturating_sub(count(before)), time_ms);
    Pulse {
        accepted: rate(|it| it.accepted),
        opened: rate(|it| it.tunnels_opened),
        requests: rate(|it| it.requests),
        refused: rate(|it| it.refused),
        bytes_in: rate(|it| it.bytes_in),
        bytes_out: rate(|it| it.bytes_out),
    }
}

fn sums(overview: &Overview) -> BTreeMap<Share, Totals> {
    let mut sums: BTreeMap<Share, Totals> = BTreeMap::new();
    for row in &overview.traffic {
        let listener = Share::Listener(row.listener.clone());
        sums.entry(listener).or_default().add(&row.totals);
        if let (Some(backend), Some(server)) = (&row.backend, &row.server) {
            let server = Share::Server(backend.clone(), server.clone());
            sums.entry(server).or_default().add(&row.totals);
        }
    }
    sums
}
