//! Properties of every method; `spread` tests the distribution of requests, method by method.

mod spread;

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

/// Names of servers as in configurations.
fn keys(count: usize) -> Vec<String> {
    (0..count)
        .map(|server| format!("10.0.{}.{}:8080", server / 250, server % 250 + 1))
        .collect()
}

fn chooser(method: Method, servers: &[(&String, u16)]) -> Chooser {
    let candidates: Vec<Candidate<'_>> = servers
        .iter()
        .map(|(key, weight)| Candidate {
            key,
            weight: *weight,
        })
        .collect();
    Chooser::new(method, &candidates)
}

/// A chooser of servers named in order.
fn of_weights(method: Method, weights: &[u16]) -> Chooser {
    let keys = keys(weights.len());
    let servers: Vec<(&String, u16)> = keys.iter().zip(weights.iter().copied()).collect();
    chooser(method, &servers)
}

/// The request of client number `number`.
fn asking(number: usize) -> Asking {
    let address = u32::try_from(number).unwrap() + 0x0a00_0000;
    Asking {
        client: Some(IpAddr::V4(address.into())),
        ticket: number,
        random: hash::ticket(number),
    }
}

fn without_address(number: usize) -> Asking {
    Asking {
        client: None,
        ..asking(number)
    }
}

/// Counts where requests go while every server is idle.
fn tally(chooser: &Chooser, requests: impl Iterator<Item = Asking>) -> Vec<usize> {
    let mut counts = vec![0; chooser.weights.len()];
    for asking in requests {
        match chooser.choose(&asking, |_| Load::Active(0)) {
            Pick::Server(index) => counts[index] += 1,
            other @ (Pick::Wait(_) | Pick::Nobody) => panic!("{other:?}"),
        }
    }
    counts
}

/// Asserts that draws match probabilities: every count within `deviations` standard deviations.
fn assert_drawn(counts: &[usize], weights: &[u16], deviations: f64) {
    let draws = counts.iter().sum::<usize>() as f64;
    let total = weights.iter().copied().map(f64::from).sum::<f64>();
    for (count, weight) in counts.iter().zip(weights) {
        let share = f64::from(*weight) / total;
        let bound = deviations * (draws * share * (1.0 - share)).sqrt();
        let off = *count as f64 - draws * share;
        assert!(
            off.abs() <= bound,
            "{off} > {bound}: {counts:?} {weights:?}"
        );
    }
}

#[test]
fn a_full_server_is_waited_for_by_its_clients_and_skipped_by_the_rest() {
    for &method in Method::ALL {
        let chooser = of_weights(method, &[1, 1, 1]);
        for request in 0..100 {
            let asking = asking(request);
            let full = |_| Load::Full(5);
            let first = chooser.choose(&asking, |_| Load::Active(0));
            let sticky = matches!(method, Method::Source | Method::Maglev);
            let Pick::Server(first) = first else {
                panic!("{first:?}")
            };
            let expected = Pick::Wait(sticky.then_some(first));
            assert_eq!(chooser.choose(&asking, full), expected, "{method:?}");
            let two_full = |index| match index {
                1 => Load::Active(9),
                _ => Load::Full(5),
            };
            let expected = match first {
                first if sticky && first != 1 => Pick::Wait(Some(first)),
                _ => Pick::Server(1),
            };
            assert_eq!(chooser.choose(&asking, two_full), expected, "{method:?}");
            let anonymous = without_address(request);
            assert_eq!(chooser.choose(&anonymous, two_full), Pick::Server(1));
            assert_eq!(chooser.choose(&anonymous, full), Pick::Wait(None));
        }
    }
}

#[test]
fn a_request_tries_every_server_once_in_an_order_of_its_own() {
    for &method in Method::ALL {
        let chooser = of_weights(method, &[3, 1, 0, 7, 1]);
        let mut orders = std::collections::BTreeSet::new();
        for request in 0..100 {
            let mut order = Vec::new();
            for _ in 0..4 {
                let pick = chooser.choose(&asking(request), |index| {
                    if order.contains(&index) {
                        Load::Tried
                    } else {
                        Load::Active(0)
                    }
                });
                let Pick::Server(index) = pick else {
                    panic!("{pick:?}")
                };
                order.push(index);
            }
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 3, 4], "{method:?}");
            orders.insert(order);
        }
        assert!(orders.len() > 1, "{method:?}");
        let tried = |_| Load::Tried;
        assert_eq!(chooser.choose(&asking(0), tried), Pick::Nobody);
        assert_eq!(chooser.choose(&without_address(0), tried), Pick::Nobody);
    }
}

#[test]
fn clients_without_an_address_spread_by_weight() {
    for method in [Method::Source, Method::Maglev] {
        let weights = [3, 1, 0, 4];
        let counts = tally(
            &of_weights(method, &weights),
            (0..20_000).map(without_address),
        );
        assert_drawn(&counts, &weights, 4.0);
    }
}

#[test]
fn an_empty_line_up_has_nobody() {
    for &method in Method::ALL {
        for weights in [&[][..], &[0], &[0, 0, 0]] {
            let chooser = of_weights(method, weights);
            for asking in [asking(7), without_address(7)] {
                let pick = chooser.choose(&asking, |_| Load::Active(0));
                assert_eq!(pick, Pick::Nobody, "{method:?} {weights:?}");
            }
        }
    }
}

fn any_load() -> impl Strategy<Value = Load> {
    prop_oneof![
        3 => (0u32..50).prop_map(Load::Active),
        1 => Just(Load::Active(u32::MAX)),
        2 => (0u32..50).prop_map(Load::Full),
        2 => Just(Load::Tried),
    ]
}

fn any_server() -> impl Strategy<Value = (u16, Load)> {
    let weight = prop_oneof![2 => Just(0u16), 3 => 1u16..=3, 2 => 1u16..=256];
    (weight, any_load())
}

proptest! {
    #[test]
    fn a_pick_is_always_one_that_may_be_made(
        servers in prop::collection::vec(any_server(), 0..12),
        client in any::<Option<IpAddr>>(),
        ticket in any::<usize>(),
        random in any::<u64>(),
    ) {
        let weights: Vec<u16> = servers.iter().map(|(weight, _)| *weight).collect();
        let load = |index: usize| servers[index].1;
        let asking = Asking { client, ticket, random };
        let weighted = || servers.iter().filter(|(weight, _)| *weight > 0);
        let room = weighted().any(|(_, load)| matches!(load, Load::Active(_)));
        let full = weighted().any(|(_, load)| matches!(load, Load::Full(_)));
        for &method in Method::ALL {
            match of_weights(method, &weights).choose(&asking, load) {
                Pick::Server(index) => {
                    prop_assert!(matches!(load(index), Load::Active(_)), "{:?}", method);
                    prop_assert!(weights[index] > 0, "{:?}", method);
                }
                Pick::Wait(Some(index)) => {
                    prop_assert!(matches!(method, Method::Source | Method::Maglev));
                    prop_assert!(client.is_some());
                    prop_assert!(matches!(load(index), Load::Full(_)), "{:?}", method);
                    prop_assert!(weights[index] > 0, "{:?}", method);
                }
                Pick::Wait(None) => prop_assert!(full && !room, "{:?}", method),
                Pick::Nobody => prop_assert!(!full && !room, "{:?}", method),
            }
        }
    }
}
