//! When the records of a connection are left to the kernel's TLS, as the configuration says it.

/// When the records of a direction are left to the kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Offload {
    /// When the direction turns bulky, and the kernel is faster.
    #[default]
    Adaptive,
    /// At once.
    Always,
    /// Never.
    Never,
}
