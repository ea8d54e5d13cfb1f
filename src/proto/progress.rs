//! How far a parser of a prefix came.

/// What a parser knows after reading a prefix of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<T> {
    /// Every byte so far fits, more are needed.
    Partial,
    /// The value is complete and took the first `used` bytes; the rest is untouched.
    Complete {
        /// What the bytes say.
        value: T,
        /// Length of the value on the wire, in bytes.
        used: usize,
    },
}
