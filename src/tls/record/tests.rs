//! Records sealed and opened again, whole, cut, changed and padded, and the limits on them.

use super::*;
use proptest::prelude::*;

const SUITES: [(RecordVersion, Cipher); 6] = [
    (RecordVersion::Tls12, Cipher::Aes128Gcm),
    (RecordVersion::Tls12, Cipher::Aes256Gcm),
    (RecordVersion::Tls12, Cipher::Chacha20Poly1305),
    (RecordVersion::Tls13, Cipher::Aes128Gcm),
    (RecordVersion::Tls13, Cipher::Aes256Gcm),
    (RecordVersion::Tls13, Cipher::Chacha20Poly1305),
];

fn keys((version, cipher): (RecordVersion, Cipher), sequence: u64) -> Keys {
    Keys {
        sequence,
        key: [7; 32],
        iv: [9; NONCE_LEN],
        cipher,
        version,
    }
}

fn sealed(
    suite: (RecordVersion, Cipher),
    sequence: u64,
    kind: ContentType,
    payload: &[u8],
) -> Vec<u8> {
    let mut out = vec![0; payload.len() + OVERHEAD_LEN_MAX];
    let len = Sealer::new(keys(suite, sequence))
        .seal(kind, payload, &mut out)
        .unwrap();
    out.truncate(len);
    out
}

/// Seals the inner plaintext of a TLS 1.3 record as it stands.
fn sealed_inner(inner: &[u8]) -> Vec<u8> {
    let keys = keys(SUITES[3], 0);
    let len = u16::try_from(inner.len() + TAG_LEN).unwrap();
    let mut record = vec![23, 3, 3];
    record.extend(len.to_be_bytes());
    let mut body = inner.to_vec();
    keys.cipher()
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(keys.nonce()),
            Aad::from(keys.additional_data(23, len)),
            &mut body,
        )
        .unwrap();
    record.extend(body);
    record
}

proptest! {
    #[test]
    fn what_is_sealed_opens_again(
        payload in prop::collection::vec(any::<u8>(), 0..20_000),
        sequence in 0..AES_GCM_RECORDS_MAX - 3,
        suite in prop::sample::select(&SUITES),
    ) {
        let mut sealer = Sealer::new(keys(suite, sequence));
        let mut opener = Opener::new(keys(suite, sequence));
        let mut out = vec![0; PAYLOAD_LEN_MAX + OVERHEAD_LEN_MAX];
        for piece in payload.chunks(PAYLOAD_LEN_MAX) {
            let len = sealer.seal(ContentType::Data, piece, &mut out).unwrap();
            prop_assert_eq!(whole_record(&out), Ok(Some(len)));
            prop_assert_eq!(whole_record(&out[..len - 1]), Ok(None));
            let (kind, place) = opener.open(&mut out[..len]).unwrap();
            prop_assert_eq!(kind, ContentType::Data);
            prop_assert_eq!(&out[place], piece);
            // A sealer and an opener that rested continue where they were.
            sealer.rest();
            opener.rest();
        }
    }

    #[test]
    fn a_changed_byte_is_found(
        at in 0..100_usize,
        flip in 1..=255_u8,
        suite in prop::sample::select(&SUITES),
    ) {
        let mut record = sealed(suite, 5, ContentType::Data, &[1; 100]);
        record[at] ^= flip;
        prop_assert!(Opener::new(keys(suite, 5)).open(&mut record).is_err());
    }
}

#[test]
fn a_record_opens_only_at_its_turn_and_unchanged() {
    for suite in SUITES {
        let record = sealed(suite, 3, ContentType::Data, b"hello");
        for at in HEADER_LEN..record.len() {
            let mut record = record.clone();
            record[at] ^= 1;
            let opened = Opener::new(keys(suite, 3)).open(&mut record);
            assert_eq!(opened, Err(RecordError::BadMac), "{suite:?} {at}");
        }
        let opened = Opener::new(keys(suite, 4)).open(&mut record.clone());
        assert_eq!(opened, Err(RecordError::BadMac), "{suite:?}");
        for len in 0..record.len() {
            assert!(
                Opener::new(keys(suite, 3))
                    .open(&mut record[..len].to_vec())
                    .is_err()
            );
        }
    }
}

#[test]
fn explicit_nonces_go_on_with_what_rustls_began() {
    let suite = SUITES[0];
    let nonces: Vec<Vec<u8>> = (0..300)
        .map(|sequence| {
            let record = sealed(suite, sequence, ContentType::Data, b"x");
            record[HEADER_LEN..HEADER_LEN + EXPLICIT_NONCE_LEN].to_vec()
        })
        .collect();
    assert_eq!(nonces[1], [9, 9, 9, 9, 9, 9, 9, 9 ^ 1]);
    let distinct: std::collections::HashSet<_> = nonces.iter().collect();
    assert_eq!(distinct.len(), nonces.len());
}

#[test]
fn padding_is_taken_off() {
    let unexpected = Err(RecordError::UnexpectedType);
    let rows = [
        ("hi\x17", Ok(&b"hi"[..])),
        ("hi\x17\0\0\0\0", Ok(b"hi")),
        ("\x17\0\0", Ok(b"")),
        ("\0\0\0", unexpected),
        ("hi\x63", unexpected),
    ];
    for (inner, expected) in rows {
        let mut record = sealed_inner(inner.as_bytes());
        let opened = Opener::new(keys(SUITES[3], 0)).open(&mut record);
        let payload = opened.map(|(_, place)| &record[place]);
        assert_eq!(payload, expected, "{inner:?}");
    }
}

#[test]
fn lengths_are_bounded() {
    let rows = [
        (PAYLOAD_LEN_MAX + 1, None),
        (PAYLOAD_LEN_MAX + 2, Some(RecordError::TooLong)),
    ];
    for (len, error) in rows {
        let mut inner = vec![0; len];
        inner[0] = 23;
        let opened = Opener::new(keys(SUITES[3], 0)).open(&mut sealed_inner(&inner));
        assert_eq!(opened.err(), error, "{len}");
    }
    let header = |len: usize| {
        let [high, low] = u16::try_from(len).unwrap().to_be_bytes();
        [23, 3, 3, high, low]
    };
    let most = RECORD_LEN_MAX - HEADER_LEN;
    assert_eq!(record_len(&header(most)), Ok(Some(RECORD_LEN_MAX)));
    assert_eq!(record_len(&header(most + 1)), Err(RecordError::TooLong));
    assert_eq!(record_len(b"GET / HTTP/1.1"), Err(RecordError::NotTls));
    assert_eq!(record_len(&[22, 2, 0]), Err(RecordError::NotTls));
    assert_eq!(record_len(&[22, 3, 1, 0]), Ok(None));
    assert_eq!(record_len(&[]), Ok(None));
}

#[test]
fn records_of_tls13_are_data_outside() {
    let mut record = sealed(SUITES[3], 0, ContentType::Alert, &[1, 0]);
    assert_eq!(record[0], 23);
    let opened = Opener::new(keys(SUITES[3], 0)).open(&mut record);
    assert_eq!(
        opened.map(|(kind, _)| kind),
        Ok(ContentType::Alert),
        "the type is inside"
    );
    let mut bare = vec![20, 3, 3, 0, 1, 1];
    let opened = Opener::new(keys(SUITES[3], 0)).open(&mut bare);
    assert_eq!(opened, Err(RecordError::UnexpectedType));
    let record = sealed(SUITES[0], 0, ContentType::Alert, &[1, 0]);
    assert_eq!(record[0], 21);
}

#[test]
fn keys_are_used_up() {
    let mut out = [0; 100];
    for (suite, limited) in [(SUITES[0], true), (SUITES[4], true), (SUITES[5], false)] {
        let mut sealer = Sealer::new(keys(suite, AES_GCM_RECORDS_MAX - 1));
        assert!(sealer.seal(ContentType::Data, b"x", &mut out).is_ok());
        let next = sealer.seal(ContentType::Data, b"x", &mut out);
        assert_eq!(next == Err(KeysUsedUp), limited, "{suite:?}");
    }
}

#[test]
fn idle_keys_are_small() {
    assert!(size_of::<Keys>() <= 64);
    assert!(size_of::<Sealer>() <= 72);
}

/// Returns the fields of linux/tls.h for keys: salt, IV, key, number of the next record.
fn in_kernel(keys: &kernel::KernelKeys) -> (Vec<u8>, Vec<u8>, Vec<u8>, [u8; 8]) {
    match keys.as_ref() {
        ktls::CryptoInfo::AesGcm128(info) => (
            info.salt.to_vec(),
            info.iv.to_vec(),
            info.key.to_vec(),
            info.rec_seq,
        ),
        ktls::CryptoInfo::AesGcm256(info) => (
            info.salt.to_vec(),
            info.iv.to_vec(),
            info.key.to_vec(),
            info.rec_seq,
        ),
        ktls::CryptoInfo::Chacha20Poly1305(info) => {
            (vec![], info.iv.to_vec(), info.key.to_vec(), info.rec_seq)
        }
        ktls::CryptoInfo::AesCcm128(_)
        | ktls::CryptoInfo::Sm4Gcm(_)
        | ktls::CryptoInfo::Sm4Ccm(_) => panic!("a cipher that is not ours"),
    }
}

#[test]
fn the_kernel_goes_on_where_we_stop() {
    for suite in SUITES {
        let (version, cipher) = suite;
        let gcm = cipher != Cipher::Chacha20Poly1305;
        let keys = keys(suite, 0x0102);
        let (salt, iv, key, number) = in_kernel(&keys.for_receiving());
        assert_eq!([salt, iv].concat(), [9; 12], "{suite:?}");
        assert_eq!(key, vec![7; cipher.algorithm().key_len()]);
        assert_eq!(number, [0, 0, 0, 0, 0, 0, 1, 2]);
        let (salt, iv, _, number) = in_kernel(&keys.for_sending());
        let mut expected = [9; 12];
        if version == RecordVersion::Tls12 && gcm {
            expected[SALT_LEN] = 0x89;
        }
        assert_eq!([salt, iv].concat(), expected, "{suite:?}");
        assert_eq!(number, [0, 0, 0, 0, 0, 0, 1, 2]);
    }
}

proptest! {
    /// The kernel counts up from its start value; our nonces are the IV with a number over it.
    #[test]
    fn no_explicit_nonce_of_the_kernel_is_one_of_ours(
        iv in any::<[u8; NONCE_LEN]>(),
        ours in 0..AES_GCM_RECORDS_MAX,
        theirs in 0..AES_GCM_RECORDS_MAX,
    ) {
        let mut keys = keys(SUITES[0], ours);
        keys.iv = iv;
        let (_, first, _, _) = in_kernel(&keys.for_sending());
        let first = u64::from_be_bytes(first.try_into().unwrap());
        let nonce = keys.nonce();
        prop_assert_ne!(&first.wrapping_add(theirs).to_be_bytes()[..], &nonce[SALT_LEN..]);
    }
}
