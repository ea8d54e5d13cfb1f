//! Replays the inputs that fuzzing found interesting, one folder per fuzz target, through the very
//! checks of the targets in `tests/fuzz`.

use std::fs;
use std::io;
use std::path::Path;

mod proxy;

#[test]
fn proxy_headers() -> io::Result<()> {
    replay("proxy", proxy::check)
}

/// Calls `check` on every file of a folder, and on every file with each of its bytes changed.
fn replay(folder: &str, check: fn(&[u8])) -> io::Result<()> {
    /// Longer files are replayed as they are: changing each byte costs the square of the length.
    const CHANGED_LEN_MAX: usize = 512;

    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(folder);
    let mut files = 0;
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        // Shown only if the check fails.
        println!("{}", path.display());
        let bytes = fs::read(&path)?;
        check(&bytes);
        files += 1;
        if bytes.len() > CHANGED_LEN_MAX {
            continue;
        }
        for at in 0..bytes.len() {
            for change in [0x01, 0x20, 0x80, 0xFF] {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                println!("byte {at} ^ {change:#x}");
                check(&changed);
            }
        }
    }
    assert!(files > 0, "no corpus in {}", folder.display());
    Ok(())
}
