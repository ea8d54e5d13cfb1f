//! What holds for every input of `tls::pem`: shared by the corpus test and the fuzz target.

use longsplice::tls::pem::{BadPem, Block, Material, certificates, crls, parts, read};

const BEGIN: &[u8] = b"-----BEGIN ";

/// Panics if reading `bytes` breaks a promise of `read`.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(blocks) = read(bytes) else {
        assert!(certificates(bytes).is_err() && parts(bytes).is_err() && crls(bytes).is_err());
        return;
    };
    assert_eq!(blocks.len(), begun(bytes), "a block is lost in silence");
    let lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).count();
    assert!(blocks.is_sorted_by(|a, b| a.line <= b.line));
    assert!(blocks.iter().all(|block| (1..=lines).contains(&block.line)));
    uses(bytes, &blocks);
    if blocks.is_empty() {
        return;
    }
    // A block is the same whatever stands before it.
    let twice = [bytes, b"\n# -----BEGIN NOTHING-----\n", bytes].concat();
    let twice = read(&twice).expect("two good texts are one");
    let (first, second) = twice.split_at(blocks.len());
    assert_eq!(first, blocks);
    assert_eq!(contents(second), contents(&blocks));
}

fn contents(blocks: &[Block]) -> Vec<&Material> {
    blocks.iter().map(|block| &block.material).collect()
}

/// Every use takes its blocks, all of them, or says why not.
fn uses(bytes: &[u8], blocks: &[Block]) {
    let count = |is: fn(&Material) -> bool| blocks.iter().filter(|it| is(&it.material)).count();
    let of_certificates = count(|it| matches!(it, Material::Certificate(_)));
    match certificates(bytes) {
        Ok(found) => assert_eq!(found.len(), of_certificates),
        Err(BadPem::NoCertificate) => assert_eq!(of_certificates, 0),
        Err(_) => assert_ne!(blocks.len(), of_certificates),
    }
    let of_keys = count(|it| matches!(it, Material::Key(_)));
    let of_parameters = count(|it| matches!(it, Material::Parameters));
    let of_parts = of_certificates + of_keys + of_parameters;
    match parts(bytes) {
        Ok(found) => {
            assert_eq!(found.certificates.len(), of_certificates);
            assert_eq!(found.keys.len(), of_keys);
            assert_eq!(blocks.len(), of_parts);
        }
        Err(_) => assert_ne!(blocks.len(), of_parts),
    }
    let of_crls = count(|it| matches!(it, Material::Crl(_)));
    assert_eq!(crls(bytes).is_ok(), of_crls > 0 && of_crls == blocks.len());
}

/// Counts the blocks that begin in a text, comments left out.
fn begun(bytes: &[u8]) -> usize {
    let lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r'));
    let is_comment = |line: &&[u8]| {
        let bare = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        bare.trim_ascii_start().starts_with(b"#")
    };
    let begun = |line: &[u8]| line.windows(BEGIN.len()).filter(|it| *it == BEGIN).count();
    lines.filter(|line| !is_comment(line)).map(begun).sum()
}
