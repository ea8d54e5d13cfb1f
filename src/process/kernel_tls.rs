//! The kernel's TLS support, probed once before the first thread starts.

use super::changes::wants_kernel_tls;
use crate::config::Config;
use crate::relay::offload::KernelTls;
use crate::sys::probe;

/// Probes the kernel's TLS if the configuration needs it, and logs the result.
pub(super) fn offered_to(config: &Config) -> KernelTls {
    if !wants_kernel_tls(config) {
        return KernelTls::default();
    }
    match probe::ktls() {
        Ok(offer) => {
            let kernel_tls = KernelTls::of(&offer);
            tracing::info!(offers = %kernel_tls, "kernel TLS");
            kernel_tls
        }
        Err(refusal) => {
            let why = refusal.to_string();
            tracing::info!(
                why,
                "no kernel TLS here; records are protected in user space: see longsplice doctor"
            );
            KernelTls::default()
        }
    }
}
