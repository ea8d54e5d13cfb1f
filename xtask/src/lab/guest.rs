//! A guest: QEMU emulating a machine that boots a kernel, does its job, and powers off.
//!
//! The processor is emulated on every machine, hardware help or not, so that a guest behaves the
//! same everywhere. Its two serial lines are files: the kernel's console, and what the job says.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::files::write;
use super::packages::Kernel;
use crate::process;

/// The emulator.
pub(super) const QEMU: &str = "qemu-system-x86_64";
/// A kernel that stops is to end the guest; measures against flaws of processors that are not
/// there cost an emulator half its time.
const KERNEL_OPTIONS: &str =
    "console=ttyS0 panic=-1 oops=panic mitigations=off random.trust_cpu=on";

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

/// What came of a guest.
#[derive(Debug)]
pub(super) struct Ended {
    /// What its job said.
    pub(super) said: String,
    /// What its kernel said.
    pub(super) console: String,
    /// Whether it was ended because its time was over.
    pub(super) timed_out: bool,
    /// How long it ran.
    pub(super) took: Duration,
}

/// Boots a guest and waits until it is off. `logs` begins the names of the two files that stay.
///
/// # Errors
/// QEMU that cannot be started, or files that cannot be written.
pub(super) fn boot(
    kernel: &Kernel,
    initramfs: &[u8],
    limit: Duration,
    logs: &Path,
) -> Result<Ended> {
    let log = |ending: &str| PathBuf::from(format!("{}.{ending}", logs.display()));
    let (console, said, image) = (log("console.log"), log("log"), log("initramfs"));
    for file in [&console, &said] {
        write(file, "")?;
    }
    write(&image, initramfs)?;
    let path = |file: &Path| file.display().to_string();
    let serial = |file: &Path| format!("file:{}", file.display());
    let (kernel, initrd) = (path(&kernel.image), path(&image));
    let (first, second) = (serial(&console), serial(&said));
    let mut args = vec!["-cpu", CORE, "-m", "2G", "-nodefaults", "-no-reboot"];
    args.extend(["-display", "none"]);
    args.extend(PROCESSOR);
    args.extend(["-kernel", &kernel, "-initrd", &initrd]);
    args.extend([
        "-append",
        KERNEL_OPTIONS,
        "-serial",
        &first,
        "-serial",
        &second,
    ]);
    let own_log = log("qemu.log");
    let outcome = process::run_logged(Path::new("/"), QEMU, &args, &[], limit, &own_log)?;
    let _ = fs::remove_file(&image);
    let text =
        |file: &Path| String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned();
    let mut console = text(&console);
    console.push_str(&outcome.output);
    Ok(Ended {
        said: text(&said).replace('\r', ""),
        console,
        timed_out: outcome.timed_out,
        took: outcome.took,
    })
}
