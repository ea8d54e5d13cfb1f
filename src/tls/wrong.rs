//! The description of a fault in a file of certificates, keys or revocation lists. The configuration, or the
//! log, adds the place.

use super::pem::BadPem;

/// A description of the fault of a file, and of its remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Wrong(String);

impl From<BadPem> for Wrong {
    fn from(malformed: BadPem) -> Self {
        Self(malformed.to_string())
    }
}

pub(super) fn wrong(text: impl Into<String>) -> Wrong {
    Wrong(text.into())
}
