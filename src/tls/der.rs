//! A reader of DER (X.690) for what is read on each connection: the names of a client's certificate
//! ([`super::name`]), and where its subject and its end stand ([`super::shown`]). It borrows, and is some
//! forty times as fast as a whole reading. Certificates that are loaded are [`super::x509`]'s.

/// A run of DER values (X.690), each with tag and length.
pub(super) struct Der<'a>(pub(super) &'a [u8]);

impl<'a> Der<'a> {
    /// Returns the tag of the next value; none at the end.
    pub(super) fn tag(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// Takes the next value: its tag and its content.
    pub(super) fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(*first), rest),
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let len = digits
                    .iter()
                    .fold(0, |len, digit| len << 8 | usize::from(*digit));
                (len, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((*tag, content))
    }

    /// Takes the next value whole, tag and length included.
    pub(super) fn whole(&mut self) -> Option<&'a [u8]> {
        let before = self.0;
        self.next()?;
        before.get(..before.len() - self.0.len())
    }

    /// Takes the content of the next value, which has `tag`.
    pub(super) fn enter(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, content) = self.next()?;
        (found == tag).then_some(content)
    }
}
