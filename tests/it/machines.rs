//! Several machines: a link that is cut, and nodes that agree. Network namespaces stand for machines,
//! which only root can make.

use std::net::SocketAddr;
use std::process::{Command, id};

use crate::harness::app::App;
use crate::harness::http::{exchange_on, get};
use crate::harness::parts::{Part, Running, file};
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::{eventually, free_port, websocket};
use crate::health::{QUICK, wait_up, who_answers};

/// Another machine, with one link to this one; both end with this value.
struct Machine {
    namespace: String,
    /// Name of the link at its end.
    link: String,
    address: String,
}

impl Machine {
    /// Makes one, or says that the test is skipped.
    fn start() -> Option<Self> {
        let number = id() % 250;
        let (near, link) = (format!("lsn{number}"), format!("lsf{number}"));
        let machine = Self {
            namespace: format!("longsplice-test-{}", id()),
            address: format!("10.213.{number}.2"),
            link,
        };
        let (namespace, link) = (&machine.namespace, &machine.link);
        let made = ip(&["netns", "add", namespace])
            && ip(&["link", "add", &near, "type", "veth", "peer", "name", link])
            && ip(&["link", "set", link, "netns", namespace])
            && ip(&[
                "addr",
                "add",
                &format!("10.213.{number}.1/24"),
                "dev",
                &near,
            ])
            && ip(&["link", "set", &near, "up"])
            && machine.ip(&[
                "addr",
                "add",
                &format!("{}/24", machine.address),
                "dev",
                link,
            ])
            && machine.ip(&["link", "set", link, "up"]);
        if !made {
            println!("skipped: network namespaces cannot be made");
        }
        made.then_some(machine)
    }

    /// Runs ip(8) there.
    fn ip(&self, arguments: &[&str]) -> bool {
        ip(&[&["-n", &self.namespace], arguments].concat())
    }

    /// Plugs the link out or in.
    fn link(&self, state: &str) {
        assert!(self.ip(&["link", "set", &self.link, state]), "{state}");
    }

    /// Starts a server with a name there.
    fn serve(&self, name: &str) -> Option<(Running, SocketAddr)> {
        let python = Part::Python.command()?;
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.namespace])
            .arg(python.get_program())
            .arg(file("real/app.py"))
            .args([name, "0", &self.address]);
        let running = Running::start(&mut command);
        let addr = SocketAddr::new(self.address.parse().unwrap(), running.port());
        Some((running, addr))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The link goes with the namespace; what was never made is no loss.
        ip(&["netns", "del", &self.namespace]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    let output = Command::new("ip").args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}

#[test]
fn a_cut_link_is_seen_and_healed_and_its_tunnels_wait() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let Some((_server, far)) = machine.serve("far") else {
        return;
    };
    let near = App::start("near");
    let health = QUICK.replace("timeout = \"2s\"", "timeout = \"1s\"");
    let mut proxy = Plan::http(far)
        .backend_keys("balance = \"round_robin\"")
        .backend_timeouts("connect = \"300ms\"")
        .and_server(near.addr())
        .health(&health)
        .start();
    wait_up(&proxy, far);
    wait_up(&proxy, near.addr());
    let mut tunnels: Vec<_> = (0..2).map(|_| websocket::open(proxy.addr())).collect();
    assert_eq!(near.upgrades(), 1);

    machine.link("down");
    proxy.wait_said(&["state=\"down\"", &far.to_string()]);
    assert_eq!(who_answers(&proxy, 6), ["near"; 6]);
    for tunnel in &mut tunnels {
        tunnel.send("patience");
    }
    machine.link("up");
    eventually("it is up again", || {
        proxy.count_said(&["state=\"up\"", &far.to_string()]) == 2
    });
    for tunnel in &mut tunnels {
        tunnel.expect("patience");
    }
    assert!(who_answers(&proxy, 4).contains(&"far".to_owned()));
    proxy.expect_sound();
}

#[test]
fn nodes_with_the_same_servers_send_a_client_to_the_same_one() {
    let port = free_port();
    let hosts: Vec<u8> = (1..=5).collect();
    let addr = |host: u8| SocketAddr::from(([127, 0, 3, host], port));
    let _apps: Vec<App> = (hosts.iter())
        .map(|host| App::start_at(&host.to_string(), addr(*host)))
        .collect();
    let nodes: Vec<_> = (0..3)
        .map(|node| {
            // Each node lists them in another order.
            let mut order = hosts.clone();
            order.rotate_left(node);
            let plan = Plan::http(addr(order[0])).backend_keys("balance = \"maglev\"");
            let plan = order[1..]
                .iter()
                .fold(plan, |plan, host| plan.and_server(addr(*host)));
            plan.start()
        })
        .collect();
    let mut chosen = std::collections::HashSet::new();
    for client in 1..=40 {
        let source = format!("127.0.4.{client}");
        let ask = |node: &crate::harness::process::Proxy| {
            let mut peer = Peer::connect_from(&source, node.addr());
            exchange_on(&mut peer, get("a.example", "/", "")).text()
        };
        let answers: Vec<String> = nodes.iter().map(ask).collect();
        assert!(
            answers.iter().all(|it| *it == answers[0]),
            "{source}: {answers:?}"
        );
        chosen.insert(answers[0].clone());
    }
    assert_eq!(chosen.len(), hosts.len(), "{chosen:?}");
}
