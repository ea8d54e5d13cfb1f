//! The place of a client: one of `max_connections`, and one more client of its listener, from accept to
//! the end of its connection or tunnel.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::OwnedSemaphorePermit;

/// The current number of clients of one listener, on all threads and under all its configurations.
#[derive(Debug, Clone, Default)]
pub struct Clients(Arc<AtomicU32>);

impl Clients {
    /// Returns the number.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A place. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct ClientPlace {
    clients: Clients,
    _permit: OwnedSemaphorePermit,
}

impl ClientPlace {
    /// Counts the client that holds the `permit`, one of `max_connections`.
    pub(super) fn new(permit: OwnedSemaphorePermit, clients: &Clients) -> Self {
        clients.0.fetch_add(1, Ordering::Relaxed);
        Self {
            clients: clients.clone(),
            _permit: permit,
        }
    }

    /// Returns the number of clients of its listener, this one included.
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
