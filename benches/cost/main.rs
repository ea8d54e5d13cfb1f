//! The load of `cargo xtask cost`: what a unit of work costs the proxy, in instructions.
//!
//! Runs in a guest where one instruction is one nanosecond, so that the CPU time the kernel charges
//! a process is a count of its instructions, those of the kernel in its name included. One process
//! is the client and the server around the proxy; it waits while the proxy works. A line
//! `cost COMPARISON WORK KIND VARIANT REPETITION INSTRUCTIONS` for each figure goes to standard
//! output. Elsewhere, as with `cargo bench`, its figures mean nothing, and it does nothing.

mod observed;
mod offload;
mod proxy;

use std::env;
use std::error::Error;
use std::io::{Read, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use proxy::Proxy;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Names the proxy's binary; without it nothing is measured.
const BINARY: &str = "LONGSPLICE_COST_BINARY";
/// Names the one comparison that is wanted; all without it.
const ONLY: &str = "LONGSPLICE_COST_ONLY";
/// How often each figure is taken; the difference says how far it is to be trusted.
const REPETITIONS: usize = 2;
/// How long anything may take that the proxy has to do.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of one write of bulk.
const WRITE_BYTES: usize = 64 * 1024;
const MIB: usize = 1024 * 1024;

fn main() -> Result<()> {
    let Some(binary) = env::var_os(BINARY) else {
        println!("the load of `cargo xtask cost`, which runs it in a guest");
        return Ok(());
    };
    let binary = Path::new(&binary);
    let only = env::var(ONLY).ok();
    let is_wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if is_wanted(offload::NAME) {
        offload::compare(binary)?;
    }
    if is_wanted(observed::NAME) {
        observed::compare(binary)?;
    }
    Ok(())
}

/// Returns the proxy's instructions for one unit. `units` are done before the count begins, so that
/// adaptation is over, and counted.
fn measure(
    proxy: &Proxy,
    units: (usize, usize),
    mut run: impl FnMut(usize) -> Result<()>,
) -> Result<u64> {
    let (warm_up, counted) = units;
    run(warm_up)?;
    let before = proxy.instructions_at_rest()?;
    run(counted)?;
    let after = proxy.instructions_at_rest()?;
    Ok((after - before) / u64::try_from(counted)?)
}

/// Writes so many bytes on one side while another thread reads them on the other.
fn pour(
    from: &mut (impl Write + Send),
    to: &mut impl Read,
    bytes: usize,
    buffer: &mut [u8],
) -> Result<()> {
    thread::scope(|scope| {
        let chunk = vec![0x5a; WRITE_BYTES];
        let writer =
            scope.spawn(move || (0..bytes / WRITE_BYTES).try_for_each(|_| from.write_all(&chunk)));
        let mut left = bytes;
        while left > 0 {
            match to.read(buffer)? {
                0 => return Err("the proxy closed".into()),
                read => left = left.saturating_sub(read),
            }
        }
        writer.join().map_err(|_| "the writer panicked")??;
        Ok(())
    })
}
