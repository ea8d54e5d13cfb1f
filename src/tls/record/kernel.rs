//! The keys of a direction in the form of linux/tls.h, so that the kernel continues where we stop.

use ktls::CryptoInfo;
use ktls_sys::bindings;

use super::{Cipher, Keys, RecordVersion, SALT_LEN};

/// Keys for the kernel; the bytes are wiped when they are dropped.
pub struct KernelKeys(CryptoInfo);

impl AsRef<CryptoInfo> for KernelKeys {
    fn as_ref(&self) -> &CryptoInfo {
        &self.0
    }
}

impl Drop for KernelKeys {
    fn drop(&mut self) {
        match &mut self.0 {
            CryptoInfo::AesGcm128(info) => info.key.fill(0),
            CryptoInfo::AesGcm256(info) => info.key.fill(0),
            CryptoInfo::Chacha20Poly1305(info) => info.key.fill(0),
            // Never made in this file.
            CryptoInfo::AesCcm128(_) | CryptoInfo::Sm4Gcm(_) | CryptoInfo::Sm4Ccm(_) => {}
        }
        std::hint::black_box(&mut self.0);
    }
}

/// A version and a cipher as numbers of linux/tls.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SuiteCode {
    /// `TLS_1_2_VERSION` or `TLS_1_3_VERSION`.
    pub version: u16,
    /// `TLS_CIPHER_...`.
    pub cipher: u16,
}

impl SuiteCode {
    /// Returns how many records one key of this suite may seal.
    #[must_use]
    pub fn records_max(self) -> u64 {
        if u32::from(self.cipher) == bindings::TLS_CIPHER_CHACHA20_POLY1305 {
            Cipher::Chacha20Poly1305.records_max()
        } else {
            Cipher::Aes128Gcm.records_max()
        }
    }
}

/// The version and the cipher of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordSuite {
    version: RecordVersion,
    cipher: Cipher,
}

impl RecordSuite {
    /// Returns version and cipher as numbers of linux/tls.h.
    #[must_use]
    pub fn code(self) -> SuiteCode {
        let cipher = match self.cipher {
            Cipher::Aes128Gcm => bindings::TLS_CIPHER_AES_GCM_128,
            Cipher::Aes256Gcm => bindings::TLS_CIPHER_AES_GCM_256,
            Cipher::Chacha20Poly1305 => bindings::TLS_CIPHER_CHACHA20_POLY1305,
        };
        SuiteCode {
            version: match self.version {
                RecordVersion::Tls12 => 0x0303,
                RecordVersion::Tls13 => 0x0304,
            },
            // The cipher numbers are below 100.
            cipher: u16::try_from(cipher).unwrap_or(0),
        }
    }
}

impl Keys {
    /// Returns version and cipher.
    #[must_use]
    pub fn suite(&self) -> RecordSuite {
        RecordSuite {
            version: self.version,
            cipher: self.cipher,
        }
    }

    /// Returns version and cipher as numbers of linux/tls.h.
    #[must_use]
    pub fn suite_code(&self) -> SuiteCode {
        self.suite().code()
    }

    /// Returns the keys for the kernel to open received records.
    #[must_use]
    pub fn for_receiving(&self) -> KernelKeys {
        self.for_kernel(self.iv)
    }

    /// Returns the keys for the kernel to seal records to send.
    ///
    /// With TLS 1.2 and AES-GCM the nonce is in the record (RFC 5288 section 3). rustls, and
    /// [`super::Sealer`] after it, use the IV with the sequence number XORed over it; the kernel counts up
    /// from the start value and ignores the sequence number. If the start value were the IV itself, the
    /// kernel would repeat nonces of the handshake and of our records, which reveals the key. So the start
    /// value has the first explicit bit inverted: all our nonces have the IV's first bit, because a key never
    /// sees 2^63 records, and all of the kernel's have the inverse.
    #[must_use]
    pub fn for_sending(&self) -> KernelKeys {
        let mut iv = self.iv;
        if self.explicit_nonce_len() > 0 {
            iv[SALT_LEN] ^= 0x80;
        }
        self.for_kernel(iv)
    }

    fn for_kernel(&self, iv: [u8; super::NONCE_LEN]) -> KernelKeys {
        let code = self.suite_code();
        let info = bindings::tls_crypto_info {
            version: code.version,
            cipher_type: code.cipher,
        };
        let rec_seq = self.sequence.to_be_bytes();
        let [s0, s1, s2, s3, explicit @ ..] = iv;
        let salt = [s0, s1, s2, s3];
        KernelKeys(match self.cipher {
            Cipher::Aes128Gcm => {
                let mut key = [0; 16];
                key.copy_from_slice(&self.key[..16]);
                CryptoInfo::AesGcm128(bindings::tls12_crypto_info_aes_gcm_128 {
                    info,
                    iv: explicit,
                    key,
                    salt,
                    rec_seq,
                })
            }
            Cipher::Aes256Gcm => CryptoInfo::AesGcm256(bindings::tls12_crypto_info_aes_gcm_256 {
                info,
                iv: explicit,
                key: self.key,
                salt,
                rec_seq,
            }),
            Cipher::Chacha20Poly1305 => {
                CryptoInfo::Chacha20Poly1305(bindings::tls12_crypto_info_chacha20_poly1305 {
                    info,
                    iv,
                    key: self.key,
                    salt: bindings::__IncompleteArrayField::new(),
                    rec_seq,
                })
            }
        })
    }
}
