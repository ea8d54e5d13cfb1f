//! Tunnels whose frames to the client are followed, so that a drain can end them with a Close frame. Kept
//! outside the table so that other tunnels do not pay for it.

use std::num::NonZeroU32;

use super::chunks::Chunks;
use crate::proto::websocket::frames::Frames;

/// Index of one tunnel's frames in the pool, counted from one.
pub(super) type FramesId = NonZeroU32;

/// A pool of frame positions.
#[derive(Debug)]
pub(super) struct Followed {
    all: Chunks<Frames>,
    vacant: Vec<FramesId>,
    /// Number of places ever made.
    end: u32,
}

impl Followed {
    pub(super) fn new() -> Self {
        Self {
            all: Chunks::new(),
            vacant: Vec::new(),
            end: 0,
        }
    }

    /// Begins to follow `frames`; none if too many are followed, far more than one thread can have.
    pub(super) fn begin(&mut self, frames: Frames) -> Option<FramesId> {
        let id = match self.vacant.pop() {
            Some(id) => id,
            None => {
                let id = FramesId::MIN.checked_add(self.end)?;
                self.all.grow_to_hold(self.end, Frames::default);
                self.end += 1;
                id
            }
        };
        *self.frames(id)? = frames;
        Some(id)
    }

    /// Returns the current position in the frames.
    pub(super) fn frames(&mut self, id: FramesId) -> Option<&mut Frames> {
        self.all.get_mut(id.get() - 1)
    }

    /// Stops following; returns the final position.
    pub(super) fn end(&mut self, id: FramesId) -> Frames {
        let frames = self.frames(id).map(std::mem::take).unwrap_or_default();
        self.vacant.push(id);
        frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_used_again_from_the_start() {
        let mut followed = Followed::new();
        let ids: Vec<_> = (0..3000)
            .map(|_| followed.begin(Frames::default()).unwrap())
            .collect();
        followed.frames(ids[7]).unwrap().feed(&[0x81, 9]);
        assert_eq!(followed.frames(ids[7]).unwrap().unseen_max(), 9);
        assert!(followed.frames(ids[8]).unwrap().at_boundary());
        assert!(!followed.end(ids[7]).at_boundary());
        assert_eq!(followed.begin(Frames::default()), Some(ids[7]));
        assert!(followed.frames(ids[7]).unwrap().at_boundary());
        assert_eq!(followed.end, 3000);
    }
}
