//! The initramfs of a guest: busybox, programs with their libraries, kernel modules, a job.
//!
//! Libraries lie at the paths that `ldd` names on this machine, so that the programs find them; the
//! links of its file system are not copied.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::cpio::Archive;
use super::files::read;
use crate::process::printed;

/// The first process.
const INIT: &str = include_str!("init.sh");
/// Permissions of a program and of a plain file.
const PROGRAM: u32 = 0o755;
const PLAIN: u32 = 0o644;
/// Files that programs expect on any system.
const SYSTEM: &[(&str, &str)] = &[
    ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    (
        "etc/nsswitch.conf",
        "hosts: files\npasswd: files\ngroup: files\n",
    ),
    (
        "etc/passwd",
        "root:x:0:0:root:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    ),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
];

/// Contents of an initramfs.
pub(super) struct Image(Archive);

impl Image {
    /// Begins with busybox and the first process, which runs [`Image::job`].
    ///
    /// # Errors
    /// busybox cannot be read.
    pub(super) fn new(busybox: &Path) -> Result<Self> {
        let mut archive = Archive::default();
        for (path, text) in SYSTEM {
            archive.file(path, PLAIN, (*text).into());
        }
        archive.file("init", PROGRAM, INIT.into());
        archive.file("bin/busybox", PROGRAM, read(busybox)?);
        archive.folder("lab/modules");
        Ok(Self(archive))
    }

    /// Adds the script that is the guest's work.
    pub(super) fn job(&mut self, script: &str) {
        self.file("lab/job", script.into());
    }

    /// Adds a plain file.
    pub(super) fn file(&mut self, path: &str, contents: Vec<u8>) {
        self.0.file(path, PLAIN, contents);
    }

    /// Adds a program of this machine as `path`, with the libraries that it needs.
    ///
    /// # Errors
    /// A file that cannot be read, or a library that this machine does not have.
    pub(super) fn program(&mut self, program: &Path, path: &str) -> Result<()> {
        self.0.file(path, PROGRAM, read(program)?);
        let linked = printed("ldd", &[&program.to_string_lossy()]);
        let linked = linked.with_context(|| format!("ldd {}", program.display()))?;
        for library in libraries(&linked)? {
            if !self.0.has(library) {
                self.0.file(library, PROGRAM, read(Path::new(library))?);
            }
        }
        Ok(())
    }

    /// Adds a program that tests use, if this machine has it; returns whether it does.
    ///
    /// # Errors
    /// As for any program.
    pub(super) fn tool(&mut self, name: &str) -> Result<bool> {
        let path = format!("usr/bin/{name}");
        let program = Path::new("/").join(&path);
        if !program.is_file() {
            return Ok(false);
        }
        self.program(&program, &path)?;
        if name == "openssl" {
            let said = printed(name, &["version", "-d"]).unwrap_or_default();
            let folder = said.split('"').nth(1).context("openssl version -d")?;
            let settings = Path::new(folder).join("openssl.cnf");
            if let Ok(text) = fs::read(&settings) {
                self.file(&settings.to_string_lossy(), text);
            }
        }
        Ok(true)
    }

    /// Adds kernel modules, to be loaded in this order.
    pub(super) fn modules(&mut self, modules: Vec<(String, Vec<u8>)>) {
        for (at, (name, bytes)) in modules.into_iter().enumerate() {
            self.file(&format!("lab/modules/{at:02}-{name}.ko"), bytes);
        }
    }

    /// Returns the initramfs.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes()
    }
}

/// Reads what `ldd` prints: `NAME => PATH (ADDRESS)`, or the loader's path alone. What has neither
/// is in the kernel.
fn libraries(linked: &str) -> Result<Vec<&str>> {
    let mut found = Vec::new();
    for line in linked.lines().map(str::trim) {
        if line.contains("not found") {
            bail!("ldd: {line}");
        }
        let path = line.split_once("=> ").map_or(line, |(_, path)| path);
        let path = path.split(" (").next().unwrap_or_default();
        if path.starts_with('/') {
            found.push(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_ldd() {
        let linked = "linux-vdso.so.1 (0x00007ffd)\n\
            \tlibgcc_s.so.1 => /lib/x86_64-linux-gnu/libgcc_s.so.1 (0x00007f)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let expected = [
            "/lib/x86_64-linux-gnu/libgcc_s.so.1",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(libraries(linked).unwrap(), expected);
        assert!(libraries("\tstatically linked").unwrap().is_empty());
        assert!(libraries("\tlibx.so => not found").is_err());
    }
}
