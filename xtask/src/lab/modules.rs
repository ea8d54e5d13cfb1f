//! Which kernel modules a guest loads, and in which order.
//!
//! Kernel TLS requests its ciphers by the name of an algorithm; the module that implements one is not loaded
//! automatically in a guest without modprobe. Debian's packages hold no table of dependencies (depmod makes
//! it at installation), but each module lists its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::files::{read, tree};
use super::guest::Machine;
use super::packages::Kernel;
use crate::process;

/// What kernel TLS needs, beside what these modules name themselves. A kernel that does not have
/// one of them has it built in, or has another name for it in this list; `doctor` tells in the end.
const WANTED: &[&str] = &[
    "crypto_null",
    "tls",
    "ghash_generic",
    "gcm",
    "ctr",
    "aesni_intel",
    "chacha",
    "chacha_generic",
    "poly1305_generic",
    "chacha20poly1305",
];
/// What stands for an accelerated AES in user-mode Linux, which has nothing of the processor's own: it
/// is not the plain AES, so that `tls.offload = "adaptive"` leaves records to the kernel.
const WANTED_IN_USER_MODE: &[&str] = &["aes_ti"];
/// The metadata of a module, each item ended by a NUL.
const DEPENDS: &[u8] = b"\0depends=";

/// Returns names and contents of the modules to load, in order.
///
/// # Errors
/// A module that cannot be read, or a kernel without a module for TLS.
pub(super) fn to_load(kernel: &Kernel, busybox: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let folder = &kernel.modules;
    let more = match kernel.machine {
        Machine::Qemu => &[],
        Machine::UserMode => WANTED_IN_USER_MODE,
    };
    let mut loader = Loader {
        files: tree(folder)?.into_iter().filter_map(named).collect(),
        busybox,
        chosen: Vec::new(),
    };
    for name in WANTED.iter().chain(more) {
        loader.choose(name)?;
    }
    let has_tls = loader.chosen.iter().any(|(name, _)| name == "tls");
    ensure!(has_tls, "no module tls in {}", folder.display());
    Ok(loader.chosen)
}

struct Loader<'a> {
    files: BTreeMap<String, PathBuf>,
    busybox: &'a Path,
    chosen: Vec<(String, Vec<u8>)>,
}

impl Loader<'_> {
    /// Puts a module behind all that it depends on. The kernel's build refuses circles.
    fn choose(&mut self, name: &str) -> Result<()> {
        let is_chosen = self.chosen.iter().any(|(chosen, _)| chosen == name);
        let Some(file) = self.files.get(name).filter(|_| !is_chosen) else {
            return Ok(());
        };
        let bytes = self.contents(file)?;
        for needed in depends(&bytes) {
            self.choose(&needed)?;
        }
        self.chosen.push((name.to_owned(), bytes));
        Ok(())
    }

    fn contents(&self, file: &Path) -> Result<Vec<u8>> {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("ko") => read(file),
            Some("xz") => {
                let (program, file) = (self.busybox.to_string_lossy(), file.to_string_lossy());
                process::printed_bytes(&program, &["xzcat", &file])
                    .with_context(|| format!("{file}: xzcat"))
            }
            _ => bail!("{}: compressed in an unknown way", file.display()),
        }
    }
}

/// Returns the kernel's name of a module's file, which has no hyphens.
fn named(file: PathBuf) -> Option<(String, PathBuf)> {
    let (name, _) = file.file_name()?.to_str()?.split_once(".ko")?;
    Some((name.replace('-', "_"), file))
}

fn depends(module: &[u8]) -> Vec<String> {
    let at = module
        .windows(DEPENDS.len())
        .position(|window| window == DEPENDS);
    let rest = at.and_then(|at| module.get(at + DEPENDS.len()..));
    let list = rest
        .and_then(|rest| rest.split(|&byte| byte == 0).next())
        .unwrap_or_default();
    String::from_utf8_lossy(list)
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn modules_come_after_what_they_depend_on() {
        let folder = std::env::temp_dir().join(format!("xtask-modules-{}", std::process::id()));
        let crypto = folder.join("kernel/crypto");
        fs::create_dir_all(&crypto).unwrap();
        let module = |name: &str, depends: &str| {
            let bytes = format!("\x7fELF\0license=GPL\0depends={depends}\0intree=Y\0");
            fs::write(crypto.join(format!("{name}.ko")), bytes).unwrap();
        };
        module("tls", "aead");
        module("aead", "");
        module("gcm", "aead,gf128-mul");
        module("gf128-mul", "");
        module("unrelated", "tls");
        module("aes_ti", "");
        let load = |machine| {
            let kernel = Kernel {
                machine,
                version: String::new(),
                image: PathBuf::new(),
                modules: folder.clone(),
            };
            to_load(&kernel, Path::new("busybox"))
        };
        let names = |machine| -> Vec<String> {
            let found = load(machine).unwrap();
            found.into_iter().map(|(name, _)| name).collect()
        };
        let (found, in_user_mode) = (names(Machine::Qemu), names(Machine::UserMode));
        fs::remove_file(crypto.join("tls.ko")).unwrap();
        let without = load(Machine::Qemu).unwrap_err();
        fs::remove_dir_all(&folder).unwrap();
        let expected = ["aead", "tls", "gf128_mul", "gcm"];
        assert_eq!(found, expected);
        assert_eq!(in_user_mode[..4], expected);
        assert_eq!(in_user_mode[4..], ["aes_ti"]);
        assert!(without.to_string().contains("no module tls"));
    }

    #[test]
    fn dependencies_are_read_from_the_module() {
        assert_eq!(depends(b"\0depends=a,b-c\0x"), ["a", "b_c"]);
        assert!(depends(b"\0depends=\0x").is_empty());
        assert!(depends(b"no such thing").is_empty());
    }
}
