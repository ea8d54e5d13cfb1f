//! What routes compare: host patterns and path prefixes on whole segments.

/// A pattern of host names: `x`, `*.x` (every name under x, not x itself) or `ws*` (a prefix).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// This name.
    Exact(String),
    /// Every name under this one, at any depth.
    Under(String),
    /// Every name that begins so.
    Prefix(String),
}

/// A path prefix on whole segments, normalised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPrefix(String);
