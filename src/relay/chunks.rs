//! Arrays that grow in chunks, so that no element ever moves and growth copies nothing.

/// Elements that are made at once.
pub(super) const CHUNK_LEN: u32 = 1024;

/// A growing array whose elements never move.
#[derive(Debug)]
pub(super) struct Chunks<T> {
    chunks: Vec<Box<[T]>>,
}

impl<T> Chunks<T> {
    pub(super) fn new() -> Self {
        Self { chunks: Vec::new() }
    }

    pub(super) fn get(&self, index: u32) -> Option<&T> {
        let chunk = self.chunks.get((index / CHUNK_LEN) as usize)?;
        chunk.get((index % CHUNK_LEN) as usize)
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        let chunk = self.chunks.get_mut((index / CHUNK_LEN) as usize)?;
        chunk.get_mut((index % CHUNK_LEN) as usize)
    }

    /// Adds chunks until `index` is in.
    pub(super) fn grow_to_hold(&mut self, index: u32, vacant: impl Fn() -> T) {
        while self.chunks.len() <= (index / CHUNK_LEN) as usize {
            let chunk = std::iter::repeat_with(&vacant).take(CHUNK_LEN as usize);
            self.chunks.push(chunk.collect());
        }
    }
}
