//! When the kernel's TLS takes over the records of a connection: the setting of the configuration.

/// When the kernel takes over the records of a direction.
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
