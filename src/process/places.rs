//! `max_connections` while the process serves: places are added at once, and removed as they become free, so
//! that no open connection has to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_local};

/// The places for client connections.
pub(super) struct Places {
    semaphore: Arc<Semaphore>,
    /// Number of places, taken ones included.
    count: Arc<AtomicUsize>,
    /// The task that waits for places to remove.
    shrinking: Option<JoinHandle<()>>,
}

impl Places {
    /// Makes `count` places.
    pub(super) fn new(count: usize) -> Self {
        Self {
            semaphore: Arc::new(Semaphore::new(count)),
            count: Arc::new(AtomicUsize::new(count)),
            shrinking: None,
        }
    }

    /// Returns the semaphore of free places.
    pub(super) fn semaphore(&self) -> Arc<Semaphore> {
        Arc::clone(&self.semaphore)
    }

    /// Returns the number of places, taken ones included.
    pub(super) fn count(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.count)
    }

    /// Changes the number of places to `wanted`; removal may take time.
    ///
    /// # Panics
    /// Outside of a [`tokio::task::LocalSet`].
    pub(super) fn resize(&mut self, wanted: usize) {
        if let Some(shrinking) = self.shrinking.take() {
            // The permits it has collected come back when it ends.
            shrinking.abort();
        }
        let count = self.count.load(Ordering::Relaxed);
        if wanted >= count {
            self.semaphore.add_permits(wanted - count);
            self.count.store(wanted, Ordering::Relaxed);
            return;
        }
        let gone = self.semaphore.forget_permits(count - wanted);
        self.count.store(count - gone, Ordering::Relaxed);
        let surplus = u32::try_from(count - gone - wanted).unwrap_or(u32::MAX);
        if surplus > 0 {
            let (semaphore, count) = (self.semaphore(), self.count());
            // It waits in the same queue as accepting threads, and gets all permits at once.
            self.shrinking = Some(spawn_local(async move {
                if let Ok(places) = semaphore.acquire_many(surplus).await {
                    places.forget();
                    count.fetch_sub(surplus as usize, Ordering::Relaxed);
                }
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::{LocalSet, yield_now};

    use super::*;

    fn locally(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        LocalSet::new().block_on(&runtime.unwrap(), test);
    }

    #[test]
    fn free_places_come_and_go_at_once() {
        locally(async {
            let mut places = Places::new(4);
            places.resize(10);
            assert_eq!(places.semaphore.available_permits(), 10);
            places.resize(3);
            assert_eq!(places.semaphore.available_permits(), 3);
            places.resize(3);
            assert_eq!(places.semaphore.available_permits(), 3);
        });
    }

    #[test]
    fn taken_places_go_when_they_come_free() {
        locally(async {
            let mut places = Places::new(3);
            let taken = |places: &Places| places.semaphore().try_acquire_owned();
            let all: Vec<_> = (0..3).map(|_| taken(&places).unwrap()).collect();
            places.resize(1);
            yield_now().await;
            let mut all = all.into_iter();
            for _ in 0..2 {
                drop(all.next());
                yield_now().await;
                taken(&places).unwrap_err();
            }
            drop(all.next());
            assert_eq!(places.semaphore.available_permits(), 1);
            assert_eq!(places.count.load(Ordering::Relaxed), 1);
        });
    }

    #[test]
    fn a_change_of_mind_loses_no_place() {
        locally(async {
            let mut places = Places::new(3);
            let all: Vec<_> = (0..3)
                .map(|_| places.semaphore().try_acquire_owned().unwrap())
                .collect();
            places.resize(1);
            yield_now().await;
            let mut all = all.into_iter();
            // The task has one of the two places to remove.
            drop(all.next());
            yield_now().await;
            places.resize(5);
            yield_now().await;
            assert_eq!(places.semaphore.available_permits(), 3);
            drop(all);
            assert_eq!(places.semaphore.available_permits(), 5);
        });
    }
}
