//! What the findings mean for longsplice, and what to do about what is missing. Does not touch the machine.

use std::fmt::Write as _;

use nix::errno::Errno;
use serde_json::{Map, Value, json};

use super::findings::Findings;
use super::item::Item;
use super::report::Report;
use crate::sys::probe::{KtlsOffer, LimitPair, Refused, Suite, SuiteOffer};

/// Descriptors of one connection: the client's socket and the server's.
const FDS_PER_CONNECTION: u64 = 2;
/// Descriptors for listeners, rings, pipes and logs, as `server` reckons as well.
const FDS_RESERVE: u64 = 256;
/// Default of `server.max_connections`.
const MAX_CONNECTIONS_DEFAULT: u64 = 65_536;
/// Pages of one pooled pipe: 256 KiB of 4 KiB pages.
const PIPE_PAGES: u64 = 64;
/// Pooled pipes below which bulk transfers of a user who is not root compete for them.
const PIPES_COMFORTABLE: u64 = 64;
/// Bytes of a pooled pipe.
const PIPE_BYTES: u64 = 256 * 1024;
/// Length of a listen queue below which a burst of new connections is dropped by the kernel.
const LISTEN_QUEUE_COMFORTABLE: u64 = 1024;

impl Findings {
    /// Judges every capability.
    pub(super) fn report(&self) -> Report {
        Report {
            kernel: self.kernel.clone(),
            io_uring: self.judge_io_uring(),
            splice: judge_splice(&self.splice),
            ktls: judge_ktls(&self.ktls),
            suites: self.ktls.as_ref().map_or_else(|_| Vec::new(), judge_suites),
            limits: vec![
                judge_open_files(self.open_files),
                self.judge_pipes(),
                self.judge_ports(),
                judge_locked_memory(self.locked_memory),
                judge_queue("listen_queue", "net.core.somaxconn", self.listen_queue),
                judge_queue("syn_queue", "net.ipv4.tcp_max_syn_backlog", self.syn_queue),
            ],
        }
    }

    fn judge_io_uring(&self) -> Item {
        let Err(refusal) = &self.io_uring else {
            return Item::ok("io_uring", "single issuer, deferred task work");
        };
        let mut found = format!("{refusal}; tunnels are moved by epoll instead");
        let disabled = self.io_uring_disabled.as_deref().unwrap_or("0");
        let advice = match (refusal.errno, disabled) {
            (Errno::ENOSYS, _) if self.seccomp => {
                "allow io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp profile"
            }
            (Errno::ENOSYS, _) => "use kernel 6.1 or newer, with CONFIG_IO_URING",
            (Errno::EPERM, "1" | "2") => {
                let _ = write!(found, "; kernel.io_uring_disabled = {disabled}");
                "sysctl -w kernel.io_uring_disabled=0"
            }
            (Errno::EPERM | Errno::EACCES, _) => {
                "allow io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp profile"
            }
            (Errno::ENOMEM, _) => {
                "raise the memory limit of the service (LimitMEMLOCK=, MemoryMax=)"
            }
            (Errno::EINVAL, _) => {
                "use kernel 6.1 or newer: this one does not know the flags of our ring"
            }
            (Errno::EMFILE | Errno::ENFILE, _) => {
                "raise the limit on open descriptors (LimitNOFILE=)"
            }
            _ => "see io_uring_setup(2) for this error",
        };
        Item::ok("io_uring", found).missing(advice)
    }

    fn judge_pipes(&self) -> Item {
        // 0 = no limit (pipe(7)); a sysctl that cannot be read is taken as none.
        let or_unlimited = |pages: Option<u64>| pages.filter(|pages| *pages > 0);
        let shown = |pages: Option<u64>| pages.map_or("none".to_owned(), |pages| pages.to_string());
        let (soft, hard) = (
            or_unlimited(self.pipe_pages_soft),
            or_unlimited(self.pipe_pages_hard),
        );
        let size_max = self.pipe_size_max;
        let found = format!(
            "{} pages per user (hard limit {}), {} bytes per pipe",
            shown(soft),
            shown(hard),
            size_max.map_or("unknown".to_owned(), |bytes| bytes.to_string()),
        );
        let item = Item::ok("pipe_pages", found)
            .figure("soft", self.pipe_pages_soft)
            .figure("hard", self.pipe_pages_hard)
            .figure("size_max", size_max);
        let fewest = [soft, hard].into_iter().flatten().min();
        if fewest.is_some_and(|pages| pages < PIPES_COMFORTABLE * PIPE_PAGES) {
            return item.noted(format!(
                "sysctl -w fs.pipe-user-pages-soft={} (bulk beyond it is copied, not spliced)",
                256 * PIPE_PAGES
            ));
        }
        if size_max.is_some_and(|bytes| bytes < PIPE_BYTES) {
            return item.noted(format!("sysctl -w fs.pipe-max-size={}", 4 * PIPE_BYTES));
        }
        item
    }

    fn judge_ports(&self) -> Item {
        let Some((first, last)) = self.ports else {
            return Item::ok("ports", "the range of local ports cannot be read")
                .noted("mount /proc so that net.ipv4.ip_local_port_range can be read");
        };
        let count = (last + 1).saturating_sub(first);
        let reserved = if self.ports_reserved.is_empty() {
            "none reserved".to_owned()
        } else {
            format!("reserved {}", self.ports_reserved)
        };
        let item = Item::ok(
            "ports",
            format!("{count} local ports ({first} to {last}, {reserved}): at most as many connections to one server address"),
        )
        .figure("first", first)
        .figure("last", last)
        .figure("reserved", &self.ports_reserved)
        .figure("time_wait_reuse", self.time_wait_reuse);
        if count >= MAX_CONNECTIONS_DEFAULT.min(60_000) {
            return item;
        }
        item.noted("sysctl -w net.ipv4.ip_local_port_range='1024 65535', or more server addresses")
    }
}

fn judge_splice(splice: &Result<(), Refused>) -> Item {
    match splice {
        Ok(()) => Item::ok("splice", "socket to pipe to socket"),
        Err(refusal) => Item::ok("splice", format!("{refusal}; bulk is copied instead"))
            .missing("allow splice and pipe2 in the container's seccomp profile"),
    }
}

fn judge_ktls(ktls: &Result<KtlsOffer, Refused>) -> Item {
    let suites: Map<String, Value> = Suite::ALL
        .into_iter()
        .map(|suite| {
            let offer = ktls.as_ref().ok().and_then(|offer| {
                let offers = &offer.suites;
                offers.iter().find(|offer| offer.suite == suite)
            });
            let tx = offer.is_some_and(|offer| offer.tx.is_ok());
            let rx = offer.is_some_and(|offer| offer.rx.is_ok());
            let accelerated = offer.is_some_and(|offer| offer.accelerated);
            let found = json!({"tx": tx, "rx": rx, "accelerated": accelerated});
            (suite.name.to_owned(), found)
        })
        .collect();
    let rekey = ktls.as_ref().is_ok_and(|offer| offer.rekey);
    let item = match ktls {
        Err(refusal) => {
            let advice = if refusal.errno == Errno::ENOENT {
                "modprobe tls (and add it to /etc/modules-load.d), or use a kernel with CONFIG_TLS"
            } else {
                "see tls.rst of the kernel's networking documentation for this error"
            };
            Item::ok(
                "ktls",
                format!("{refusal}; TLS records are protected in user space"),
            )
            .missing(advice)
        }
        Ok(offer)
            if offer
                .suites
                .iter()
                .all(|suite| suite.tx.is_err() && suite.rx.is_err()) =>
        {
            Item::ok("ktls", "no cipher; TLS records are protected in user space").missing(
                "modprobe gcm chacha20poly1305, or install the kernel's package of crypto modules",
            )
        }
        Ok(KtlsOffer { rekey: true, .. }) => Item::ok("ktls", "with rekeying"),
        Ok(KtlsOffer { rekey: false, .. }) => Item::ok(
            "ktls",
            "without rekeying: a KeyUpdate ends a connection that the kernel encrypts",
        )
        .noted("use kernel 6.14 or newer if clients send KeyUpdate"),
    };
    // Kernel TLS without rekeying is still kernel TLS: `ok` in JSON says whether it can be used.
    item.figure("rekey", rekey).figure("ciphers", suites)
}

fn judge_suites(offer: &KtlsOffer) -> Vec<Item> {
    let judge = |offer: &SuiteOffer| {
        let name = offer.suite.name;
        match (&offer.tx, &offer.rx) {
            (Ok(()), Ok(())) if !offer.accelerated => Item::ok(
                name,
                "tx rx, but slower than user space: the kernel's cipher is in plain C",
            )
            .noted(if name.ends_with("gcm") {
                "modprobe aesni-intel if the processor has AES-NI"
            } else {
                "modprobe chacha20-x86_64 poly1305-x86_64, or the modules for this processor"
            }),
            (Ok(()), Ok(())) => Item::ok(name, "tx rx"),
            (tx, rx) => {
                let word = |direction: &str, result: &Result<(), Refused>| match result {
                    Ok(()) => format!("{direction} works"),
                    Err(refusal) => format!("{direction} refused by {refusal}"),
                };
                let found = format!("{}, {}", word("tx", tx), word("rx", rx));
                Item::ok(name, found).missing(if name.ends_with("gcm") {
                    "modprobe gcm, or install the kernel's package of crypto modules"
                } else {
                    "modprobe chacha20poly1305, or install the kernel's package of crypto modules"
                })
            }
        }
    };
    offer.suites.iter().map(judge).collect()
}

fn judge_open_files(limit: Option<LimitPair>) -> Item {
    let wanted = MAX_CONNECTIONS_DEFAULT * FDS_PER_CONNECTION + FDS_RESERVE;
    let Some(LimitPair { soft, hard }) = limit else {
        return Item::ok("nofile", "the limit on descriptors cannot be read")
            .noted("see getrlimit(2)");
    };
    let shown =
        |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
    let raised = if soft == hard {
        String::new()
    } else {
        format!(", raised to {} at start", shown(hard))
    };
    let found = format!(
        "{} open descriptors{raised}; max_connections = {MAX_CONNECTIONS_DEFAULT} takes {wanted}",
        shown(soft),
    );
    let item = Item::ok("nofile", found)
        .figure("soft", soft)
        .figure("hard", hard)
        .figure("wanted", wanted);
    if hard.is_none_or(|hard| hard >= wanted) {
        return item;
    }
    item.noted(format!(
        "LimitNOFILE={wanted} in the service, or a smaller server.max_connections"
    ))
}

fn judge_locked_memory(limit: Option<LimitPair>) -> Item {
    // From 5.12 on rings are charged to the memory cgroup, and nothing here registers buffers.
    let soft = limit.and_then(|limit| limit.soft);
    let found = match (limit, soft) {
        (None, _) => "the limit on locked memory cannot be read; not needed".to_owned(),
        (Some(_), None) => "unlimited".to_owned(),
        (Some(_), Some(bytes)) => format!("{bytes} bytes; rings are not charged to it"),
    };
    Item::ok("memlock", found)
        .figure("soft", soft)
        .figure("hard", limit.and_then(|limit| limit.hard))
}

fn judge_queue(name: &'static str, sysctl: &str, len: Option<u64>) -> Item {
    let Some(len) = len else {
        return Item::ok(name, format!("{sysctl} cannot be read here"));
    };
    let item = Item::ok(name, format!("{sysctl} = {len}")).figure("length", len);
    if len >= LISTEN_QUEUE_COMFORTABLE {
        return item;
    }
    item.noted(format!(
        "sysctl -w {sysctl}=4096 (the kernel drops connections when a burst exceeds it)"
    ))
}
