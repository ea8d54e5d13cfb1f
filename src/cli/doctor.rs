//! `longsplice doctor`: what this kernel and machine offer, and what to do about what is missing.
//!
//! Three steps: `examine` asks `sys::probe`, `Findings::report` judges what it heard without
//! touching the machine, and the report is written for people or as JSON. Nothing is changed, and
//! the exit code is 0 whatever is missing: longsplice has a way around all of it.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use nix::errno::Errno;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::sys::probe::{self, KtlsOffer, LimitPair, Refused, Suite};

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

/// Prints the findings on standard output, for people or as one JSON object.
#[must_use]
pub fn run(json: bool) -> ExitCode {
    let report = examine().report();
    let text = if json {
        format!("{}\n", report.to_json())
    } else {
        report.to_text()
    };
    // A reader that has gone away wants no more; that is no failure of the machine.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// What the machine answered, before it is judged.
#[derive(Debug, Clone)]
struct Findings {
    kernel: String,
    io_uring: Result<(), Refused>,
    io_uring_disabled: Option<String>,
    seccomp: bool,
    splice: Result<(), Refused>,
    ktls: Result<KtlsOffer, Refused>,
    open_files: Option<LimitPair>,
    locked_memory: Option<LimitPair>,
    pipe_pages_soft: Option<u64>,
    pipe_pages_hard: Option<u64>,
    pipe_size_max: Option<u64>,
    ports: Option<(u64, u64)>,
    ports_reserved: String,
    time_wait_reuse: Option<u64>,
    listen_queue: Option<u64>,
    syn_queue: Option<u64>,
}

/// Asks the machine.
fn examine() -> Findings {
    let number = |name: &str| probe::sysctl(name)?.parse().ok();
    Findings {
        kernel: probe::sysctl("kernel.osrelease").unwrap_or_default(),
        io_uring: probe::io_uring(),
        io_uring_disabled: probe::sysctl("kernel.io_uring_disabled"),
        seccomp: probe::seccomp_filtered(),
        splice: probe::splice_byte(),
        ktls: probe::ktls(),
        open_files: probe::open_files(),
        locked_memory: probe::locked_memory(),
        pipe_pages_soft: number("fs.pipe-user-pages-soft"),
        pipe_pages_hard: number("fs.pipe-user-pages-hard"),
        pipe_size_max: number("fs.pipe-max-size"),
        ports: probe::sysctl("net.ipv4.ip_local_port_range").and_then(|range| port_range(&range)),
        ports_reserved: probe::sysctl("net.ipv4.ip_local_reserved_ports").unwrap_or_default(),
        time_wait_reuse: number("net.ipv4.tcp_tw_reuse"),
        listen_queue: number("net.core.somaxconn"),
        syn_queue: number("net.ipv4.tcp_max_syn_backlog"),
    }
}

fn port_range(range: &str) -> Option<(u64, u64)> {
    let mut ends = range.split_whitespace().map(str::parse);
    Some((ends.next()?.ok()?, ends.next()?.ok()?))
}

/// How a thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// As longsplice likes it.
    Ok,
    /// Not there; longsplice goes around it.
    Missing,
    /// There, but an operator should know.
    Note,
}

impl Standing {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::Note => "note",
        }
    }
}

/// One judged thing.
#[derive(Debug, Clone)]
struct Item {
    name: &'static str,
    standing: Standing,
    /// What was found, in words.
    found: String,
    /// What to do; empty when nothing is to be done.
    advice: String,
    /// Figures for JSON.
    figures: Map<String, Value>,
}

impl Item {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            standing: Standing::Ok,
            found: found.into(),
            advice: String::new(),
            figures: Map::new(),
        }
    }

    fn noted(self, advice: impl Into<String>) -> Self {
        Self {
            standing: Standing::Note,
            advice: advice.into(),
            ..self
        }
    }

    fn missing(self, advice: impl Into<String>) -> Self {
        Self {
            standing: Standing::Missing,
            advice: advice.into(),
            ..self
        }
    }

    fn figure(mut self, key: &str, value: impl Serialize) -> Self {
        self.figures.insert(key.to_owned(), json!(value));
        self
    }

    /// `ok`, `why` (empty when ok), then the figures.
    fn to_json(&self) -> Value {
        let ok = self.standing == Standing::Ok;
        let why = if ok { "" } else { &self.found };
        let mut object = Map::new();
        object.insert("ok".to_owned(), json!(ok));
        object.insert("why".to_owned(), json!(why));
        object.extend(self.figures.clone());
        Value::Object(object)
    }
}

/// Everything judged, ready to be written.
#[derive(Debug, Clone)]
struct Report {
    kernel: String,
    io_uring: Item,
    splice: Item,
    ktls: Item,
    /// One line per TLS suite, for people; JSON has them in `ktls`.
    suites: Vec<Item>,
    limits: Vec<Item>,
}

impl Findings {
    fn report(&self) -> Report {
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
            (Errno::ENOSYS, _) => "use a kernel with CONFIG_IO_URING, 6.1 or newer",
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
                "use a kernel of 6.1 or newer: the ring's flags are not known here"
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
            format!("{count} local ports ({first} to {last}, {reserved}): as many connections to one server address"),
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
            Item::ok("ktls", format!("{refusal}; records are made in user space")).missing(advice)
        }
        Ok(offer)
            if offer
                .suites
                .iter()
                .all(|suite| suite.tx.is_err() && suite.rx.is_err()) =>
        {
            Item::ok("ktls", "no cipher; records are made in user space").missing(
                "modprobe gcm chacha20poly1305, or install the kernel's package of crypto modules",
            )
        }
        Ok(KtlsOffer { rekey: true, .. }) => Item::ok("ktls", "with rekeying"),
        Ok(KtlsOffer { rekey: false, .. }) => Item::ok(
            "ktls",
            "without rekeying: a KeyUpdate ends a connection that the kernel encrypts",
        )
        .noted("use a kernel of 6.14 or newer where clients send KeyUpdate"),
    };
    // Kernel TLS without rekeying is still kernel TLS: `ok` in JSON says whether it can be used.
    item.figure("rekey", rekey).figure("ciphers", suites)
}

fn judge_suites(offer: &KtlsOffer) -> Vec<Item> {
    let judge = |offer: &probe::SuiteOffer| {
        let name = offer.suite.name;
        match (&offer.tx, &offer.rx) {
            (Ok(()), Ok(())) if !offer.accelerated => {
                Item::ok(name, "tx rx, but slower than user space: in plain C").noted(
                    if name.ends_with("gcm") {
                        "modprobe aesni-intel where the processor has AES-NI"
                    } else {
                        "modprobe chacha20-x86_64 poly1305-x86_64, or what your processor has"
                    },
                )
            }
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
        "sysctl -w {sysctl}=4096 (bursts of new connections are dropped beyond it)"
    ))
}

impl Report {
    fn items(&self) -> impl Iterator<Item = &Item> {
        [&self.io_uring, &self.splice, &self.ktls]
            .into_iter()
            .chain(&self.suites)
            .chain(&self.limits)
    }

    fn to_text(&self) -> String {
        let width = self.items().map(|item| item.name.len()).max().unwrap_or(0);
        let mut text = format!("Linux {}\n", self.kernel);
        for item in self.items() {
            let standing = item.standing.as_str();
            let _ = writeln!(text, "{standing:<8} {:<width$}  {}", item.name, item.found);
            if !item.advice.is_empty() {
                let _ = writeln!(text, "{:<8} {:<width$}  -> {}", "", "", item.advice);
            }
        }
        text
    }

    fn to_json(&self) -> Value {
        let mut ktls = self.ktls.to_json();
        // Without rekeying it can still be used.
        ktls["ok"] = json!(self.ktls.standing != Standing::Missing);
        let limits: Map<String, Value> = self
            .limits
            .iter()
            .map(|item| (item.name.to_owned(), item.to_json()))
            .collect();
        let advice: Vec<String> = self
            .items()
            .filter(|item| !item.advice.is_empty())
            .map(|item| format!("{}: {}", item.name, item.advice))
            .collect();
        json!({
            "kernel": self.kernel,
            "io_uring": self.io_uring.to_json(),
            "splice": self.splice.to_json(),
            "ktls": ktls,
            "limits": limits,
            "advice": advice,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::probe::SuiteOffer;
    use expect_test::{Expect, expect};

    fn refusal(call: &'static str, errno: Errno) -> Refused {
        Refused { call, errno }
    }

    /// A machine where nothing is missing.
    fn well_found() -> Findings {
        let offer = |suite| SuiteOffer {
            suite,
            tx: Ok(()),
            rx: Ok(()),
            accelerated: true,
        };
        let limit = Some(LimitPair {
            soft: Some(1_048_576),
            hard: Some(1_048_576),
        });
        Findings {
            kernel: "7.2.13".to_owned(),
            io_uring: Ok(()),
            io_uring_disabled: Some("0".to_owned()),
            seccomp: false,
            splice: Ok(()),
            ktls: Ok(KtlsOffer {
                suites: Suite::ALL.map(offer).to_vec(),
                rekey: true,
            }),
            open_files: limit,
            locked_memory: limit,
            pipe_pages_soft: Some(16_384),
            pipe_pages_hard: Some(0),
            pipe_size_max: Some(1_048_576),
            ports: Some((1024, 65_535)),
            ports_reserved: String::new(),
            time_wait_reuse: Some(2),
            listen_queue: Some(4096),
            syn_queue: Some(4096),
        }
    }

    /// A small container with everything taken away.
    fn bare() -> Findings {
        Findings {
            kernel: "6.1.0".to_owned(),
            io_uring: Err(refusal("io_uring_setup", Errno::EPERM)),
            io_uring_disabled: Some("2".to_owned()),
            seccomp: true,
            splice: Err(refusal("splice", Errno::EPERM)),
            ktls: Err(refusal("setsockopt(TCP_ULP)", Errno::ENOENT)),
            open_files: Some(LimitPair {
                soft: Some(1024),
                hard: Some(4096),
            }),
            locked_memory: Some(LimitPair {
                soft: Some(65_536),
                hard: None,
            }),
            pipe_pages_soft: Some(1024),
            ports: Some((32_768, 60_999)),
            ports_reserved: "40000-40100".to_owned(),
            listen_queue: Some(128),
            syn_queue: None,
            ..well_found()
        }
    }

    fn check_text(findings: &Findings, expected: &Expect) {
        expected.assert_eq(&findings.report().to_text());
    }

    #[test]
    fn text_of_a_machine_that_has_everything() {
        check_text(
            &well_found(),
            &expect![[r#"
                Linux 7.2.13
                ok       io_uring                single issuer, deferred task work
                ok       splice                  socket to pipe to socket
                ok       ktls                    with rekeying
                ok       tls12-aes128gcm         tx rx
                ok       tls12-aes256gcm         tx rx
                ok       tls12-chacha20poly1305  tx rx
                ok       tls13-aes128gcm         tx rx
                ok       tls13-aes256gcm         tx rx
                ok       tls13-chacha20poly1305  tx rx
                ok       nofile                  1048576 open descriptors; max_connections = 65536 takes 131328
                ok       pipe_pages              16384 pages per user (hard limit none), 1048576 bytes per pipe
                ok       ports                   64512 local ports (1024 to 65535, none reserved): as many connections to one server address
                ok       memlock                 1048576 bytes; rings are not charged to it
                ok       listen_queue            net.core.somaxconn = 4096
                ok       syn_queue               net.ipv4.tcp_max_syn_backlog = 4096
            "#]],
        );
    }

    #[test]
    fn text_of_a_machine_that_has_nothing() {
        check_text(
            &bare(),
            &expect![[r#"
                Linux 6.1.0
                missing  io_uring      io_uring_setup: EPERM (Operation not permitted); tunnels are moved by epoll instead; kernel.io_uring_disabled = 2
                                       -> sysctl -w kernel.io_uring_disabled=0
                missing  splice        splice: EPERM (Operation not permitted); bulk is copied instead
                                       -> allow splice and pipe2 in the container's seccomp profile
                missing  ktls          setsockopt(TCP_ULP): ENOENT (No such file or directory); records are made in user space
                                       -> modprobe tls (and add it to /etc/modules-load.d), or use a kernel with CONFIG_TLS
                note     nofile        1024 open descriptors, raised to 4096 at start; max_connections = 65536 takes 131328
                                       -> LimitNOFILE=131328 in the service, or a smaller server.max_connections
                note     pipe_pages    1024 pages per user (hard limit none), 1048576 bytes per pipe
                                       -> sysctl -w fs.pipe-user-pages-soft=16384 (bulk beyond it is copied, not spliced)
                note     ports         28232 local ports (32768 to 60999, reserved 40000-40100): as many connections to one server address
                                       -> sysctl -w net.ipv4.ip_local_port_range='1024 65535', or more server addresses
                ok       memlock       65536 bytes; rings are not charged to it
                note     listen_queue  net.core.somaxconn = 128
                                       -> sysctl -w net.core.somaxconn=4096 (bursts of new connections are dropped beyond it)
                ok       syn_queue     net.ipv4.tcp_max_syn_backlog cannot be read here
            "#]],
        );
    }

    #[test]
    fn text_of_a_kernel_without_one_cipher_and_rekeying() {
        let mut findings = well_found();
        let offer = findings.ktls.as_mut().unwrap();
        offer.rekey = false;
        offer.suites[2].tx = Err(refusal("setsockopt(TLS_TX)", Errno::ENOENT));
        offer.suites[2].rx = Err(refusal("setsockopt(TLS_RX)", Errno::ENOENT));
        offer.suites[5].rx = Err(refusal("setsockopt(TLS_RX)", Errno::ENOENT));
        check_text(
            &findings,
            &expect![[r#"
                Linux 7.2.13
                ok       io_uring                single issuer, deferred task work
                ok       splice                  socket to pipe to socket
                note     ktls                    without rekeying: a KeyUpdate ends a connection that the kernel encrypts
                                                 -> use a kernel of 6.14 or newer where clients send KeyUpdate
                ok       tls12-aes128gcm         tx rx
                ok       tls12-aes256gcm         tx rx
                missing  tls12-chacha20poly1305  tx refused by setsockopt(TLS_TX): ENOENT (No such file or directory), rx refused by setsockopt(TLS_RX): ENOENT (No such file or directory)
                                                 -> modprobe chacha20poly1305, or install the kernel's package of crypto modules
                ok       tls13-aes128gcm         tx rx
                ok       tls13-aes256gcm         tx rx
                missing  tls13-chacha20poly1305  tx works, rx refused by setsockopt(TLS_RX): ENOENT (No such file or directory)
                                                 -> modprobe chacha20poly1305, or install the kernel's package of crypto modules
                ok       nofile                  1048576 open descriptors; max_connections = 65536 takes 131328
                ok       pipe_pages              16384 pages per user (hard limit none), 1048576 bytes per pipe
                ok       ports                   64512 local ports (1024 to 65535, none reserved): as many connections to one server address
                ok       memlock                 1048576 bytes; rings are not charged to it
                ok       listen_queue            net.core.somaxconn = 4096
                ok       syn_queue               net.ipv4.tcp_max_syn_backlog = 4096
            "#]],
        );
    }

    #[test]
    fn json_of_a_machine_that_has_nothing() {
        let json = bare().report().to_json();
        let mut lines = String::new();
        for (key, value) in json.as_object().unwrap() {
            let _ = writeln!(lines, "{key} {value}");
        }
        expect![[r#"
            advice ["io_uring: sysctl -w kernel.io_uring_disabled=0","splice: allow splice and pipe2 in the container's seccomp profile","ktls: modprobe tls (and add it to /etc/modules-load.d), or use a kernel with CONFIG_TLS","nofile: LimitNOFILE=131328 in the service, or a smaller server.max_connections","pipe_pages: sysctl -w fs.pipe-user-pages-soft=16384 (bulk beyond it is copied, not spliced)","ports: sysctl -w net.ipv4.ip_local_port_range='1024 65535', or more server addresses","listen_queue: sysctl -w net.core.somaxconn=4096 (bursts of new connections are dropped beyond it)"]
            io_uring {"ok":false,"why":"io_uring_setup: EPERM (Operation not permitted); tunnels are moved by epoll instead; kernel.io_uring_disabled = 2"}
            kernel "6.1.0"
            ktls {"ciphers":{"tls12-aes128gcm":{"accelerated":false,"rx":false,"tx":false},"tls12-aes256gcm":{"accelerated":false,"rx":false,"tx":false},"tls12-chacha20poly1305":{"accelerated":false,"rx":false,"tx":false},"tls13-aes128gcm":{"accelerated":false,"rx":false,"tx":false},"tls13-aes256gcm":{"accelerated":false,"rx":false,"tx":false},"tls13-chacha20poly1305":{"accelerated":false,"rx":false,"tx":false}},"ok":false,"rekey":false,"why":"setsockopt(TCP_ULP): ENOENT (No such file or directory); records are made in user space"}
            limits {"listen_queue":{"length":128,"ok":false,"why":"net.core.somaxconn = 128"},"memlock":{"hard":null,"ok":true,"soft":65536,"why":""},"nofile":{"hard":4096,"ok":false,"soft":1024,"wanted":131328,"why":"1024 open descriptors, raised to 4096 at start; max_connections = 65536 takes 131328"},"pipe_pages":{"hard":0,"ok":false,"size_max":1048576,"soft":1024,"why":"1024 pages per user (hard limit none), 1048576 bytes per pipe"},"ports":{"first":32768,"last":60999,"ok":false,"reserved":"40000-40100","time_wait_reuse":2,"why":"28232 local ports (32768 to 60999, reserved 40000-40100): as many connections to one server address"},"syn_queue":{"ok":true,"why":""}}
            splice {"ok":false,"why":"splice: EPERM (Operation not permitted); bulk is copied instead"}
        "#]].assert_eq(&lines);
    }

    #[test]
    fn advice_fits_the_refusal_of_io_uring() {
        #[rustfmt::skip]
        let rows = [
            (Errno::ENOSYS, "0", false, "CONFIG_IO_URING"),
            (Errno::ENOSYS, "0", true, "seccomp"),
            (Errno::EPERM, "0", true, "seccomp"),
            (Errno::EPERM, "1", false, "kernel.io_uring_disabled=0"),
            (Errno::EPERM, "2", true, "kernel.io_uring_disabled=0"),
            (Errno::ENOMEM, "0", false, "MEMLOCK"),
            (Errno::EINVAL, "0", false, "6.1"),
            (Errno::EMFILE, "0", false, "NOFILE"),
        ];
        for (errno, disabled, seccomp, expected) in rows {
            let findings = Findings {
                io_uring: Err(refusal("io_uring_setup", errno)),
                io_uring_disabled: Some(disabled.to_owned()),
                seccomp,
                ..well_found()
            };
            let advice = findings.report().io_uring.advice;
            assert!(advice.contains(expected), "{errno:?} {disabled}: {advice}");
        }
    }

    #[test]
    fn json_has_the_same_keys_whatever_is_missing() {
        fn keys(value: &Value) -> Vec<String> {
            let Value::Object(object) = value else {
                return Vec::new();
            };
            let below = |(key, value): (&String, &Value)| {
                let mut paths = vec![key.clone()];
                paths.extend(keys(value).iter().map(|path| format!("{key}.{path}")));
                paths
            };
            object.iter().flat_map(below).collect()
        }
        let full = well_found().report().to_json();
        let none = Findings {
            syn_queue: Some(128),
            ..bare()
        };
        assert_eq!(keys(&full), keys(&none.report().to_json()));
        assert_eq!(full["advice"], json!([]));
        for path in ["io_uring", "splice", "ktls"] {
            assert_eq!(full[path]["ok"], json!(true), "{path}");
        }
    }

    #[test]
    fn this_machine_can_be_examined() {
        let report = examine().report();
        assert!(report.to_text().starts_with("Linux "));
        assert!(report.to_json()["kernel"].is_string());
    }
}
