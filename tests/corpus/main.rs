//! Replays the inputs that fuzzing found interesting, one folder per fuzz target, through the very
//! checks of the targets in `tests/fuzz`.

use std::fs;
use std::io;
use std::path::Path;

mod client_hello;
mod frames;
mod head;
mod pem;
mod proxy;
mod record;
mod record_keys;
mod ticket;

#[test]
fn proxy_headers() -> io::Result<()> {
    replay("proxy", &[0x01, 0x20, 0x80, 0xFF], proxy::check)
}

#[test]
fn http_heads() -> io::Result<()> {
    // One change turns letters, digits, spaces and line ends into what they must not be.
    replay("head", &[0x20], head::check)
}

#[test]
fn client_hellos() -> io::Result<()> {
    replay("client_hello", &[0x01, 0x80, 0xFF], client_hello::check)
}

#[test]
fn records() -> io::Result<()> {
    replay("record", &[0x01, 0x80], record::check)
}

#[test]
fn websocket_frames() -> io::Result<()> {
    // Opcodes, the mask, lengths.
    replay("frames", &[0x01, 0x08, 0x80, 0xFF], frames::check)
}

#[test]
fn tickets_of_servers() -> io::Result<()> {
    replay("ticket", &[0x01, 0x80], ticket::check)
}

#[test]
fn pem_files() -> io::Result<()> {
    // Letters and dashes turn into other letters, line ends, and what base64 does not have.
    replay("pem", &[0x01, 0x07, 0x20, 0x80], pem::check)
}

/// Files of the folder `head` that say in their name what becomes of them. `SECTION-RULE.VERDICT`
/// holds requests; the verdict is `ok` for whole ones, `partial`, or the status of the refusal.
/// `response-SECTION-RULE.VERDICT` and `response-ASKED-SECTION-RULE.VERDICT` hold what answers a
/// request; see [`head::judge_answer`]. Files without a verdict were found by fuzzing.
#[test]
fn labelled_heads_are_judged_as_they_say() -> io::Result<()> {
    /// Fewer would mean that names are not understood any more.
    const REQUESTS_MIN: usize = 350;
    const ANSWERS_MIN: usize = 250;

    let (mut requests, mut answers) = (0, 0);
    let mut wrong = Vec::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/head"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some((rule, verdict)) = name.rsplit_once('.') else {
            continue;
        };
        let bytes = fs::read(&path)?;
        let found = match rule.strip_prefix("response-") {
            Some(rule) => {
                answers += 1;
                let asked = rule.split('-').next().unwrap_or_default();
                head::judge_answer(asked, &bytes).to_owned()
            }
            None => {
                requests += 1;
                match head::judge_requests(&bytes) {
                    head::Verdict::Whole(count) if count > 0 => "ok".to_owned(),
                    head::Verdict::Whole(_) => "nothing".to_owned(),
                    head::Verdict::Partial => "partial".to_owned(),
                    head::Verdict::Refused(status) => status.to_string(),
                }
            }
        };
        if found != verdict {
            wrong.push(format!("{name}: {found}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(
        requests >= REQUESTS_MIN && answers >= ANSWERS_MIN,
        "only {requests} requests and {answers} answers are labelled"
    );
    Ok(())
}

/// Calls `check` on every file of a folder, and on every file with each of its bytes changed by
/// each of `changes`.
fn replay(folder: &str, changes: &[u8], check: fn(&[u8])) -> io::Result<()> {
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
            for change in changes {
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
