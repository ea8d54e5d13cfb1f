//! Several machines: a link that is cut, and nodes that agree.

use std::net::SocketAddr;

use crate::harness::app::App;
use crate::harness::http::{exchange_on, get};
use crate::harness::network::Network;
use crate::harness::peer::Peer;
use crate::harness::plan::{Plan, responding};
use crate::harness::process::Proxy;
use crate::harness::{eventually, free_port, websocket};
use crate::health::{QUICK, wait_up, who_answers};

#[test]
fn a_cut_link_is_seen_and_healed_and_its_tunnels_wait() {
    let hosts = [("edge", "10.77.0.1"), ("far", "10.77.0.2")];
    let Some(network) = Network::new("c", &hosts) else {
        return;
    };
    let far = network.on("far", || {
        App::start_at("far", ([10, 77, 0, 2], 9000).into())
    });
    network.on("edge", || cut_the_link(&network, far.addr()));
}

/// What is seen of a server at `far`, whose link is cut and healed, by a proxy on this host.
fn cut_the_link(network: &Network, far: SocketAddr) {
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

    network.cable("far", "down");
    proxy.wait_said(&["state=\"down\"", &far.to_string()]);
    assert_eq!(who_answers(&proxy, 6), ["near"; 6]);
    for tunnel in &mut tunnels {
        tunnel.send("patience");
    }
    network.cable("far", "up");
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
fn an_address_that_comes_later_can_be_listened_on() {
    let Some(network) = Network::new("f", &[("edge", "10.77.0.1")]) else {
        return;
    };
    network.on("edge", || listen_before_the_address(&network));
}

/// What a proxy on this host does with addresses that the host gets after the start.
fn listen_before_the_address(network: &Network) {
    let late: SocketAddr = ([10, 77, 0, 9], 8080).into();
    let later: SocketAddr = "[fd77::9]:8080".parse().unwrap();
    let plan = |freebind: bool, later: &str| {
        Plan::routes_only(&responding("", "hello"))
            .bind(format!("\"{late}\""))
            .listener_keys(&format!("freebind = {freebind}"))
            .more(later)
            .toml()
    };
    let mut refused = Proxy::spawn(&plan(false, ""));
    assert_eq!(refused.wait_exit(), Some(1));
    let said = "no interface of this machine has that address; freebind = true in the listener";
    refused.wait_said(&[&late.to_string(), said]);

    let proxy = Proxy::start(&plan(true, ""));
    assert!(Peer::try_connect(late).is_err());
    network.add_address("edge", "10.77.0.9/32");
    let answer = exchange_on(&mut Peer::connect(late), get("localhost", "/", ""));
    assert_eq!(answer.body, b"hello");

    // A reload adds another one, which comes after it too.
    let added = format!(
        "[[listener]]\nname = \"later\"\nbind = [\"{later}\"]\nfreebind = true\n{}",
        responding("", "later")
    );
    let line = proxy.reload(&plan(true, &added.replace("freebind = true", "")));
    assert!(line.contains("not reloaded"), "{line}");
    let line = proxy.reload(&plan(true, &added));
    assert!(
        line.contains("reloaded") && !line.contains("not reloaded"),
        "{line}"
    );
    network.add_address("edge", "fd77::9/128");
    // Other machines may have the address, so the kernel asks for a second before it uses it.
    eventually("the address is usable", || Peer::try_connect(later).is_ok());
    let answer = exchange_on(&mut Peer::connect(later), get("localhost", "/", ""));
    assert_eq!(answer.body, b"later");
}

#[test]
fn nodes_with_the_same_servers_send_a_client_to_the_same_one() {
    let port = free_port();
    let hosts: Vec<u8> = (1..=5).collect();
    let addr = |host: u8| SocketAddr::from(([127, 0, 3, host], port));
    let _apps: Vec<App> = (hosts.iter())
        .map(|host| App::start_at(&host.to_string(), addr(*host)))
        .collect();
    for plan_of in [Plan::http, Plan::tcp] {
        let nodes: Vec<Proxy> = (0..3)
            .map(|node| {
                // Each node lists them in another order.
                let mut order = hosts.clone();
                order.rotate_left(node);
                let plan = plan_of(addr(order[0])).backend_keys("balance = \"maglev\"");
                let plan = order[1..]
                    .iter()
                    .fold(plan, |plan, host| plan.and_server(addr(*host)));
                plan.start()
            })
            .collect();
        let mut chosen = std::collections::HashSet::new();
        for client in 1..=40 {
            let source = format!("127.0.4.{client}");
            let ask = |node: &Proxy| {
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
}
