//! Merged answers, weights, changes; and questions to a name server of the tests.

#[path = "../../../tests/it/harness/dns.rs"]
#[allow(unreachable_pub, dead_code, reason = "shared with the black-box tests")]
mod dns;

use dns::{Data, Dns, Mood};

use super::*;

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|ip| ip.parse().unwrap()).collect()
}

/// Reads a family's answer: addresses with commas, or `-` for none, `!` for no such name, `?` for
/// no answer.
fn family(text: &str) -> Result<Ips, String> {
    let found = |list: &[&str], exists| Ips {
        ips: ips(list),
        ttl: Duration::from_secs(60),
        exists,
    };
    match text {
        "-" => Ok(found(&[], true)),
        "!" => Ok(found(&[], false)),
        "?" => Err("is not answered".to_owned()),
        list => Ok(found(&list.split(',').collect::<Vec<_>>(), true)),
    }
}

#[test]
fn families_are_put_together() {
    let rows: [(&str, &str, &[&str], &str); 12] = [
        ("1.1.1.1", "::1", &[], "[1.1.1.1, ::1] 60s"),
        ("1.1.1.1,2.2.2.2", "-", &[], "[1.1.1.1, 2.2.2.2] 60s"),
        ("-", "::1", &["1.1.1.1"], "[::1] 60s"),
        ("-", "-", &["1.1.1.1"], "has no address"),
        ("!", "!", &["1.1.1.1"], "does not exist"),
        ("?", "?", &["1.1.1.1"], "is not answered"),
        // A family without an answer keeps its last addresses, and is asked for again soon.
        ("1.1.1.1", "?", &["1.1.1.1", "::1"], "[1.1.1.1, ::1] 30s"),
        ("?", "::2", &["1.1.1.1", "::1"], "[1.1.1.1, ::2] 30s"),
        ("1.1.1.1", "?", &[], "[1.1.1.1] 30s"),
        ("-", "?", &["::1"], "[::1] 30s"),
        ("-", "?", &["1.1.1.1"], "is not answered"),
        ("?", "-", &[], "is not answered"),
    ];
    for (v4, v6, last, expected) in rows {
        let said = match merged(family(v4), family(v6), &ips(last)) {
            Ok(found) => format!("{:?} {}s", found.ips, found.ttl.as_secs()),
            Err(why) => why,
        };
        assert_eq!(said, expected, "{v4} {v6} {last:?}");
    }
}

#[test]
fn weights_are_scaled_to_ours() {
    let rows: [(&[u16], &[u16]); 7] = [
        (&[], &[]),
        (&[0, 0], &[1, 1]),
        (&[10, 20], &[10, 20]),
        (&[0, 5], &[1, 5]),
        (&[256, 128], &[256, 128]),
        (&[1000, 500, 1], &[256, 128, 1]),
        (&[65_535, 0], &[256, 1]),
    ];
    for (weights, expected) in rows {
        assert_eq!(scaled(weights), expected, "{weights:?}");
    }
}

#[test]
fn what_is_new_is_said_once_and_the_last_addresses_stand() {
    let found = |ips: &[&str], ttl| {
        let here = |ip: &&str| Endpoint {
            addr: SocketAddr::new(ip.parse().unwrap(), 80),
            weight: None,
        };
        answer(ips.iter().map(here).collect(), Duration::from_secs(ttl))
    };
    let none = |why: &str| Err(why.to_owned());
    let unanswered = |why: &str| News::Unanswered(why.to_owned());
    let rows = [
        (none("a"), unanswered("a"), 1, 0),
        (none("a"), News::Nothing, 2, 0),
        (none("b"), unanswered("b"), 4, 0),
        (found(&["1.1.1.1"], 60), News::Changed, 60, 1),
        (found(&["1.1.1.1"], 0), News::Nothing, 1, 1),
        (
            found(&["2.2.2.2", "1.1.1.1"], 86_400),
            News::Changed,
            3600,
            2,
        ),
        // Another order, or a duplicate, is no change.
        (
            found(&["1.1.1.1", "2.2.2.2", "1.1.1.1"], 9),
            News::Nothing,
            9,
            2,
        ),
        (none("b"), unanswered("b"), 1, 2),
        (none("b"), News::Nothing, 2, 2),
        (none("b"), News::Nothing, 4, 2),
        (none("b"), News::Nothing, 8, 2),
        (none("b"), News::Nothing, 16, 2),
        (none("b"), News::Nothing, 30, 2),
        (none("b"), News::Nothing, 30, 2),
        (found(&["1.1.1.1", "2.2.2.2"], 5), News::Again, 5, 2),
        (none("b"), unanswered("b"), 1, 2),
        (found(&["2.2.2.2"], 5), News::Changed, 5, 1),
    ];
    let mut watch = Watch::default();
    for (step, (result, news, secs, known)) in rows.into_iter().enumerate() {
        let learned = watch.learn(result);
        assert_eq!(learned, (news, Duration::from_secs(secs)), "step {step}");
        assert_eq!(watch.endpoints().len(), known, "step {step}");
    }
    assert_eq!(watch.wrong(), None);
}

/// Asks once and returns the answer as text.
fn asked(resolution: &mut Resolution) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    match runtime.block_on(resolution.ask()) {
        Ok(answer) => {
            let place = |endpoint: &Endpoint| match endpoint.weight {
                None => endpoint.addr.to_string(),
                Some(weight) => format!("{}*{weight}", endpoint.addr),
            };
            let places: Vec<String> = answer.endpoints.iter().map(place).collect();
            format!("{} {}s", places.join(" "), answer.ttl.as_secs())
        }
        Err(why) => why,
    }
}

fn resolution(address: &ServerAddress, dns: &Dns) -> Resolution {
    Resolution::new(address, &[dns.addr()]).unwrap()
}

#[test]
fn a_name_is_asked_for_and_keeps_what_it_had() {
    let dns = Dns::start();
    let mut app = resolution(&ServerAddress::Name("app.test".to_owned(), 80), &dns);
    assert_eq!(asked(&mut app), "does not exist");
    dns.set("app.test", 60, &[]);
    assert_eq!(asked(&mut app), "has no address");
    dns.addresses("app.test", 60, &["127.0.0.2", "127.0.0.1"]);
    assert_eq!(asked(&mut app), "127.0.0.1:80 127.0.0.2:80 60s");
    dns.set("app.test", 60, &[Data::Cname("other.test")]);
    dns.addresses("other.test", 7, &["127.0.0.3"]);
    assert_eq!(asked(&mut app), "127.0.0.3:80 7s");
    dns.be(Mood::Truncating);
    assert_eq!(asked(&mut app), "127.0.0.3:80 7s");
    assert!(dns.asked_over_tcp() > 0);
    dns.be(Mood::Failing);
    let said = asked(&mut app);
    assert!(said.starts_with("is not answered: "), "{said}");
    dns.be(Mood::Denying);
    assert_eq!(asked(&mut app), "does not exist");
}

#[test]
fn a_silent_name_server_is_not_waited_for_long() {
    let dns = Dns::start();
    dns.be(Mood::Silent);
    let started = std::time::Instant::now();
    let mut app = resolution(&ServerAddress::Name("app.test".to_owned(), 80), &dns);
    let said = asked(&mut app);
    assert!(said.starts_with("is not answered"), "{said}");
    assert!(started.elapsed() < ANSWER_TIME_MAX * 2);
    // The next name server of the list answers.
    let other = Dns::start();
    other.addresses("app.test", 60, &["127.0.0.1"]);
    let address = ServerAddress::Name("app.test".to_owned(), 80);
    let mut app = Resolution::new(&address, &[dns.addr(), other.addr()]).unwrap();
    assert_eq!(asked(&mut app), "127.0.0.1:80 60s");
}

#[test]
fn services_are_the_best_priority_that_has_addresses() {
    let dns = Dns::start();
    let mut service = resolution(&ServerAddress::Srv("_ws._tcp.test".to_owned()), &dns);
    assert_eq!(asked(&mut service), "does not exist");
    dns.set("_ws._tcp.test", 60, &[Data::Srv(0, 0, 0, ".")]);
    assert_eq!(asked(&mut service), "has no SRV record that names a server");
    dns.set(
        "_ws._tcp.test",
        60,
        &[
            Data::Srv(20, 1, 4000, "spare.test"),
            Data::Srv(10, 2, 3000, "a.test"),
            Data::Srv(10, 1, 3001, "b.test"),
        ],
    );
    assert_eq!(asked(&mut service), "spare.test. does not exist");
    dns.addresses("spare.test", 30, &["127.0.0.9"]);
    assert_eq!(asked(&mut service), "127.0.0.9:4000*1 30s");
    dns.addresses("a.test", 50, &["127.0.0.1", "127.0.0.2"]);
    assert_eq!(asked(&mut service), "127.0.0.1:3000*2 127.0.0.2:3000*2 30s");
    dns.addresses("b.test", 20, &["127.0.0.1"]);
    assert_eq!(
        asked(&mut service),
        "127.0.0.1:3000*2 127.0.0.1:3001*1 127.0.0.2:3000*2 20s"
    );
}

#[test]
fn some_names_need_no_question() {
    let dns = Dns::start();
    for name in ["localhost", "LOCALHOST.", "app.localhost"] {
        let mut app = resolution(&ServerAddress::Name(name.to_owned(), 80), &dns);
        assert_eq!(asked(&mut app), "127.0.0.1:80 3600s");
    }
    assert_eq!(dns.asked("localhost") + dns.asked("app.localhost"), 0);
    let literal = ServerAddress::Inet(Ipv4Addr::LOCALHOST.into(), 80);
    assert!(Resolution::new(&literal, &[]).is_none());
}

#[test]
fn addresses_without_a_route_are_left_out_while_others_have_one() {
    let documentation = ips(&["2001:db8::1"]);
    let local = ips(&["127.0.0.1"]);
    assert_eq!(routable(local.clone()), local);
    assert_eq!(routable(documentation.clone()), documentation);
    let mixed = [documentation.clone(), local.clone()].concat();
    let expected = if has_route(documentation[0]) {
        &mixed
    } else {
        &local
    };
    assert_eq!(&routable(mixed.clone()), expected);
}
