//! A client's place: one of `max_connections`, and counted at its listener for as long as the client
//! is there, as a tunnel too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::OwnedSemaphorePermit;

/// The clients of one listener at this moment, on all threads. Those who are let in under another
/// configuration of it count here as well.
#[derive(Debug, Clone, Default)]
pub struct Clients(Arc<AtomicU32>);

impl Clients {
    /// Returns how many there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A place, given back by being dropped.
#[derive(Debug)]
pub(super) struct ClientPlace {
    clients: Clients,
    _among_all: OwnedSemaphorePermit,
}

impl ClientPlace {
    /// Counts a client who has a place among all.
    pub(super) fn new(among_all: OwnedSemaphorePermit, clients: &Clients) -> Self {
        clients.0.fetch_add(1, Ordering::Relaxed);
        Self {
            clients: clients.clone(),
            _among_all: among_all,
        }
    }

    /// Returns how many clients its listener has, this one among them.
    pub(super) fn at_listener(&self) -> u32 {
        self.clients.count()
    }
}

impl Drop for ClientPlace {
    fn drop(&mut self) {
        self.clients.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::Semaphore;

    #[test]
    fn a_client_counts_until_its_place_is_dropped() {
        let (places, clients) = (Arc::new(Semaphore::new(2)), Clients::default());
        let take = || {
            let place = Arc::clone(&places).try_acquire_owned().unwrap();
            ClientPlace::new(place, &clients)
        };
        let (first, second) = (take(), take());
        assert_eq!((first.at_listener(), second.at_listener()), (2, 2));
        drop(first);
        assert_eq!((clients.count(), places.available_permits()), (1, 1));
        drop(second);
        assert_eq!((clients.count(), places.available_permits()), (0, 2));
    }
}
