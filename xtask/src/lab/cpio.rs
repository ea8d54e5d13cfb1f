//! Writes a cpio archive in the form `newc`, which is what a kernel unpacks as its initramfs.
//!
//! Everything belongs to root and has no time, so that the same contents are the same bytes.
//! Neither links nor devices: a guest makes those itself.
//!
//! # Source
//! Linux, Documentation/driver-api/early-userspace/buffer-format.rst.

use std::collections::BTreeMap;

/// Mode bits of a folder that everybody may enter.
const FOLDER: u32 = 0o040_755;
/// Mode bits of a folder with access for all users.
const FILE: u32 = 0o100_000;
/// Name of the entry that ends the archive.
const TRAILER: &str = "TRAILER!!!";

/// Files by their path, which has no slash in front.
#[derive(Debug, Default)]
pub(super) struct Archive(BTreeMap<String, Entry>);

#[derive(Debug)]
struct Entry {
    mode: u32,
    bytes: Vec<u8>,
}

impl Archive {
    /// Adds a file and the folders above it; a file that is there already is replaced.
    pub(super) fn file(&mut self, path: &str, permissions: u32, bytes: Vec<u8>) {
        let path = path.trim_start_matches('/');
        self.folders_above(path);
        let mode = FILE | permissions;
        self.0.insert(path.to_owned(), Entry { mode, bytes });
    }

    /// Adds a folder and those above it.
    pub(super) fn folder(&mut self, path: &str) {
        self.folders_above(&format!("{}/", path.trim_matches('/')));
    }

    /// Whether this path is there.
    pub(super) fn has(&self, path: &str) -> bool {
        self.0.contains_key(path.trim_start_matches('/'))
    }

    fn folders_above(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            let folder = path.get(..at).unwrap_or_default();
            self.0.entry(folder.to_owned()).or_insert(Entry {
                mode: FOLDER,
                bytes: Vec::new(),
            });
        }
    }

    /// Returns the archive. Sorted names put every folder before what is in it.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let entries = self.0.iter();
        for (inode, (name, entry)) in entries.enumerate() {
            append(&mut out, inode + 1, name, entry.mode, &entry.bytes);
        }
        append(&mut out, 0, TRAILER, 0, &[]);
        out
    }
}

/// Appends a header of 13 fields of 8 hexadecimal digits, the name with its NUL, and the contents;
/// name and contents each end at a multiple of 4.
fn append(out: &mut Vec<u8>, inode: usize, name: &str, mode: u32, bytes: &[u8]) {
    let (size, name_size) = (bytes.len(), name.len() + 1);
    let links = 1;
    let mut header = format!("070701{inode:08x}{mode:08x}");
    // Owner, group, links, time; size; the four numbers of devices; name; no checksum.
    for field in [0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0] {
        header.push_str(&format!("{field:08x}"));
    }
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    pad(out);
    out.extend_from_slice(bytes);
    pad(out);
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    fn sample() -> Archive {
        let mut archive = Archive::default();
        archive.file("/init", 0o755, b"#!/bin/sh\n".to_vec());
        archive.file("a/b/c", 0o644, b"12345".to_vec());
        archive.folder("/a/empty/");
        archive
    }

    #[test]
    fn an_archive_has_the_form_that_the_kernel_reads() {
        let bytes = sample().to_bytes();
        assert_eq!(bytes.len() % 4, 0);
        let names = ["a", "a/b", "a/b/c", "a/empty", "init", TRAILER];
        let modes = [0o040_755, 0o040_755, 0o100_644, 0o040_755, 0o100_755, 0];
        let contents: [&[u8]; 6] = [b"", b"", b"12345", b"", b"#!/bin/sh\n", b""];
        let mut at = 0;
        for ((name, mode), content) in names.iter().zip(modes).zip(contents) {
            let header = std::str::from_utf8(&bytes[at..at + 110]).unwrap();
            assert_eq!(&header[..6], "070701");
            let field = |n: usize| u32::from_str_radix(&header[6 + 8 * n..14 + 8 * n], 16).unwrap();
            assert_eq!(field(1), mode, "{name}");
            assert_eq!(field(6) as usize, content.len(), "{name}");
            assert_eq!(field(11) as usize, name.len() + 1);
            let named = &bytes[at + 110..at + 110 + name.len() + 1];
            assert_eq!(named, format!("{name}\0").as_bytes());
            at = (at + 110 + name.len() + 1).next_multiple_of(4);
            assert_eq!(&bytes[at..at + content.len()], content);
            at = (at + content.len()).next_multiple_of(4);
        }
        assert_eq!(at, bytes.len());
    }

    #[test]
    fn cpio_itself_reads_it_where_it_is_installed() {
        let child = Command::new("cpio")
            .arg("--list")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = child else {
            println!("skipped: cpio is not installed");
            return;
        };
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&sample().to_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let listed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(listed, "a\na/b\na/b/c\na/empty\ninit\n");
    }
}
