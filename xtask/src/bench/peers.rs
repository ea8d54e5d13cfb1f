//! The newest HAProxy and nginx that Debian has, unpacked beside the build and installed nowhere.
//!
//! They come from `sid` with their own C library, so that they run on an older Debian too, each
//! through a script that starts it with the loader it was linked for.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The packages, with every library they need.
const PACKAGES: &[&str] = &[
    "haproxy",
    "nginx",
    "libnginx-mod-stream",
    "libc6",
    "libcap2",
    "libcrypt1",
    "libgcc-s1",
    "libjemalloc2",
    "liblua5.4-0",
    "libopentracing-c-wrapper0t64",
    "libopentracing1",
    "libpcre2-8-0",
    "libssl3t64",
    "libstdc++6",
    "libsystemd0",
    "libzstd1",
    "zlib1g",
];

/// Where Debian signs from; the same mirror as the machine's own sources.
const SOURCE: &str = "Types: deb\nURIs: http://deb.debian.org/debian\nSuites: sid\n\
    Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n";

/// The multiarch folder of the libraries and the loader in it.
#[cfg(target_arch = "x86_64")]
const LOADER: (&str, &str) = ("usr/lib/x86_64-linux-gnu", "ld-linux-x86-64.so.2");
#[cfg(target_arch = "aarch64")]
const LOADER: (&str, &str) = ("usr/lib/aarch64-linux-gnu", "ld-linux-aarch64.so.1");

/// The three paths of the peers.
#[derive(Debug)]
pub(super) struct Peers {
    /// The script that starts HAProxy.
    pub(super) haproxy: PathBuf,
    /// The script that starts nginx.
    pub(super) nginx: PathBuf,
    /// Folder of nginx's dynamic modules.
    pub(super) nginx_modules: PathBuf,
}

/// The peers that [`fetch`] left, or those the system has.
pub(super) fn find(top: &Path) -> Peers {
    let home = home(top);
    if home.join("haproxy").exists() && home.join("nginx").exists() {
        Peers {
            haproxy: home.join("haproxy"),
            nginx: home.join("nginx"),
            nginx_modules: home.join("root/usr/lib/nginx/modules"),
        }
    } else {
        Peers {
            haproxy: "haproxy".into(),
            nginx: "nginx".into(),
            nginx_modules: "/usr/lib/nginx/modules".into(),
        }
    }
}

/// Downloads and unpacks the peers below `target`.
///
/// # Errors
/// A machine without apt or network, or a package that is gone.
pub(super) fn fetch(top: &Path) -> Result<()> {
    let home = home(top);
    let packages = home.join("packages");
    for folder in [
        "sources",
        "lists/partial",
        "cache/archives/partial",
        "packages",
        "root",
    ] {
        let folder = home.join(folder);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    write(&home.join("sources/sid.sources"), SOURCE)?;
    let settings = format!(
        "Dir::Etc::sourcelist \"/dev/null\";\nDir::Etc::sourceparts \"{home}/sources\";\n\
        Dir::State::lists \"{home}/lists\";\nDir::Cache \"{home}/cache\";\n\
        APT::Sandbox::User \"root\";\n",
        home = home.display()
    );
    let settings_file = home.join("apt.conf");
    write(&settings_file, &settings)?;
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .env("APT_CONFIG", &settings_file)
            .arg("-q")
            .args(arguments);
        command.current_dir(&packages);
        succeed(command)
    };
    apt(&["update"])?;
    let from_sid: Vec<String> = PACKAGES.iter().map(|name| format!("{name}/sid")).collect();
    let mut arguments = vec!["download"];
    arguments.extend(from_sid.iter().map(String::as_str));
    apt(&arguments)?;
    for entry in fs::read_dir(&packages).context("the downloaded packages")? {
        let mut command = Command::new("dpkg");
        command
            .arg("-x")
            .arg(entry.context("a package")?.path())
            .arg(home.join("root"));
        succeed(command)?;
    }
    write_script(&home, "haproxy")?;
    write_script(&home, "nginx")
}

fn home(top: &Path) -> PathBuf {
    top.join("target/bench-peers")
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())
}

fn write_script(home: &Path, name: &str) -> Result<()> {
    let (libraries, loader) = LOADER;
    let root = home.join("root");
    let libraries = root.join(libraries);
    let text = format!(
        "#!/bin/sh\nexec {libraries}/{loader} --library-path {libraries} {root}/usr/sbin/{name} \"$@\"\n",
        libraries = libraries.display(),
        root = root.display()
    );
    let script = home.join(name);
    write(&script, &text)?;
    fs::set_permissions(&script, Permissions::from_mode(0o755))
        .with_context(|| script.display().to_string())
}

fn succeed(mut command: Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
