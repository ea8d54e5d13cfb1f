//! Lines as people and programs read them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use expect_test::{Expect, expect, expect_file};

use super::access::Access;
use super::line::{Kind, Line, Severity};
use super::time::LocalTime;
use super::*;
use crate::journal::{
    Cause, ClientCertificate, Connections, Entry, Offloaded, Path, RequestFacts, Subject, Timing,
};
use crate::proto::addr::PeerAddr;

/// An hour east of UTC.
fn zone() -> LocalTime {
    LocalTime::east(1)
}

fn subject() -> Box<Subject> {
    Box::new(Subject {
        listener: Arc::from("edge"),
        peer: PeerAddr::from(SocketAddr::from(([10, 0, 0, 1], 40000))),
        client: PeerAddr::from(SocketAddr::from(([203, 0, 113, 9], 5678))),
        backend: Some(Arc::from("app")),
        server: Some(Arc::from("127.0.0.1:3000")),
        started: SystemTime::UNIX_EPOCH,
        over_tls: false,
        certificate: None,
        is_http: true,
        timing: None,
        request: None,
    })
}

/// A subject whose stages were all measured.
fn measured() -> Box<Subject> {
    let ms = |ms| Some(Duration::from_millis(ms));
    Box::new(Subject {
        over_tls: true,
        certificate: Some(ClientCertificate::Verified),
        timing: Some(Box::new(Timing {
            head: ms(10),
            queue: ms(0),
            connect: ms(30),
            response: ms(69),
            retries: 1,
            redispatched: true,
            server_queue: 2,
            backend_queue: 3,
            connections: Connections {
                process: 7,
                listener: 6,
                backend: 5,
                server: 4,
            },
        })),
        request: Some(request(101)),
        ..*subject()
    })
}

fn request(status: u16) -> Box<RequestFacts> {
    Box::new(RequestFacts {
        method: "GET".to_owned(),
        target: "/a\"b#\\".to_owned(),
        host: "x".to_owned(),
        version: "1.1",
        status,
        referer: None,
        user_agent: Some("curl\n\u{e4}\"".to_owned()),
        note: "",
    })
}

fn unread() -> Box<Subject> {
    Box::new(Subject {
        backend: None,
        server: None,
        client: PeerAddr::from("[2001:db8::7]:0".parse::<SocketAddr>().unwrap()),
        listener: Arc::from("0.0.0.0:80 a"),
        ..*subject()
    })
}

/// One entry of each kind.
fn entries() -> Vec<Entry> {
    let ms = Duration::from_millis;
    let copied = Path {
        copied: true,
        ..Path::default()
    };
    let both = Path {
        spliced: true,
        ..copied
    };
    vec![
        Entry::Open {
            subject: measured(),
            request: Some(request(101)),
        },
        Entry::Progress {
            subject: measured(),
            bytes_in: 1,
            bytes_out: 2,
            lasted: ms(60_000),
        },
        Entry::Close {
            subject: measured(),
            cause: Cause::ClientClosed,
            detail: String::new(),
            bytes_in: 1,
            bytes_out: 2,
            path_in: copied,
            path_out: both,
            lasted: ms(1234),
        },
        Entry::Close {
            subject: Box::new(Subject {
                is_http: false,
                ..*subject()
            }),
            cause: Cause::TunnelIdle,
            detail: String::new(),
            bytes_in: 0,
            bytes_out: 0,
            path_in: copied,
            path_out: copied,
            lasted: ms(5007),
        },
        Entry::Request {
            subject: measured(),
            request: request(200),
            cause: Cause::Served,
            bytes_in: 0,
            bytes_out: 2750,
            lasted: ms(109),
        },
        Entry::Refused {
            subject: subject(),
            cause: Cause::ConnectRefused,
            detail: "why".to_owned(),
            status: Some(502),
            request: Some(request(502)),
            lasted: ms(3),
        },
        Entry::Refused {
            subject: unread(),
            cause: Cause::BadRequest,
            detail: "why".to_owned(),
            status: Some(400),
            request: None,
            lasted: ms(1),
        },
        Entry::Refused {
            subject: unread(),
            cause: Cause::RequestIncomplete,
            detail: String::new(),
            status: None,
            request: None,
            lasted: ms(1),
        },
        Entry::Open {
            subject: from_unix(),
            request: None,
        },
        Entry::Progress {
            subject: from_unix(),
            bytes_in: u64::MAX,
            bytes_out: 0,
            lasted: ms(0),
        },
        Entry::Close {
            subject: from_unix(),
            cause: Cause::InternalError,
            detail: "why".to_owned(),
            bytes_in: 1,
            bytes_out: 2,
            path_in: over_tls(Offloaded::Kernel),
            path_out: over_tls(Offloaded::NotBulky),
            lasted: ms(1),
        },
        Entry::Request {
            subject: Box::new(Subject {
                timing: part_measured(),
                server: None,
                ..*subject()
            }),
            request: hostile(),
            cause: Cause::ResponseTimeout,
            bytes_in: 3,
            bytes_out: 4,
            lasted: ms(2),
        },
        Entry::Refused {
            subject: Box::new(Subject {
                timing: part_measured(),
                is_http: false,
                server: None,
                ..*subject()
            }),
            cause: Cause::QueueTimeout,
            detail: "a\u{85}b\u{2028}\"\u{0}\u{1f}\t".to_owned(),
            status: None,
            request: None,
            lasted: ms(3),
        },
    ]
}

/// A tunnel of `tcp` mode of a client behind a unix socket, without measurements.
fn from_unix() -> Box<Subject> {
    Box::new(Subject {
        peer: PeerAddr::Unix,
        client: PeerAddr::Unix,
        listener: Arc::from("a \"b\"\nc"),
        is_http: false,
        started: SystemTime::UNIX_EPOCH + Duration::from_secs(2),
        ..*subject()
    })
}

fn over_tls(offload: Offloaded) -> Path {
    Path {
        records: true,
        kernel: true,
        offload: Some(offload),
        ..Path::default()
    }
}

/// The timing of a request that did not reach a server.
fn part_measured() -> Option<Box<Timing>> {
    Some(Box::new(Timing {
        head: Some(Duration::from_micros(999)),
        queue: Some(Duration::from_secs(5)),
        ..Timing::default()
    }))
}

/// A request whose texts try to break out of their fields.
fn hostile() -> Box<RequestFacts> {
    let text = "\u{9b}31m\u{7f}\u{202e}\u{e9}\u{8}\u{c}\r\u{1b}/";
    Box::new(RequestFacts {
        host: "h\u{0}".to_owned(),
        target: text.to_owned(),
        version: "1.0",
        referer: Some(text.to_owned()),
        user_agent: None,
        ..*request(504)
    })
}

fn check(form: impl Fn(&Access<'_>) -> Option<String>, expected: &Expect) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1500);
    let said = |entry: &Entry| {
        form(&Access::of(entry, now)).unwrap_or_else(|| "(no line)".to_owned()) + "\n"
    };
    let lines: String = entries().iter().map(said).collect();
    expected.assert_eq(&lines);
}

#[test]
fn json_reads_like_this() {
    check(
        |access| Some(json::line(access)),
        &expect![[r#"
            {"time":"1970-01-01T00:00:01.500Z","event":"open","listener":"edge","client":"203.0.113.9","client_port":5678,"client_certificate":"verified","peer":"10.0.0.1:40000","backend":"app","server":"127.0.0.1:3000","bytes_in":0,"bytes_out":0,"started":"1970-01-01T00:00:00.000Z","duration_ms":1500,"head_ms":10,"queue_ms":0,"connect_ms":30,"response_ms":69,"retries":1,"status":101,"method":"GET","host":"x","target":"/a\"b#\\","version":"1.1","user_agent":"curl\nä\""}
            {"time":"1970-01-01T00:00:01.500Z","event":"progress","listener":"edge","client":"203.0.113.9","client_port":5678,"client_certificate":"verified","peer":"10.0.0.1:40000","backend":"app","server":"127.0.0.1:3000","bytes_in":1,"bytes_out":2,"started":"1970-01-01T00:00:00.000Z","duration_ms":60000}
            {"time":"1970-01-01T00:00:01.500Z","event":"close","listener":"edge","client":"203.0.113.9","client_port":5678,"client_certificate":"verified","peer":"10.0.0.1:40000","backend":"app","server":"127.0.0.1:3000","cause":"client-closed","side":"client","bytes_in":1,"bytes_out":2,"path_in":"copy","path_out":"copy+splice","started":"1970-01-01T00:00:00.000Z","duration_ms":1234}
            {"time":"1970-01-01T00:00:01.500Z","event":"close","listener":"edge","client":"203.0.113.9","client_port":5678,"peer":"10.0.0.1:40000","backend":"app","server":"127.0.0.1:3000","cause":"tunnel-idle","side":"proxy","bytes_in":0,"bytes_out":0,"path_in":"copy","path_out":"copy","started":"1970-01-01T00:00:00.000Z","duration_ms":5007}
            {"time":"1970-01-01T00:00:01.500Z","event":"request","listener":"edge","client":"203.0.113.9","client_port":5678,"client_certificate":"verified","peer":"10.0.0.1:40000","backend":"app","server":"127.0.0.1:3000","cause":"served","side":"proxy","bytes_in":0,"bytes_out":2750,"started":"1970-01-01T00:00:00.000Z","duration_ms":109,"head_ms":10,"queue_ms":0,"connect_ms":30,"response_ms":69,"retries":1,"status":200,"method":"GET","host":"x","target":"/a\"b#\\","version":"1.1","user_agent":"curl\nä\""}
            {"time":"1970-01-01T00:00:01.500Z","event":"refused","listener":"edge","client":"203.0.113.9","client_port":5678,"peer":"10.0.0.1:40000","backend":"app","server":"127.0.0.1:3000","cause":"connect-refused","side":"server","detail":"why","bytes_in":0,"bytes_out":0,"started":"1970-01-01T00:00:00.000Z","duration_ms":3,"status":502,"method":"GET","host":"x","target":"/a\"b#\\","version":"1.1","user_agent":"curl\nä\""}
            {"time":"1970-01-01T00:00:01.500Z","event":"refused","listener":"0.0.0.0:80 a","client":"2001:db8::7","peer":"10.0.0.1:40000","backend":null,"server":null,"cause":"bad-request","side":"client","detail":"why","bytes_in":0,"bytes_out":0,"started":"1970-01-01T00:00:00.000Z","duration_ms":1,"status":400}
            {"time":"1970-01-01T00:00:01.500Z","event":"refused","listener":"0.0.0.0:80 a","client":"2001:db8::7","peer":"10.0.0.1:40000","backend":null,"server":null,"cause":"request-incomplete","side":"client","bytes_in":0,"bytes_out":0,"started":"1970-01-01T00:00:00.000Z","duration_ms":1}
            {"time":"1970-01-01T00:00:01.500Z","event":"open","listener":"a \"b\"\nc","client":"unix:","peer":"unix:","backend":"app","server":"127.0.0.1:3000","bytes_in":0,"bytes_out":0,"started":"1970-01-01T00:00:02.000Z","duration_ms":0}
            {"time":"1970-01-01T00:00:01.500Z","event":"progress","listener":"a \"b\"\nc","client":"unix:","peer":"unix:","backend":"app","server":"127.0.0.1:3000","bytes_in":18446744073709551615,"bytes_out":0,"started":"1970-01-01T00:00:02.000Z","duration_ms":0}
            {"time":"1970-01-01T00:00:01.500Z","event":"close","listener":"a \"b\"\nc","client":"unix:","peer":"unix:","backend":"app","server":"127.0.0.1:3000","cause":"internal-error","side":"proxy","detail":"why","bytes_in":1,"bytes_out":2,"path_in":"user-records+kernel-tls","path_out":"user-records+kernel-tls","offload_in":"kernel","offload_out":"not-bulky","started":"1970-01-01T00:00:02.000Z","duration_ms":1}
            {"time":"1970-01-01T00:00:01.500Z","event":"request","listener":"edge","client":"203.0.113.9","client_port":5678,"peer":"10.0.0.1:40000","backend":"app","server":null,"cause":"response-timeout","side":"server","bytes_in":3,"bytes_out":4,"started":"1970-01-01T00:00:00.000Z","duration_ms":2,"head_ms":0,"queue_ms":5000,"status":504,"method":"GET","host":"h\u0000","target":"\u009b31m\u007f\u202eé\b\f\r\u001b/","version":"1.0","referer":"\u009b31m\u007f\u202eé\b\f\r\u001b/"}
            {"time":"1970-01-01T00:00:01.500Z","event":"refused","listener":"edge","client":"203.0.113.9","client_port":5678,"peer":"10.0.0.1:40000","backend":"app","server":null,"cause":"queue-timeout","side":"server","detail":"a\u0085b \"\u0000\u001f\t","bytes_in":0,"bytes_out":0,"started":"1970-01-01T00:00:00.000Z","duration_ms":3,"head_ms":0,"queue_ms":5000}
        "#]],
    );
}

#[test]
fn httplog_reads_like_this() {
    check(
        |access| Some(httplog::line(access, &zone())),
        &expect![[r#"
            203.0.113.9:5678 [01/Jan/1970:01:00:00.000] edge~ app/127.0.0.1:3000 10/0/30/69/+1500 101 +0 - - ---- 7/6/5/4/+1 2/3 "GET /a#22b#23\ HTTP/1.1"
            203.0.113.9:5678 [01/Jan/1970:01:00:00.000] edge~ app/127.0.0.1:3000 10/0/30/69/+60000 101 +2 - - ---- 7/6/5/4/+1 2/3 "GET /a#22b#23\ HTTP/1.1"
            203.0.113.9:5678 [01/Jan/1970:01:00:00.000] edge~ app/127.0.0.1:3000 10/0/30/69/1234 101 2 - - ---- 7/6/5/4/+1 2/3 "GET /a#22b#23\ HTTP/1.1"
            203.0.113.9:5678 [01/Jan/1970:01:00:00.000] edge app/127.0.0.1:3000 -1/-1/5007 0 cD 0/0/0/0/0 0/0
            203.0.113.9:5678 [01/Jan/1970:01:00:00.000] edge~ app/127.0.0.1:3000 10/0/30/69/109 200 2750 - - ---- 7/6/5/4/+1 2/3 "GET /a#22b#23\ HTTP/1.1"
            203.0.113.9:5678 [01/Jan/1970:01:00:00.000] edge app/127.0.0.1:3000 -1/-1/-1/-1/3 502 0 - - SC-- 0/0/0/0/0 0/0 "GET /a#22b#23\ HTTP/1.1"
            2001:db8::7:0 [01/Jan/1970:01:00:00.000] 0.0.0.0:80_a 0.0.0.0:80_a/<NOSRV> -1/-1/-1/-1/1 400 0 - - PR-- 0/0/0/0/0 0/0 "<BADREQ>"
            2001:db8::7:0 [01/Jan/1970:01:00:00.000] 0.0.0.0:80_a 0.0.0.0:80_a/<NOSRV> -1/-1/-1/-1/1 -1 0 - - CR-- 0/0/0/0/0 0/0 "<BADREQ>"
            unix:0 [01/Jan/1970:01:00:02.000] a__b__c app/127.0.0.1:3000 -1/-1/+0 +0 -- 0/0/0/0/0 0/0
            unix:0 [01/Jan/1970:01:00:02.000] a__b__c app/127.0.0.1:3000 -1/-1/+0 +0 -- 0/0/0/0/0 0/0
            unix:0 [01/Jan/1970:01:00:02.000] a__b__c app/127.0.0.1:3000 -1/-1/1 2 IC 0/0/0/0/0 0/0
            203.0.113.9:5678 [01/Jan/1970:01:00:00.000] edge app/<NOSRV> 0/5000/-1/-1/2 504 4 - - sC-- 0/0/0/0/0 0/0 "GET #C2#9B31m#7F#E2#80#AE#C3#A9#08#0C#0D#1B/ HTTP/1.0"
            203.0.113.9:5678 [01/Jan/1970:01:00:00.000] edge app/<NOSRV> 5000/-1/3 0 sQ 0/0/0/0/0 0/0
        "#]],
    );
}

#[test]
fn combined_reads_like_this() {
    check(
        |access| combined::line(access, &zone()),
        &expect![[r#"
            (no line)
            (no line)
            203.0.113.9 - - [01/Jan/1970:01:00:01 +0100] "GET /a\x22b#\x5C HTTP/1.1" 101 2 "-" "curl\x0A\xC3\xA4\x22"
            203.0.113.9 - - [01/Jan/1970:01:00:01 +0100] "-" 200 0 "-" "-"
            203.0.113.9 - - [01/Jan/1970:01:00:01 +0100] "GET /a\x22b#\x5C HTTP/1.1" 200 2750 "-" "curl\x0A\xC3\xA4\x22"
            203.0.113.9 - - [01/Jan/1970:01:00:01 +0100] "GET /a\x22b#\x5C HTTP/1.1" 502 0 "-" "curl\x0A\xC3\xA4\x22"
            2001:db8::7 - - [01/Jan/1970:01:00:01 +0100] "-" 400 0 "-" "-"
            2001:db8::7 - - [01/Jan/1970:01:00:01 +0100] "-" 499 0 "-" "-"
            (no line)
            (no line)
            unix - - [01/Jan/1970:01:00:01 +0100] "-" 200 2 "-" "-"
            203.0.113.9 - - [01/Jan/1970:01:00:01 +0100] "GET \xC2\x9B31m\x7F\xE2\x80\xAE\xC3\xA9\x08\x0C\x0D\x1B/ HTTP/1.0" 504 4 "\xC2\x9B31m\x7F\xE2\x80\xAE\xC3\xA9\x08\x0C\x0D\x1B/" "-"
            203.0.113.9 - - [01/Jan/1970:01:00:01 +0100] "-" 502 0 "-" "-"
        "#]],
    );
}

#[test]
fn journald_fields_read_like_this() {
    check(
        |access| {
            let line = Line {
                time: access.now,
                severity: Severity::of_access(access),
                text: "(text)",
                kind: Kind::Access(access),
            };
            let fields = journald::fields(&line, 3);
            Some(String::from_utf8_lossy(&fields).replace('\0', "(0)"))
        },
        &expect![[r#"
            MESSAGE=(text)
            PRIORITY=6
            SYSLOG_FACILITY=3
            SYSLOG_IDENTIFIER=longsplice
            LONGSPLICE_EVENT=open
            LONGSPLICE_LISTENER=edge
            LONGSPLICE_CLIENT=203.0.113.9
            LONGSPLICE_BACKEND=app
            LONGSPLICE_SERVER=127.0.0.1:3000

            MESSAGE=(text)
            PRIORITY=6
            SYSLOG_FACILITY=3
            SYSLOG_IDENTIFIER=longsplice
            LONGSPLICE_EVENT=progress
            LONGSPLICE_LISTENER=edge
            LONGSPLICE_CLIENT=203.0.113.9
            LONGSPLICE_BACKEND=app
            LONGSPLICE_SERVER=127.0.0.1:3000
            LONGSPLICE_BYTES_IN=1
            LONGSPLICE_BYTES_OUT=2

            MESSAGE=(text)
            PRIORITY=6
            SYSLOG_FACILITY=3
            SYSLOG_IDENTIFIER=longsplice
            LONGSPLICE_EVENT=close
            LONGSPLICE_LISTENER=edge
            LONGSPLICE_CLIENT=203.0.113.9
            LONGSPLICE_BACKEND=app
            LONGSPLICE_SERVER=127.0.0.1:3000
            LONGSPLICE_CAUSE=client-closed
            LONGSPLICE_SIDE=client
            LONGSPLICE_BYTES_IN=1
            LONGSPLICE_BYTES_OUT=2

            MESSAGE=(text)
            PRIORITY=6
            SYSLOG_FACILITY=3
            SYSLOG_IDENTIFIER=longsplice
            LONGSPLICE_EVENT=close
            LONGSPLICE_LISTENER=edge
            LONGSPLICE_CLIENT=203.0.113.9
            LONGSPLICE_BACKEND=app
            LONGSPLICE_SERVER=127.0.0.1:3000
            LONGSPLICE_CAUSE=tunnel-idle
            LONGSPLICE_SIDE=proxy
            LONGSPLICE_BYTES_IN=0
            LONGSPLICE_BYTES_OUT=0

            MESSAGE=(text)
            PRIORITY=6
            SYSLOG_FACILITY=3
            SYSLOG_IDENTIFIER=longsplice
            LONGSPLICE_EVENT=request
            LONGSPLICE_LISTENER=edge
            LONGSPLICE_CLIENT=203.0.113.9
            LONGSPLICE_BACKEND=app
            LONGSPLICE_SERVER=127.0.0.1:3000
            LONGSPLICE_CAUSE=served
            LONGSPLICE_SIDE=proxy
            LONGSPLICE_STATUS=200
            LONGSPLICE_BYTES_IN=0
            LONGSPLICE_BYTES_OUT=2750

            MESSAGE=(text)
            PRIORITY=4
            SYSLOG_FACILITY=3
            SYSLOG_IDENTIFIER=longsplice
            LONGSPLICE_EVENT=refused
            LONGSPLICE_LISTENER=edge
            LONGSPLICE_CLIENT=203.0.113.9
            LONGSPLICE_BACKEND=app
            LONGSPLICE_SERVER=127.0.0.1:3000
            LONGSPLICE_CAUSE=connect-refused
            LONGSPLICE_SIDE=server
            LONGSPLICE_STATUS=502

            MESSAGE=(text)
            PRIORITY=5
            SYSLOG_FACILITY=3
            SYSLOG_IDENTIFIER=longsplice
            LONGSPLICE_EVENT=refused
            LONGSPLICE_LISTENER=0.0.0.0:80 a
            LONGSPLICE_CLIENT=2001:db8::7
            LONGSPLICE_CAUSE=bad-request
            LONGSPLICE_SIDE=client
            LONGSPLICE_STATUS=400

            MESSAGE=(text)
            PRIORITY=5
            SYSLOG_FACILITY=3
            SYSLOG_IDENTIFIER=longsplice
            LONGSPLICE_EVENT=refused
            LONGSPLICE_LISTENER=0.0.0.0:80 a
            LONGSPLICE_CLIENT=2001:db8::7
            LONGSPLICE_CAUSE=request-incomplete
            LONGSPLICE_SIDE=client

            MESSAGE=(text)
            PRIORITY=6
            SYSLOG_FACILITY=3
            SYSLOG_IDENTIFIER=longsplice
            LONGSPLICE_EVENT=open
            LONGSPLICE_LISTENER
            (0)(0)(0)(0)(0)(0)(0)a "b"
            c
            LONGSPLICE_BACKEND=app
            LONGSPLICE_SERVER=127.0.0.1:3000

            MESSAGE=(text)
            PRIORITY=6
            SYSLOG_FACILITY=3
            SYSLOG_IDENTIFIER=longsplice
            LONGSPLICE_EVENT=progress
            LONGSPLICE_LISTENER
            (0)(0)(0)(0)(0)(0)(0)a "b"
            c
            LONGSPLICE_BACKEND=app
            LONGSPLICE_SERVER=127.0.0.1:3000
            LONGSPLICE_BYTES_IN=18446744073709551615
            LONGSPLICE_BYTES_OUT=0

            MESSAGE=(text)
            PRIORITY=3
            SYSLOG_FACILITY=3
            SYSLOG_IDENTIFIER=longsplice
            LONGSPLICE_EVENT=close
            LONGSPLICE_LISTENER
            (0)(0)(0)(0)(0)(0)(0)a "b"
            c
            LONGSPLICE_BACKEND=app
            LONGSPLICE_SERVER=127.0.0.1:3000
            LONGSPLICE_CAUSE=internal-error
            LONGSPLICE_SIDE=proxy
            LONGSPLICE_BYTES_IN=1
            LONGSPLICE_BYTES_OUT=2

            MESSAGE=(text)
            PRIORITY=4
            SYSLOG_FACILITY=3
            SYSLOG_IDENTIFIER=longsplice
            LONGSPLICE_EVENT=request
            LONGSPLICE_LISTENER=edge
            LONGSPLICE_CLIENT=203.0.113.9
            LONGSPLICE_BACKEND=app
            LONGSPLICE_CAUSE=response-timeout
            LONGSPLICE_SIDE=server
            LONGSPLICE_STATUS=504
            LONGSPLICE_BYTES_IN=3
            LONGSPLICE_BYTES_OUT=4

            MESSAGE=(text)
            PRIORITY=4
            SYSLOG_FACILITY=3
            SYSLOG_IDENTIFIER=longsplice
            LONGSPLICE_EVENT=refused
            LONGSPLICE_LISTENER=edge
            LONGSPLICE_CLIENT=203.0.113.9
            LONGSPLICE_BACKEND=app
            LONGSPLICE_CAUSE=queue-timeout
            LONGSPLICE_SIDE=server

        "#]],
    );
}

#[test]
fn severities() {
    let numbers: Vec<u8> = entries()
        .iter()
        .map(|entry| Access::of(entry, SystemTime::UNIX_EPOCH))
        .map(|access| Severity::of_access(&access).number())
        .collect();
    assert_eq!(numbers, [6, 6, 6, 6, 6, 4, 5, 5, 6, 6, 3, 4, 4]);
}

/// A dot in the state of a cause becomes the letter of the phase that was reached.
#[test]
fn httplog_writes_the_state_of_every_cause() {
    for cause in Cause::ALL {
        let entry = Entry::Request {
            subject: measured(),
            request: request(200),
            cause: *cause,
            bytes_in: 0,
            bytes_out: 0,
            lasted: Duration::ZERO,
        };
        let line = httplog::line(&Access::of(&entry, SystemTime::UNIX_EPOCH), &zone());
        let written = line.split(' ').nth(9).unwrap();
        let state = match *cause == Cause::ClientClosed {
            // The client gave up the request.
            true => "CD--".to_owned(),
            false => cause.state().replace('.', "D") + "--",
        };
        assert_eq!(written, state, "{cause:?}");
    }
}

#[test]
fn the_reference_describes_every_field() {
    expect_file!["../manual/reference/log-fields.md"].assert_eq(&reference());
}

#[test]
fn every_field_is_in_a_line_above_and_only_at_its_events() {
    let now = SystemTime::UNIX_EPOCH;
    let entries = entries();
    let lines = entries.iter().map(|entry| Access::of(entry, now));
    let lines: Vec<(&str, serde_json::Value)> = lines
        .map(|access| {
            let line = serde_json::from_str(&json::line(&access)).unwrap();
            (access.event.as_str(), line)
        })
        .collect();
    for field in fields::FIELDS {
        let has = |line: &serde_json::Value| line.get(field.name).is_some();
        let value = lines.iter().find_map(|(_, line)| line.get(field.name));
        let value = value.unwrap_or_else(|| panic!("no entry above has {}", field.name));
        assert_eq!(
            value.is_u64(),
            field.kind == fields::Kind::Number,
            "{}",
            field.name
        );
        let at = field.events.iter().map(|event| event.as_str());
        let at: Vec<&str> = at.collect();
        let others = lines.iter().filter(|(event, _)| !at.contains(event));
        assert!(
            others.into_iter().all(|(_, line)| !has(line)),
            "{}",
            field.name
        );
        assert!(
            field.text.ends_with('.') && !field.text.contains('|'),
            "{}",
            field.name
        );
    }
}
