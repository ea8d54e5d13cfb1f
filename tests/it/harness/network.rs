//! A small network: hosts on one switch, each a network namespace (network_namespaces(7)), which only
//! root can make.

use std::fs::File;
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, setns};
use nix::unistd::Uid;

/// Hosts on one switch, each a namespace; removed with this value.
pub(crate) struct Network {
    prefix: String,
    hosts: Vec<&'static str>,
}

impl Network {
    /// Lays a cable from the switch to each of `hosts`, which has an address in 10.77.0.0/16; none,
    /// after a line that says why, where this machine does not permit it.
    pub(crate) fn new(name: &str, hosts: &[(&'static str, &str)]) -> Option<Self> {
        if !Uid::effective().is_root() {
            println!("skipped: not root");
            return None;
        }
        let prefix = format!("ls{}{name}", std::process::id());
        let mut network = Self {
            prefix,
            hosts: Vec::new(),
        };
        let switch = network.namespace("sw");
        if !try_ip(&format!("netns add {switch}")) {
            println!("skipped: no network namespaces here (iproute2 and CAP_SYS_ADMIN)");
            return None;
        }
        network.hosts.push("sw");
        ip(&format!("-n {switch} link add br0 type bridge"));
        ip(&format!("-n {switch} link set br0 up"));
        for (host, address) in hosts {
            let space = network.namespace(host);
            ip(&format!("netns add {space}"));
            network.hosts.push(host);
            ip(&format!("-n {space} link set lo up"));
            ip(&format!(
                "-n {switch} link add to-{host} type veth peer name eth netns {space}"
            ));
            ip(&format!("-n {switch} link set to-{host} master br0 up"));
            ip(&format!("-n {space} link set eth up"));
            ip(&format!("-n {space} addr add {address}/16 dev eth"));
        }
        Some(network)
    }

    fn namespace(&self, host: &str) -> String {
        format!("{}-{host}", self.prefix)
    }

    /// Runs `work` on a host; sockets, threads and processes that it makes stay there.
    pub(crate) fn on<T: Send>(&self, host: &str, work: impl FnOnce() -> T + Send) -> T {
        let space = File::open(format!("/run/netns/{}", self.namespace(host))).unwrap();
        let moved = || {
            // Of this thread alone.
            setns(&space, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        };
        thread::scope(|scope| scope.spawn(moved).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Gives a host another address, such as `10.77.0.9/32`.
    pub(crate) fn add_address(&self, host: &str, address: &str) {
        ip(&format!(
            "-n {} addr add {address} dev lo",
            self.namespace(host)
        ));
    }

    /// Unplugs the cable of a host (`down`) or plugs it in again (`up`).
    pub(crate) fn cable(&self, host: &str, state: &str) {
        ip(&format!("-n {} link set eth {state}", self.namespace(host)));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in &self.hosts {
            try_ip(&format!("netns del {}", self.namespace(host)));
        }
    }
}

fn try_ip(arguments: &str) -> bool {
    let ran = Command::new("ip").args(arguments.split(' ')).output();
    ran.is_ok_and(|output| output.status.success())
}

fn ip(arguments: &str) {
    assert!(try_ip(arguments), "ip {arguments}");
}
