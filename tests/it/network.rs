//! A small network of namespaces: a fleet of proxies that agree.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, setns};
use nix::unistd::Uid;

use crate::harness::origin::{Origin, echo};
use crate::harness::peer::Peer;
use crate::harness::process::Proxy;

/// Hosts on one switch, each a namespace; removed with this value.
struct Network {
    prefix: String,
    hosts: Vec<&'static str>,
}

impl Network {
    /// Lays cables between `hosts`, each with its addresses in 10.77.0.0/16; none after saying why this
    /// machine does not let us.
    fn new(name: &str, hosts: &[(&'static str, &[&str])]) -> Option<Self> {
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
        for (host, addresses) in hosts {
            let space = network.namespace(host);
            ip(&format!("netns add {space}"));
            network.hosts.push(host);
            ip(&format!("-n {space} link set lo up"));
            ip(&format!(
                "-n {switch} link add to-{host} type veth peer name eth netns {space}"
            ));
            ip(&format!("-n {switch} link set to-{host} master br0 up"));
            ip(&format!("-n {space} link set eth up"));
            for address in *addresses {
                ip(&format!("-n {space} addr add {address}/16 dev eth"));
            }
        }
        Some(network)
    }

    fn namespace(&self, host: &str) -> String {
        format!("{}-{host}", self.prefix)
    }

    /// Runs `work` on a host; sockets that it makes stay there.
    fn on<T: Send>(&self, host: &str, work: impl FnOnce() -> T + Send) -> T {
        let space = File::open(format!("/run/netns/{}", self.namespace(host))).unwrap();
        let moved = || {
            // Of this thread alone.
            setns(&space, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        };
        thread::scope(|scope| scope.spawn(moved).join()).unwrap()
    }

    /// Runs longsplice on a host.
    fn proxy(&self, host: &str, toml: &str) -> Proxy {
        let space = self.namespace(host);
        let mut proxy = Proxy::spawn_through(&["ip", "netns", "exec", &space], toml);
        proxy.wait_listening();
        proxy
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

/// Serves on `addr` of a host: each connection gets `name` and then its own bytes back.
fn serve(network: &Network, host: &str, addr: &str, name: &'static str) {
    let origin = network.on(host, || Origin::bind_at(addr.parse().unwrap()));
    origin.serve_with(move |mut peer| {
        if peer.try_send(name).is_ok() {
            echo(peer);
        }
    });
}

fn configuration(bind: &str, servers: &[&str], keys: &str) -> String {
    let servers: String = servers
        .iter()
        .map(|addr| format!("[[backend.server]]\naddress = \"{addr}\"\n"))
        .collect();
    format!(
        "[[listener]]\nname = \"edge\"\nbind = [\"{bind}\"]\nmode = \"tcp\"\n\
         [[listener.route]]\nbackend = \"app\"\n[[backend]]\nname = \"app\"\n{keys}\n{servers}"
    )
}

#[test]
fn nodes_of_a_fleet_send_a_client_to_the_same_server() {
    const SERVERS: [&str; 3] = ["10.77.0.11:9000", "10.77.0.12:9000", "10.77.0.13:9000"];
    let clients: Vec<String> = (1..=20).map(|host| format!("10.77.1.{host}")).collect();
    let clients: Vec<&str> = clients.iter().map(String::as_str).collect();
    let hosts: [(&str, &[&str]); 5] = [
        ("n1", &["10.77.0.1"]),
        ("n2", &["10.77.0.2"]),
        ("n3", &["10.77.0.3"]),
        ("app", &["10.77.0.11", "10.77.0.12", "10.77.0.13"]),
        ("user", &clients),
    ];
    let Some(network) = Network::new("f", &hosts) else {
        return;
    };
    for (addr, name) in SERVERS.iter().zip(["a", "b", "c"]) {
        serve(&network, "app", addr, name);
    }
    // Each node has the list in another order.
    let [a, b, c] = SERVERS;
    let nodes = [("n1", [a, b, c]), ("n2", [c, b, a]), ("n3", [b, c, a])];
    let maglev = "balance = \"maglev\"";
    let _proxies: Vec<Proxy> = nodes
        .iter()
        .enumerate()
        .map(|(at, (host, servers))| {
            let bind = format!("10.77.0.{}:8000", at + 1);
            network.proxy(host, &configuration(&bind, servers, maglev))
        })
        .collect();
    let mut seen: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for client in &clients {
        let answers = [1, 2, 3].map(|node| {
            let addr: SocketAddr = format!("10.77.0.{node}:8000").parse().unwrap();
            network.on("user", || Peer::connect_from(client, addr).read(1))
        });
        assert_eq!(answers[0], answers[1], "{client}");
        assert_eq!(answers[0], answers[2], "{client}");
        *seen.entry(answers[0].clone()).or_default() += 1;
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
}
