//! `longsplice ctl`: what it shows, what it does, and who may ask.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::{Uid, User};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::eventually;
use crate::harness::origin::{Origin, echo};
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::{Outcome, Proxy, binary, ctl, run};
use crate::harness::tls::Identity;

/// A process with an admin socket.
pub(crate) struct Watched {
    pub(crate) proxy: Proxy,
    pub(crate) socket: PathBuf,
    _dir: TempDir,
}

impl Watched {
    pub(crate) fn start(plan: impl FnOnce(Plan) -> Plan, server: std::net::SocketAddr) -> Self {
        let dir = TempDir::new().unwrap();
        let socket = dir.path().join("admin.sock");
        let keys = format!("admin_socket = \"{}\"", socket.display());
        let proxy = plan(Plan::tcp(server).process_keys(&keys)).start();
        Self {
            proxy,
            socket,
            _dir: dir,
        }
    }

    fn ctl(&self, words: &str) -> Outcome {
        ctl(&self.socket, words)
    }

    /// What a command prints for people.
    fn says(&self, words: &str) -> String {
        let outcome = self.ctl(words);
        assert_eq!(outcome.code, Some(0), "{words}: {}", outcome.stderr);
        outcome.stdout
    }

    /// What a command prints for programs.
    pub(crate) fn json(&self, words: &str) -> Value {
        serde_json::from_str(&self.says(&format!("{words} --json"))).unwrap()
    }

    /// What a command that cannot be done says.
    fn refuses(&self, words: &str) -> String {
        let outcome = self.ctl(words);
        assert_eq!(outcome.code, Some(1), "{words}: {}", outcome.stdout);
        outcome.stderr
    }

    fn tunnels(&self, filter: &str) -> Vec<Value> {
        let answer = self.json(&format!("tunnels{filter}"));
        answer["tunnels"].as_array().unwrap().clone()
    }
}

/// Opens a tunnel and says something through it.
pub(crate) fn open(watched: &Watched, source: &str, text: &str) -> Peer {
    let mut client = Peer::connect_from(source, watched.proxy.addr());
    client.send(text);
    client.expect(text);
    client
}

#[test]
fn the_state_is_shown_to_people_and_to_programs() {
    let app = Origin::echo();
    let watched = Watched::start(|plan| plan.server_keys("max_connections = 9"), app);
    let _client = open(&watched, "127.0.0.1", "hello");
    let status = watched.json("status");
    assert_eq!(status["pid"], watched.proxy.pid());
    assert_eq!(
        (&status["phase"], &status["tunnels"]),
        (&json!("running"), &json!(1))
    );
    assert_eq!(watched.json("listeners")[0]["name"], "edge");
    let server = &watched.json("backends")[0]["servers"][0];
    assert_eq!(
        (&server["standing"], &server["active"]),
        (&json!("up"), &json!(1))
    );
    let page = watched.says("status");
    assert!(page.contains("phase          running\n"), "{page}");
    let page = watched.says("listeners");
    let bind = watched.proxy.addr().to_string();
    assert!(
        page.starts_with("LISTENER") && page.contains(&bind),
        "{page}"
    );
    let page = watched.says("backends");
    let row = page.lines().nth(1).unwrap();
    let cells: Vec<&str> = row.split_whitespace().collect();
    let name = format!("app/{app}");
    assert_eq!(
        cells,
        [name.as_str(), "up", "1/1", "1/9", "1", "0", "0/1024"]
    );
    let page = watched.says("tunnels");
    let row: Vec<&str> = page.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(
        (row[2], row[3], row[6], row[7]),
        ("edge", name.as_str(), "5B", "5B")
    );
}

#[test]
fn tunnels_are_chosen_by_every_condition() {
    let watched = Watched::start(|plan| plan, Origin::echo());
    let _clients = [
        open(&watched, "127.0.5.1", "x"),
        open(&watched, "127.0.5.2", &"y".repeat(5000)),
        open(&watched, "127.0.6.1", "z"),
    ];
    let rows = [
        ("", 3),
        (" --client 127.0.5.0/24", 2),
        (" --client 127.0.6.1", 1),
        (" --min-bytes 10000", 1),
        (" --client 127.0.5.0/24 --min-bytes 10000", 1),
        (" --backend app --listener edge", 3),
        (" --backend other", 0),
        (" --server 192.0.2.1:1", 0),
        (" --min-age 1h", 0),
        (" --min-idle 1h", 0),
        (" --limit 2", 2),
    ];
    for (filter, count) in rows {
        assert_eq!(watched.tunnels(filter).len(), count, "{filter}");
    }
    assert_eq!(watched.json("tunnels --limit 2")["more"], true);
    let said = watched.refuses("tunnels --client nobody");
    assert!(said.contains("\"nobody\" is no address or range"), "{said}");
    let outcome = watched.ctl("tunnels --min-age soon");
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains("--min-age"), "{}", outcome.stderr);
}

#[test]
fn a_tunnel_is_killed_and_no_other() {
    let watched = Watched::start(|plan| plan, Origin::echo());
    let mut victim = open(&watched, "127.0.5.1", "x");
    let mut other = open(&watched, "127.0.5.2", "x");
    let id = watched.tunnels(" --client 127.0.5.1")[0]["id"].clone();
    let id = id.as_str().unwrap();
    watched.says(&format!("kill {id}"));
    victim.expect_closed();
    let line = watched.proxy.wait_cause("close", "killed");
    assert_eq!(line["client"], "127.0.5.1");
    other.send("still here");
    other.expect("still here");
    for unknown in [id, "ffffffffffffffff", "nonsense"] {
        let said = watched.refuses(&format!("kill {unknown}"));
        assert!(said.contains("no open tunnel has the id"), "{said}");
    }
}

#[test]
fn a_server_is_drained_and_taken_back() {
    let named = |name: &'static str| {
        Origin::serve(move |mut peer| {
            if peer.try_send(name).is_ok() {
                echo(peer);
            }
        })
    };
    let (a, b) = (named("a"), named("b"));
    let more = format!("[[backend.server]]\naddress = \"{b}\"\n");
    let watched = Watched::start(
        |plan| plan.backend_keys("balance = \"round_robin\"").more(&more),
        a,
    );
    let turns = || {
        let mut names: Vec<String> = (0..6)
            .map(|_| String::from_utf8(watched.proxy.connect().read(1)).unwrap())
            .collect();
        names.sort();
        names.dedup();
        names.concat()
    };
    let mut tunnels: Vec<Peer> = (0..4).map(|_| watched.proxy.connect()).collect();
    let names: Vec<Vec<u8>> = tunnels.iter_mut().map(|tunnel| tunnel.read(1)).collect();
    watched.says(&format!("drain app/{a}"));
    eventually("nothing new for a", || turns() == "b");
    assert_eq!(
        watched.json("backends")[0]["servers"][0]["standing"],
        "drained"
    );
    for (tunnel, name) in tunnels.iter_mut().zip(&names) {
        tunnel.send(name);
        tunnel.expect(name);
    }
    watched.says(&format!("undrain app/{a}"));
    eventually("both have their turn", || turns() == "ab");
    let rows = [
        ("drain app", "is not BACKEND/SERVER; the backends are app"),
        ("drain web/x", "there is no backend \"web\"; there is app"),
        ("undrain app/x", "has no server \"x\"; there is app/"),
    ];
    for (words, expected) in rows {
        let said = watched.refuses(words);
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn an_overview_has_everything_at_one_moment() {
    let watched = Watched::start(|plan| plan, Origin::echo());
    let _client = open(&watched, "127.0.0.1", "hello");
    let overview = || {
        let mut stream = UnixStream::connect(&watched.socket).unwrap();
        stream.write_all(b"{\"command\":\"overview\"}\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        answer["done"].clone()
    };
    let server = watched.json("backends")[0]["servers"][0]["name"].clone();
    watched.says(&format!("drain app/{}", server.as_str().unwrap()));
    eventually("the bytes and the change are shown", || {
        let seen = overview();
        seen["totals"]["bytes_out"] == 5 && seen["changes"][0]["state"] == "drained"
    });
    let seen = overview();
    let expected = json!({
        "accepted": 1, "tunnels_opened": 1, "tunnels_ended": 0, "requests": 0, "refused": 0,
        "bytes_in": 5, "bytes_out": 5,
    });
    assert_eq!(seen["totals"], expected);
    let row = seen["traffic"].as_array().unwrap();
    let row = row.iter().find(|row| row["server"] == server).unwrap();
    assert_eq!(
        (&row["listener"], &row["backend"], &row["tunnels"]),
        (&json!("edge"), &json!("app"), &json!(1))
    );
    let copied = |direction| json!({"direction": direction, "path": "copy", "bytes": 5});
    let moved = seen["moved"].as_array().unwrap();
    assert!(moved.contains(&copied("in")) && moved.contains(&copied("out")));
    let state = &seen["backends"][0]["servers"][0];
    let change = &seen["changes"][0];
    assert_eq!(
        (&state["changes"], &state["since_ms"]),
        (&json!(1), &change["time_ms"])
    );
    assert!(state["why"].as_str().unwrap().contains("operator"));
    assert_eq!(change["server"], server);
}

#[test]
fn the_level_of_the_log_and_the_process_itself_obey() {
    let keys = "proxy_protocol = \"optional\"\ntrusted_proxies = [\"127.0.0.1\"]";
    let mut watched = Watched::start(|plan| plan.listener_keys(keys), Origin::echo());
    watched.says("log-level debug");
    drop(watched.proxy.connect());
    let probe = |line: &String| line.contains("DEBUG") && line.contains("probe");
    eventually("a probe is worth a line", || {
        watched.proxy.log_lines().iter().any(probe)
    });
    assert_eq!(watched.ctl("log-level loud").code, Some(2));
    let log = watched.proxy.log();
    assert!(
        log.contains("admin socket") && log.contains("log-level"),
        "{log}"
    );
    let client = open(&watched, "127.0.0.1", "x");
    watched.says("drain");
    eventually("it drains", || {
        watched.ctl("status --json").stdout.contains("draining")
    });
    drop(client);
    assert_eq!(watched.proxy.wait_exit(), Some(0));
    assert!(!watched.socket.exists(), "the socket is left");
    let said = watched.refuses("status");
    assert!(said.contains("there is no such socket"), "{said}");
}

#[test]
fn a_reload_says_what_it_did() {
    let watched = Watched::start(|plan| plan, Origin::echo());
    let said = watched.says("reload");
    assert!(!said.trim().is_empty());
    let toml = Plan::tcp(Origin::echo())
        .more("[log]\nlevel = \"loud\"")
        .toml();
    watched.proxy.rewrite(&toml);
    let said = watched.refuses("reload");
    assert!(said.contains("log.level: \"loud\" is unknown"), "{said}");
    open(&watched, "127.0.0.1", "as before");
}

#[test]
fn certificates_are_listed_with_their_end() {
    let identity = Identity::new(&["maps.example", "www.maps.example"]);
    let keys = identity.listener_keys();
    let watched = Watched::start(|plan| plan.listener_keys(&keys), Origin::echo());
    let found = &watched.json("certificates")[0];
    assert_eq!(found["listener"], "edge");
    assert_eq!(found["names"], json!(["maps.example", "www.maps.example"]));
    assert!(found["days_left"].as_i64().unwrap() > 0, "{found}");
    let page = watched.says("certificates");
    assert!(page.contains("maps.example www.maps.example"), "{page}");
}

#[test]
fn certificates_are_those_that_clients_get() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("site.pem");
    let put = |identity: &Identity| fs::copy(identity.file(), &file).unwrap();
    put(&Identity::new(&["maps.example"]));
    let keys = format!("tls.certificates = [\"{}\"]", file.display());
    let watched = Watched::start(|plan| plan.listener_keys(&keys), Origin::echo());
    let found = || watched.json("certificates")[0].clone();
    assert_eq!(found()["refused"], "");
    // The file holds another one, which is not taken.
    for (refused, why) in [
        (
            Identity::expired(&["maps.example"]),
            "the certificate has expired",
        ),
        (
            Identity::new(&["else.example"]),
            "the certificate is not for maps.example any more",
        ),
    ] {
        put(&refused);
        eventually(why, || found()["refused"].as_str().unwrap().contains(why));
        assert_eq!(found()["names"], json!(["maps.example"]));
        assert!(found()["days_left"].as_i64().unwrap() > 0, "{}", found());
        let line = format!("{}: not used as it is now: {why}", file.display());
        let page = watched.says("certificates");
        assert!(page.contains(&line), "{page}");
    }
    fs::write(&file, "nothing").unwrap();
    eventually("it is broken", || {
        found()["refused"]
            .as_str()
            .unwrap()
            .contains("no certificate")
    });
    put(&Identity::new(&["maps.example", "www.maps.example"]));
    eventually("the new one is used", || found()["refused"] == "");
    assert_eq!(
        found()["names"],
        json!(["maps.example", "www.maps.example"])
    );
    // A reload takes what is there.
    put(&Identity::new(&["else.example"]));
    watched.says("reload");
    assert_eq!(found()["names"], json!(["else.example"]));
}

#[test]
fn what_is_shown_to_servers_and_trusted_stands_among_the_certificates() {
    let [shown, trusted] = ["us.example", "localhost"].map(|name| Identity::new(&[name]));
    let keys = trusted.listener_keys();
    let backend = format!(
        "tls = {{ ca = \"{}\", server_name = \"localhost\", cert = \"{}\" }}",
        trusted.cert_file(),
        shown.file()
    );
    let watched = Watched::start(
        |plan| plan.listener_keys(&keys).backend_keys(&backend),
        Origin::echo(),
    );
    let found = watched.json("certificates");
    let found: Vec<_> = found.as_array().unwrap().iter().collect();
    let place = |it: &Value| [&it["listener"], &it["backend"], &it["role"]].map(Value::to_string);
    let places: Vec<String> = found.iter().map(|it| place(it).join(" ")).collect();
    let expected = [
        r#""edge" "" "certificate""#,
        r#""" "app" "certificate""#,
        r#""" "app" "ca""#,
    ];
    assert_eq!(places, expected);
    assert_eq!(found[1]["names"], json!(["us.example"]));
    for row in found {
        assert!(row["days_left"].as_i64().unwrap() > 0, "{row}");
    }
    let page = watched.says("certificates");
    assert!(page.contains("backend app"), "{page}");
}

#[test]
fn the_socket_is_for_its_owner_and_its_group() {
    let watched = Watched::start(|plan| plan, Origin::echo());
    let mode = fs::metadata(&watched.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    if !Uid::effective().is_root() {
        println!("skipped: not root");
        return;
    }
    let as_nobody = |path: &std::path::Path| {
        fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
        Command::new("setpriv")
            .args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"])
            .arg(binary())
            .args(["ctl", "status", "--socket"])
            .arg(path)
            .output()
            .unwrap()
    };
    let refused = as_nobody(&watched.socket);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("not allowed"), "{said}");
    // Somebody opens the door too far: nobody is still nobody.
    fs::set_permissions(&watched.socket, fs::Permissions::from_mode(0o666)).unwrap();
    let refused = as_nobody(&watched.socket);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("not in the group"), "{said}");
}

#[test]
fn nonsense_and_silence_on_the_socket_do_no_harm() {
    let watched = Watched::start(|plan| plan, Origin::echo());
    let ask = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(&watched.socket).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        // It may be refused before it is complete.
        let _ = stream.write_all(bytes);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    let long = vec![b'x'; 100_000];
    for nonsense in [
        b"\n".as_slice(),
        b"{}\n",
        b"{\"command\":\"dance\"}\n",
        &[0xff, b'\n'],
        &long,
    ] {
        let answer = ask(nonsense);
        assert!(answer.starts_with("{\"failed\":"), "{answer}");
    }
    // As many as may be there at a time, and none of them says anything.
    let silent: Vec<UnixStream> = (0..20)
        .map(|_| UnixStream::connect(&watched.socket).unwrap())
        .collect();
    eventually("there is no room", || watched.ctl("status").code == Some(1));
    open(&watched, "127.0.0.1", "bytes move");
    drop(silent);
    eventually("there is room again", || {
        watched.ctl("status").code == Some(0)
    });
}

#[test]
fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
    let dir = TempDir::new().unwrap();
    let socket = dir.path().join("admin.sock");
    let keys = format!("admin_socket = \"{}\"", socket.display());
    let mut first = Plan::tcp(Origin::echo()).process_keys(&keys).start();
    let toml = Plan::tcp(Origin::echo()).process_keys(&keys).toml();
    let mut second = Proxy::spawn(&toml);
    assert_eq!(second.wait_exit(), Some(1));
    let log = second.log();
    assert!(log.contains("another process answers there"), "{log}");
    first.signal(Signal::SIGKILL);
    first.wait_exit();
    assert!(socket.exists());
    let third = Proxy::start(&toml);
    let outcome = run(&[
        "ctl",
        "status",
        "--json",
        "--socket",
        socket.to_str().unwrap(),
    ]);
    let status: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(status["pid"], third.pid());
}

#[test]
fn the_socket_belongs_to_the_user_of_the_process() {
    if !Uid::effective().is_root() {
        println!("skipped: not root");
        return;
    }
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("run");
    fs::create_dir(&folder).unwrap();
    let nobody = User::from_name("nobody").unwrap().unwrap();
    chown(&folder, Some(nobody.uid.as_raw()), None).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let socket = folder.join("admin.sock");
    let keys = format!("admin_socket = \"{}\"\nuser = \"nobody\"", socket.display());
    let mut proxy = Plan::tcp(Origin::echo()).process_keys(&keys).start();
    let found = fs::metadata(&socket).unwrap();
    assert_eq!(found.uid(), nobody.uid.as_raw());
    let asked = run(&["ctl", "drain", "--socket", socket.to_str().unwrap()]);
    assert_eq!(asked.code, Some(0), "{}", asked.stderr);
    assert_eq!(proxy.wait_exit(), Some(0));
    assert!(!socket.exists(), "the socket is left");
}
