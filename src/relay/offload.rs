//! Which TLS work the kernel can do on this machine, and which of it the configuration wants.

use std::fmt;

use super::tunnel::OffloadPlan;
use crate::sys::ktls::Direction;
use crate::sys::probe::{KtlsOffer, Suite};
use crate::tls::offload::Offload;
use crate::tls::record::kernel::SuiteCode;

/// The kernel's TLS support, probed once for all threads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelTls {
    suites: Vec<(SuiteCode, Directions)>,
    /// Whether the kernel can change the keys of a TLS 1.3 direction.
    pub rekeys: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Directions {
    tx: bool,
    rx: bool,
    /// Whether the kernel is also faster than user space.
    accelerated: bool,
}

impl fmt::Display for KernelTls {
    /// Writes the supported suites, such as `tls13-aes128gcm tx+rx, no rekey`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (suite, directions) in &self.suites {
            let words = match (directions.tx, directions.rx) {
                (true, true) => "tx+rx",
                (true, false) => "tx",
                (false, true) => "rx",
                (false, false) => continue,
            };
            let name = name_of(*suite);
            let pace = if directions.accelerated {
                ""
            } else {
                " (slow)"
            };
            write!(f, "{name} {words}{pace}, ")?;
        }
        f.write_str(if self.rekeys { "rekey" } else { "no rekey" })
    }
}

/// Returns the name of a suite for reports, such as `tls13-aes128gcm`.
pub(super) fn name_of(suite: SuiteCode) -> &'static str {
    let known = Suite::ALL.into_iter().find(|known| {
        let (version, cipher) = known.code();
        suite == SuiteCode { version, cipher }
    });
    known.map_or("another suite", |known| known.name)
}

impl KernelTls {
    /// Makes it from the result of a probe.
    #[must_use]
    pub fn of(offer: &KtlsOffer) -> Self {
        let suites = offer.suites.iter().map(|found| {
            let (version, cipher) = found.suite.code();
            let directions = Directions {
                tx: found.tx.is_ok(),
                rx: found.rx.is_ok(),
                accelerated: found.accelerated,
            };
            (SuiteCode { version, cipher }, directions)
        });
        Self {
            suites: suites.collect(),
            rekeys: offer.rekey,
        }
    }

    /// Returns when the records of a direction are left to the kernel.
    #[must_use]
    pub fn plan(&self, wish: Offload, suite: SuiteCode, direction: Direction) -> OffloadPlan {
        let found = self.suites.iter().find(|(found, _)| *found == suite);
        let Some((_, offer)) = found else {
            return OffloadPlan::Never;
        };
        let offered = match direction {
            Direction::Tx => offer.tx,
            Direction::Rx => offer.rx,
        };
        match wish {
            Offload::Adaptive if offered && offer.accelerated => OffloadPlan::WhenBulky,
            Offload::Always if offered => OffloadPlan::AtOnce,
            Offload::Adaptive | Offload::Always | Offload::Never => OffloadPlan::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::probe::{Refused, Suite, SuiteOffer};
    use nix::errno::Errno;

    #[test]
    fn a_direction_is_left_to_a_kernel_that_offers_it() {
        let refused = Err(Refused {
            call: "setsockopt(TLS_RX)",
            errno: Errno::ENOENT,
        });
        let offer = KtlsOffer {
            suites: vec![SuiteOffer {
                suite: Suite::ALL[3],
                tx: Ok(()),
                rx: refused,
                accelerated: true,
            }],
            rekey: false,
        };
        let kernel = KernelTls::of(&offer);
        let suite = |version, cipher| SuiteCode { version, cipher };
        let (offered, other) = (suite(0x304, 51), suite(0x303, 51));
        let rows = [
            (
                Offload::Adaptive,
                offered,
                Direction::Tx,
                OffloadPlan::WhenBulky,
            ),
            (Offload::Always, offered, Direction::Tx, OffloadPlan::AtOnce),
            (Offload::Never, offered, Direction::Tx, OffloadPlan::Never),
            (Offload::Always, offered, Direction::Rx, OffloadPlan::Never),
            (Offload::Always, other, Direction::Tx, OffloadPlan::Never),
        ];
        for (wish, suite, direction, expected) in rows {
            assert_eq!(kernel.plan(wish, suite, direction), expected, "{wish:?}");
        }
        let mut slow = offer;
        slow.suites[0].accelerated = false;
        let slow = KernelTls::of(&slow);
        let plan = |wish| slow.plan(wish, offered, Direction::Tx);
        assert_eq!(plan(Offload::Adaptive), OffloadPlan::Never);
        assert_eq!(plan(Offload::Always), OffloadPlan::AtOnce);
        let none = KernelTls::default();
        assert_eq!(
            none.plan(Offload::Always, offered, Direction::Tx),
            OffloadPlan::Never
        );
    }
}
