//! Guest kernels and busybox from Debian's archive, unpacked into the cache and installed nowhere.
//!
//! apt resolves and verifies them, with lists and settings of its own in the cache folder: nothing
//! below `/etc/apt` or `/var` changes, and root is not needed. What is unpacked stays there and is
//! used again when the network has nothing.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};

use super::files::{make_folder, read, remove_folder, tree, write};
use super::guest::{Machine, USER_MODE_LINUX};
use super::sources::{self, Debian, Source};
use crate::process::printed;

/// Time after which the archive's lists are fetched again.
const LISTS_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// The package that depends on the newest kernel of its suite.
const NEWEST_KERNEL: &str = "linux-image-cloud-amd64";
/// Folders of modules worth keeping: a whole kernel has ten times as many.
const KEPT_MODULES: &[&str] = &["/net/tls/", "/crypto/"];
/// Where the package user-mode-linux has its modules, in a folder for each version.
const USER_MODE_MODULES: &str = "/usr/lib/uml/modules";
/// The suite of busybox, which is the same in every guest.
const BUSYBOX_SUITE: &str = "bookworm";

/// A kernel in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kernel {
    /// What it runs on.
    pub(super) machine: Machine,
    /// Version of its package.
    pub(super) version: String,
    /// What boots.
    pub(super) image: PathBuf,
    /// Where its modules are.
    pub(super) modules: PathBuf,
}

/// Returns the kernel of Debian's package user-mode-linux, if it is installed and stands for `version`.
pub(super) fn user_mode_linux(version: &str) -> Option<Kernel> {
    let release = printed(USER_MODE_LINUX, &["--version"])?;
    let stands_for = release.strip_prefix(version)?.starts_with('.');
    let modules = Path::new(USER_MODE_MODULES).join(&release);
    (stands_for && modules.is_dir()).then(|| Kernel {
        machine: Machine::UserMode,
        version: release,
        image: PathBuf::from(USER_MODE_LINUX),
        modules,
    })
}

/// The cache, and the suites of Debian.
pub(super) struct Packages {
    folder: PathBuf,
    /// Whether only what is unpacked already is looked at.
    is_offline: bool,
}

impl Packages {
    pub(super) fn new(folder: PathBuf, is_offline: bool) -> Self {
        Self { folder, is_offline }
    }

    /// Returns the newest kernel of a suite; the one in the cache when the archive has nothing.
    ///
    /// # Errors
    /// Neither is to be had: the reason of the archive.
    pub(super) fn kernel(&self, suite: &str) -> Result<Kernel> {
        let home = self.folder.join("kernels").join(suite);
        self.newest(suite, &home, kernel_packages, keep_kernel)?;
        cached_kernel(&home)
    }

    /// Returns busybox, linked statically.
    ///
    /// # Errors
    /// As for kernels.
    pub(super) fn busybox(&self) -> Result<PathBuf> {
        let home = self.folder.join("busybox");
        let resolve = |suite: &Suite| {
            let package = suite.candidate("busybox-static")?;
            Ok((package.version, vec!["busybox-static".to_owned()]))
        };
        self.newest(BUSYBOX_SUITE, &home, resolve, |_| Ok(()))?;
        let (_, tree) = only_version(&home).context("no busybox in the cache")?;
        ["bin/busybox", "usr/bin/busybox"]
            .into_iter()
            .map(|path| tree.join(path))
            .find(|file| file.is_file())
            .context("no busybox in its package")
    }

    /// Brings `home` to the newest version, as a folder named by it. What is there already and is
    /// the best to be had is no error.
    fn newest(
        &self,
        suite: &str,
        home: &Path,
        resolve: impl Fn(&Suite) -> Result<(String, Vec<String>)>,
        prune: impl Fn(&Path) -> Result<()>,
    ) -> Result<()> {
        let cached = only_version(home);
        if self.is_offline {
            ensure!(cached.is_some(), "not in the cache: cargo xtask setup");
            return Ok(());
        }
        match self.fetch(suite, home, resolve, prune) {
            Err(error) if cached.is_some() => {
                println!("lab: {suite}: {error:#}; the cached one is used");
                Ok(())
            }
            done => done,
        }
    }

    fn fetch(
        &self,
        suite: &str,
        home: &Path,
        resolve: impl Fn(&Suite) -> Result<(String, Vec<String>)>,
        prune: impl Fn(&Path) -> Result<()>,
    ) -> Result<()> {
        make_folder(home)?;
        // Two labs may run at once, from two copies of the repository.
        let lock = File::create(self.folder.join("lock")).context("lock of the cache")?;
        lock.lock().context("lock the cache")?;
        let suite = Suite::open(&self.folder, suite)?;
        let (version, packages) = resolve(&suite)?;
        let tree = home.join(version.replace([':', '/'], "_"));
        if tree.is_dir() {
            return Ok(());
        }
        println!("lab: fetching {} ({version})", packages.join(" "));
        let fresh = home.join(".new");
        remove_folder(&fresh)?;
        make_folder(&fresh)?;
        suite.unpack(&packages, &fresh)?;
        prune(&fresh)?;
        // One version at a time: the old ones go when the new one is complete.
        if let Some((_, old)) = only_version(home) {
            remove_folder(&old)?;
        }
        fs::rename(&fresh, &tree).with_context(|| tree.display().to_string())
    }
}

/// Returns the version in a folder and where it is.
fn only_version(home: &Path) -> Option<(String, PathBuf)> {
    let entries = fs::read_dir(home).ok()?;
    let mut versions = entries
        .flatten()
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .filter(|(name, _)| !name.starts_with('.'));
    versions.next()
}

/// Names the packages of a suite's newest kernel. Since 7.x the image and the modules are packages
/// of their own.
fn kernel_packages(suite: &Suite) -> Result<(String, Vec<String>)> {
    let newest = suite.candidate(NEWEST_KERNEL)?;
    let image = image_among(&newest.depends)
        .with_context(|| format!("{NEWEST_KERNEL} depends on no image: {}", newest.depends))?;
    let release = image.trim_start_matches("linux-image-");
    let (binary, modules) = (
        format!("linux-binary-{release}"),
        format!("linux-modules-{release}"),
    );
    let packages = if suite.candidate(&binary).is_ok() {
        vec![binary, modules]
    } else {
        vec![image.to_owned()]
    };
    Ok((newest.version, packages))
}

/// Returns the package of the image among the dependencies of the one that follows the newest.
fn image_among(depends: &str) -> Option<&str> {
    depends
        .split([',', '|'])
        .filter_map(|word| word.split_whitespace().next())
        .find(|name| name.starts_with("linux-image-"))
}

/// Removes what no guest needs from an unpacked kernel.
fn keep_kernel(unpacked: &Path) -> Result<()> {
    for file in tree(unpacked)? {
        let path = file.to_string_lossy();
        let is_kept = is_image(&file)
            || path.contains(".ko") && KEPT_MODULES.iter().any(|folder| path.contains(folder));
        if !is_kept {
            fs::remove_file(&file).with_context(|| file.display().to_string())?;
        }
    }
    Ok(())
}

fn is_image(file: &Path) -> bool {
    file.file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"))
}

fn cached_kernel(home: &Path) -> Result<Kernel> {
    let (version, modules) = only_version(home).context("no kernel in the cache")?;
    let image = tree(&modules)?.into_iter().find(|file| is_image(file));
    let image = image.with_context(|| format!("no image in {}", modules.display()))?;
    Ok(Kernel {
        machine: Machine::Qemu,
        version,
        image,
        modules,
    })
}

/// Information of apt about the version it would install.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    version: String,
    depends: String,
}

impl Candidate {
    /// Reads the output of `apt-cache show --no-all-versions`.
    fn read(text: &str) -> Option<Self> {
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        Some(Self {
            version: field("Version")?.to_owned(),
            depends: field("Depends").unwrap_or_default().to_owned(),
        })
    }
}

/// A suite of Debian, with apt's state for it alone: its newest is then apt's candidate.
struct Suite {
    folder: PathBuf,
}

impl Suite {
    fn open(cache: &Path, name: &str) -> Result<Self> {
        let folder = cache.join("apt").join(name);
        for part in ["state/lists/partial", "cache/archives/partial", "packages"] {
            make_folder(&folder.join(part))?;
        }
        let list = machine()?.list(name);
        let list_file = folder.join("sources.list");
        let is_other = read(&list_file).map_or(true, |known| known != list.as_bytes());
        write(&list_file, &list)?;
        write(&folder.join("status"), "")?;
        write(&folder.join("apt.conf"), settings(&folder))?;
        let suite = Self { folder };
        suite.update(is_other)?;
        Ok(suite)
    }

    fn update(&self, always: bool) -> Result<()> {
        let stamp = self.folder.join("updated");
        let written = fs::metadata(&stamp).and_then(|meta| meta.modified());
        let age = written
            .ok()
            .and_then(|at| SystemTime::now().duration_since(at).ok());
        if !always && age.is_some_and(|age| age < LISTS_AGE_MAX) {
            return Ok(());
        }
        // Without the option, a mirror out of reach is a warning only.
        self.apt("apt-get", &["update", "-qq", "--error-on=any"])?;
        write(&stamp, "")
    }

    fn candidate(&self, package: &str) -> Result<Candidate> {
        let args = ["show", "--no-all-versions", package];
        let output = self.apt("apt-cache", &args)?;
        let text = String::from_utf8_lossy(&output.stdout);
        Candidate::read(&text).with_context(|| format!("apt-cache says nothing of {package}"))
    }

    /// Downloads packages and unpacks them into a folder.
    fn unpack(&self, packages: &[String], into: &Path) -> Result<()> {
        let folder = self.folder.join("packages");
        remove_folder(&folder)?;
        make_folder(&folder)?;
        let args: Vec<&str> = ["download", "-qq"]
            .into_iter()
            .chain(packages.iter().map(String::as_str))
            .collect();
        self.apt("apt-get", &args)?;
        let files = tree(&folder)?;
        ensure!(files.len() == packages.len(), "apt-get brought {files:?}");
        for file in files {
            let mut command = Command::new("dpkg-deb");
            command.arg("--extract").arg(&file).arg(into);
            run(&mut command)?;
        }
        remove_folder(&folder)
    }

    fn apt(&self, program: &str, args: &[&str]) -> Result<Output> {
        let mut command = Command::new(program);
        command
            .arg("--config-file")
            .arg(self.folder.join("apt.conf"))
            .args(args)
            .env("LC_ALL", "C")
            .current_dir(self.folder.join("packages"));
        run(&mut command)
    }
}

/// Runs a program that is to succeed, unheard.
fn run(command: &mut Command) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .context(program.clone())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().rfind(|line| line.starts_with("E:"));
        bail!("{program}: {}", said.unwrap_or("no reason given"));
    }
    Ok(output)
}

/// apt's settings for one suite: nothing of the machine's sources, state and hooks.
fn settings(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n\
         #clear APT::Update::Post-Invoke-Success;\n#clear Acquire::IndexTargets;\n\
         Acquire::IndexTargets::deb::Packages {{ MetaKey \"$(COMPONENT)/binary-$(ARCHITECTURE)/Packages\"; \
         flatMetaKey \"Packages\"; ShortDescription \"Packages\"; Description \"Packages\"; Optional \"0\"; }};\n\
         Dir::Etc::sourcelist \"{folder}/sources.list\";\nDir::Etc::sourceparts \"/dev/null\";\n\
         Dir::Etc::preferences \"/dev/null\";\nDir::Etc::preferencesparts \"/dev/null\";\n\
         Dir::State \"{folder}/state\";\nDir::State::status \"{folder}/status\";\nDir::Cache \"{folder}/cache\";\n\
         APT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\nAcquire::GzipIndexes \"true\";\n\
         Acquire::http::Timeout \"20\";\nAcquire::Retries \"1\";\n"
    )
}

/// Reads where this machine has Debian from.
fn machine() -> Result<Debian> {
    let release = fs::read_to_string("/etc/os-release").context("/etc/os-release")?;
    let codename = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .context("/etc/os-release has no VERSION_CODENAME")?;
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(parts) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(parts.flatten().map(|entry| entry.path()));
    }
    files.sort();
    let known: Vec<Source> = files.iter().flat_map(|file| sources_in(file)).collect();
    Debian::among(&known, codename.trim_matches('"'))
        .context("no source of apt has this system's release")
}

fn sources_in(file: &Path) -> Vec<Source> {
    let text = fs::read_to_string(file).unwrap_or_default();
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("list") => sources::of_lines(&text),
        Some("sources") => sources::of_paragraphs(&text),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_is_named_by_its_dependency() {
        let text = "Package: linux-image-cloud-amd64\nVersion: 7.2.13-1\nInstalled-Size: 16\n\
            Depends: linux-base-cloud-amd64 (= 7.2.13-1), linux-image-7.2.13+deb14-cloud-amd64 (= 7.2.13-1)\n";
        let candidate = Candidate::read(text).unwrap();
        assert_eq!(candidate.version, "7.2.13-1");
        let image = image_among(&candidate.depends);
        assert_eq!(image, Some("linux-image-7.2.13+deb14-cloud-amd64"));
        let old = "linux-image-6.1.0-50-cloud-amd64 (= 6.1.176-1)";
        assert_eq!(image_among(old), Some("linux-image-6.1.0-50-cloud-amd64"));
        assert_eq!(image_among("linux-base"), None);
        assert_eq!(Candidate::read("N: Unable to locate package x\n"), None);
    }

    #[test]
    fn a_cached_kernel_is_found_without_apt() {
        let folder = std::env::temp_dir().join(format!("xtask-packages-{}", std::process::id()));
        let packages = Packages::new(folder.clone(), true);
        let absent = packages.kernel("sid").unwrap_err().to_string();
        let tree = folder.join("kernels/sid/7.2.13-1");
        let modules = tree.join("usr/lib/modules/7.2/kernel/net/tls");
        fs::create_dir_all(&modules).unwrap();
        fs::create_dir_all(folder.join("kernels/sid/.new")).unwrap();
        for name in [
            "kernel/net/tls/tls.ko.xz",
            "vmlinuz",
            "kernel/net/other.ko.xz",
        ] {
            fs::create_dir_all(
                tree.join("usr/lib/modules/7.2")
                    .join(name)
                    .parent()
                    .unwrap(),
            )
            .unwrap();
            fs::write(tree.join("usr/lib/modules/7.2").join(name), "").unwrap();
        }
        keep_kernel(&tree).unwrap();
        let kept = super::tree(&tree).unwrap().len();
        let kernel = packages.kernel("sid").unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert!(absent.contains("not in the cache"), "{absent}");
        assert_eq!(kept, 2);
        assert_eq!(kernel.version, "7.2.13-1");
        assert!(kernel.image.ends_with("usr/lib/modules/7.2/vmlinuz"));
    }
}
