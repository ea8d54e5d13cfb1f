//! Reads a file of certificates, keys or revocation lists as a whole. Its meaning is [`super::pem`]'s matter.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::wrong::{Wrong, wrong};

/// Longest PEM file, in bytes.
const FILE_LEN_MAX: u64 = 4 * 1024 * 1024;

/// Reads the present contents of a PEM file.
///
/// # Errors
/// It cannot be read, or is not a regular file.
pub fn text_of(path: &Path) -> Result<Vec<u8>, Wrong> {
    let read = || {
        // Opening something other than a regular file must not block.
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("is no regular file"));
        }
        let mut text = Vec::new();
        let len = file.take(FILE_LEN_MAX + 1).read_to_end(&mut text)?;
        if len as u64 > FILE_LEN_MAX {
            // A file must not lose its last blocks in silence.
            return Err(io::Error::other("is longer than 4 MiB"));
        }
        Ok(text)
    };
    read().map_err(|error| wrong(format!("{}: cannot be read: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_too_long_is_not_read_in_part() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = vec![b'\n'; usize::try_from(FILE_LEN_MAX).unwrap() + 1];
        std::fs::write(file.path(), &text[1..]).unwrap();
        assert_eq!(text_of(file.path()).unwrap().len(), text.len() - 1);
        std::fs::write(file.path(), text).unwrap();
        let error = text_of(file.path()).unwrap_err().to_string();
        assert!(error.ends_with("is longer than 4 MiB"), "{error}");
    }
}
