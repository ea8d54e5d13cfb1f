//! A guest: a kernel that boots, does its job, and powers off, in QEMU or as a program of this machine.
//!
//! QEMU emulates the processor on every machine, hardware help or not, so that a guest behaves the same
//! everywhere. User-mode Linux is a kernel built as a program: it runs at the speed of this machine, by
//! this machine's clock. Either has its root file system in memory and nothing of this machine's files.
//! Both have two serial lines, which are files: the kernel's console, and what the job says.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use nix::sys::statvfs::statvfs;

use super::files::{make_folder, write};
use super::packages::Kernel;
use crate::process::{self, Watched};

/// The emulator.
pub(super) const QEMU: &str = "qemu-system-x86_64";
/// The kernel that is a program.
pub(super) const USER_MODE_LINUX: &str = "linux.uml";
/// What a guest runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Machine {
    Qemu,
    UserMode,
}

/// A guest is ended when its job said nothing new for so long: no test ended, to name what matters.
/// The slowest test takes half a minute on a machine with nothing else to do.
const STALL: Duration = Duration::from_secs(15 * 60);
/// Memory of a guest.
const MEMORY_MIB: u64 = 2048;

/// A kernel that stops is to end the guest; measures against flaws of processors that are not
/// there cost an emulator half its time.
const KERNEL_OPTIONS: &str =
    "console=ttyS0 panic=-1 oops=panic mitigations=off random.trust_cpu=on";
/// The program ends with its kernel, but for one that is to start again.
const USER_MODE_OPTIONS: &[&str] = &["console=tty0", "panic=0", "oops=panic"];
/// Where the program's memory is, unless TMPDIR names another folder.
const SHARED_MEMORY: &str = "/dev/shm";

/// All that can be emulated but `cmpxchg16b`: QEMU 7.2 leaves wrong flags behind it when an interrupt
/// follows, which kills kernels of 6.12.
const CORE: &str = "max,cx16=off";

/// One core, and a nanosecond of the guest's time for each of its instructions, whatever the machine
/// below does meanwhile. So no test in a guest waits too short because that machine is busy, waiting
/// for a timer takes no time, and CPU time is a count of instructions. More cores are not to be had:
/// with this clock kernels of 6.1 do not start a second one, and with threads of their own QEMU 7.2 may
/// miss a change that one core makes to the code of another.
const PROCESSOR: &[&str] = &[
    "-smp",
    "1",
    "-accel",
    "tcg,thread=single",
    "-icount",
    "shift=0,sleep=off",
];

/// The result of running a guest.
#[derive(Debug)]
pub(super) struct Ended {
    /// The output of its job.
    pub(super) said: String,
    /// The output of its kernel.
    pub(super) console: String,
    /// Its last progress when it was ended for lack of progress.
    pub(super) stalled: Option<String>,
    /// How long it ran.
    pub(super) took: Duration,
}

/// The files of a guest.
struct Files {
    console: PathBuf,
    said: PathBuf,
    image: PathBuf,
    /// The output of the program that runs the guest.
    own: PathBuf,
    /// Where user-mode Linux puts what it wants to put somewhere.
    scratch: PathBuf,
}

impl Files {
    fn beginning_with(logs: &Path) -> Self {
        let file = |ending: &str| PathBuf::from(format!("{}.{ending}", logs.display()));
        Self {
            console: file("console.log"),
            said: file("log"),
            image: file("initramfs"),
            own: file("machine.log"),
            scratch: file("scratch"),
        }
    }
}

/// Boots a guest and waits until it is off. `logs` begins the names of the files that stay; `heard`
/// gets every line that the job says.
///
/// # Errors
/// A machine that cannot be started, or files that cannot be written.
pub(super) fn boot(
    kernel: &Kernel,
    initramfs: &[u8],
    logs: &Path,
    heard: &mut dyn FnMut(&str),
) -> Result<Ended> {
    let files = Files::beginning_with(logs);
    for file in [&files.console, &files.said] {
        write(file, "")?;
    }
    write(&files.image, initramfs)?;
    let (program, args) = match kernel.machine {
        Machine::Qemu => (QEMU, qemu(kernel, &files)),
        Machine::UserMode => {
            make_folder(&files.scratch)?;
            ("sh", user_mode_linux(kernel, &files))
        }
    };
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let run = Watched {
        folder: Path::new("/"),
        program,
        args: &args,
        envs: &[],
        log: &files.own,
        progress: &files.said,
        stall: STALL,
    };
    let outcome = process::run_watched(&run, heard)?;
    let _ = fs::remove_file(&files.image);
    let _ = fs::remove_dir_all(&files.scratch);
    let text =
        |file: &Path| String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned();
    let mut console = text(&files.console);
    console.push_str(&outcome.output);
    Ok(Ended {
        said: text(&files.said).replace('\r', ""),
        console,
        stalled: outcome.stalled,
        took: outcome.took,
    })
}

fn qemu(kernel: &Kernel, files: &Files) -> Vec<String> {
    let path = |file: &Path| file.display().to_string();
    let serial = |file: &Path| format!("file:{}", file.display());
    let memory = format!("{MEMORY_MIB}M");
    let (image, initrd) = (path(&kernel.image), path(&files.image));
    let (console, said) = (serial(&files.console), serial(&files.said));
    let mut args = vec!["-cpu", CORE, "-m", &memory, "-nodefaults", "-no-reboot"];
    args.extend(["-display", "none"]);
    args.extend(PROCESSOR);
    args.extend(["-kernel", &image, "-initrd", &initrd]);
    args.extend(["-append", KERNEL_OPTIONS]);
    args.extend(["-serial", &console, "-serial", &said]);
    args.into_iter().map(str::to_owned).collect()
}

/// Returns a script and its arguments: a serial line of the program is a descriptor that it has when
/// it starts.
fn user_mode_linux(kernel: &Kernel, files: &Files) -> Vec<String> {
    const SCRIPT: &str =
        "ulimit -c 0; console=$1 said=$2; shift 2; exec \"$@\" 3>>\"$console\" 4>>\"$said\"";
    let path = |file: &Path| file.display().to_string();
    let mut args = vec!["-c".to_owned(), SCRIPT.to_owned(), "sh".to_owned()];
    args.extend([path(&files.console), path(&files.said)]);
    args.extend(memory_folder(&files.scratch));
    args.extend([path(&kernel.image), format!("mem={MEMORY_MIB}M")]);
    args.push(format!("initrd={}", path(&files.image)));
    // Its own folder is in the user's home otherwise.
    args.push(format!("uml_dir={}/", path(&files.scratch)));
    let lines = ["con=null", "con0=null,fd:3", "ssl=null", "ssl1=null,fd:4"];
    args.extend(
        lines
            .into_iter()
            .chain(USER_MODE_OPTIONS.iter().copied())
            .map(str::to_owned),
    );
    args
}

/// Returns what makes the program have its memory elsewhere where the usual folder is too small, as
/// in containers.
fn memory_folder(other: &Path) -> Vec<String> {
    let free = statvfs(SHARED_MEMORY).map_or(0, |folder| {
        folder
            .blocks_available()
            .saturating_mul(folder.fragment_size())
    });
    if free >= MEMORY_MIB << 20 {
        return Vec::new();
    }
    vec!["env".to_owned(), format!("TMPDIR={}", other.display())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_mode_linux_has_its_files_where_it_is_told_to() {
        let kernel = Kernel {
            machine: Machine::UserMode,
            version: "6.1.176".to_owned(),
            image: PathBuf::from("/usr/bin/linux.uml"),
            modules: PathBuf::from("/usr/lib/uml/modules/6.1.176"),
        };
        let args = user_mode_linux(&kernel, &Files::beginning_with(Path::new("/logs/lab-6.1")));
        assert!(
            args.iter()
                .any(|arg| arg == "uml_dir=/logs/lab-6.1.scratch/"),
            "{args:?}"
        );
        assert!(
            args.iter()
                .any(|arg| arg == "initrd=/logs/lab-6.1.initramfs"),
            "{args:?}"
        );
        assert!(!args.iter().any(|arg| arg.contains("hostfs")), "{args:?}");
    }
}
