//! Pipes that a thread lends to flows while bytes are in them.

use std::num::NonZeroU16;

use crate::sys::pipe::Pipe;

/// Pipes of one thread. At 256 KiB each they use a quarter of an unprivileged user's default limit
/// (`fs.pipe-user-pages-soft`); further flows are copied.
const PIPES_MAX: u16 = 64;

/// Index of a lent pipe in the pool, counted from one.
pub(super) type PipeId = NonZeroU16;

/// A pool of pipes.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    all: Vec<Option<Pipe>>,
    /// Empty pipes that are not lent.
    idle: Vec<PipeId>,
    /// Places whose pipe was destroyed.
    vacant: Vec<PipeId>,
}

impl Pipes {
    /// Lends an empty pipe; none if all are lent or the system cannot provide a usable one.
    pub(super) fn lend(&mut self) -> Option<PipeId> {
        if let Some(id) = self.idle.pop() {
            return Some(id);
        }
        if let Some(id) = self.vacant.last().copied() {
            let pipe = Pipe::new().ok()?;
            *self.all.get_mut(place(id))? = Some(pipe);
            self.vacant.pop();
            return Some(id);
        }
        let id = u16::try_from(self.all.len() + 1).ok()?;
        if id > PIPES_MAX {
            return None;
        }
        self.all.push(Some(Pipe::new().ok()?));
        PipeId::new(id)
    }

    /// Takes a pipe back; one that is not empty is destroyed.
    pub(super) fn take_back(&mut self, id: PipeId, left_bytes: u32) {
        if left_bytes == 0 {
            self.idle.push(id);
        } else {
            self.destroy(id);
        }
    }

    /// Destroys a lent pipe with what is in it.
    pub(super) fn destroy(&mut self, id: PipeId) {
        if let Some(pipe) = self.all.get_mut(place(id)) {
            *pipe = None;
            self.vacant.push(id);
        }
    }

    /// Returns the number of pipes, and how many of them are lent.
    pub(super) fn count(&self) -> (usize, usize) {
        let open = self.all.len() - self.vacant.len();
        (open, open - self.idle.len())
    }

    /// Closes every pipe; to be called when none is lent.
    pub(super) fn close_all(&mut self) {
        *self = Self::default();
    }

    pub(super) fn pipe(&self, id: PipeId) -> Option<&Pipe> {
        self.all.get(place(id))?.as_ref()
    }
}

fn place(id: PipeId) -> usize {
    usize::from(id.get()) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lends_up_to_the_cap_and_destroys_what_is_not_empty() {
        let mut pipes = Pipes::default();
        let ids: Vec<_> = std::iter::from_fn(|| pipes.lend()).collect();
        assert_eq!(ids.len(), usize::from(PIPES_MAX));
        assert_eq!(pipes.count(), (64, 64));
        pipes.take_back(ids[3], 0);
        assert_eq!(pipes.count(), (64, 63));
        assert_eq!(pipes.lend(), Some(ids[3]));
        assert_eq!(pipes.lend(), None);
        pipes.take_back(ids[5], 1);
        assert!(pipes.pipe(ids[5]).is_none());
        assert_eq!(pipes.count(), (63, 63));
        assert_eq!(pipes.lend(), Some(ids[5]));
        assert!(pipes.pipe(ids[5]).is_some());
        assert_eq!(pipes.lend(), None);
        pipes.close_all();
        assert!(pipes.pipe(ids[5]).is_none());
        assert_eq!(pipes.lend(), Some(ids[0]));
    }
}
