//! The result of parsing a prefix.

/// The result of parsing a prefix of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<T> {
    /// Every byte so far is valid, more are needed.
    Partial,
    /// The value is complete and took the first `used` bytes; the rest is untouched.
    Complete {
        /// The parsed value.
        value: T,
        /// Length of the value on the wire, in bytes.
        used: usize,
    },
}
