//! Several machines: a link that is cut, and nodes that agree.

use std::net::SocketAddr;

use crate::harness::app::App;
use crate::harness::http::{exchange_on, get};
use crate::harness::network::Network;
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
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
