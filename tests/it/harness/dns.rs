//! A name server that says what a test wants it to say, over UDP and TCP (RFC 1035).

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

/// What a record says.
#[derive(Debug, Clone)]
pub(crate) enum Data {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// Priority, weight, port and target of a service.
    Srv(u16, u16, u16, &'static str),
    /// Another name for the same thing; the test sets that name, too.
    Cname(&'static str),
}

/// How every question is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// As the records say.
    Answering,
    /// Not at all.
    Silent,
    /// SERVFAIL.
    Failing,
    /// There is no such name.
    Denying,
    /// Truncated over UDP, whole over TCP.
    Truncating,
}

#[derive(Debug)]
struct Zone {
    mood: Mood,
    records: HashMap<String, Vec<(u32, Data)>>,
    asked: HashMap<String, usize>,
    asked_over_tcp: usize,
}

/// The server; its threads go on until the tests end.
#[derive(Debug)]
pub(crate) struct Dns {
    addr: SocketAddr,
    zone: Arc<Mutex<Zone>>,
}

const TYPE_A: u16 = 1;
const TYPE_CNAME: u16 = 5;
const TYPE_AAAA: u16 = 28;
const TYPE_SRV: u16 = 33;

impl Dns {
    /// Starts one that knows no name.
    pub(crate) fn start() -> Self {
        let zone = Arc::new(Mutex::new(Zone {
            mood: Mood::Answering,
            records: HashMap::new(),
            asked: HashMap::new(),
            asked_over_tcp: 0,
        }));
        let (udp, tcp) = sockets();
        let addr = udp.local_addr().unwrap();
        let server = Arc::clone(&zone);
        thread::spawn(move || {
            let mut query = [0; 1500];
            while let Ok((len, from)) = udp.recv_from(&mut query) {
                if let Some(answer) = server.lock().unwrap().answer(&query[..len], false) {
                    let _ = udp.send_to(&answer, from);
                }
            }
        });
        let server = Arc::clone(&zone);
        thread::spawn(move || {
            while let Ok((stream, _)) = tcp.accept() {
                let server = Arc::clone(&server);
                thread::spawn(move || serve(stream, &server));
            }
        });
        Self { addr, zone }
    }

    /// Returns where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Replaces what is known of a name; none = the name exists, and that is all.
    pub(crate) fn set(&self, name: &str, ttl: u32, records: &[Data]) {
        let records = records.iter().map(|data| (ttl, data.clone())).collect();
        self.zone().records.insert(name.to_owned(), records);
    }

    /// Replaces the addresses of a name.
    pub(crate) fn addresses(&self, name: &str, ttl: u32, ips: &[&str]) {
        let data = |ip: &&str| match ip.parse().unwrap() {
            std::net::IpAddr::V4(ip) => Data::A(ip),
            std::net::IpAddr::V6(ip) => Data::Aaaa(ip),
        };
        let records: Vec<Data> = ips.iter().map(data).collect();
        self.set(name, ttl, &records);
    }

    /// Forgets a name: there is no such thing.
    pub(crate) fn forget(&self, name: &str) {
        self.zone().records.remove(name);
    }

    /// Treats every question from now on in another way.
    pub(crate) fn be(&self, mood: Mood) {
        self.zone().mood = mood;
    }

    /// Returns how often it was asked for a name, answered or not.
    pub(crate) fn asked(&self, name: &str) -> usize {
        self.zone().asked.get(name).copied().unwrap_or(0)
    }

    /// Returns how many questions came over TCP.
    pub(crate) fn asked_over_tcp(&self) -> usize {
        self.zone().asked_over_tcp
    }

    fn zone(&self) -> std::sync::MutexGuard<'_, Zone> {
        self.zone.lock().unwrap()
    }
}

/// Takes one port for both protocols.
fn sockets() -> (UdpSocket, TcpListener) {
    loop {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
}

fn serve(mut stream: TcpStream, zone: &Mutex<Zone>) {
    let mut len = [0; 2];
    while stream.read_exact(&mut len).is_ok() {
        let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
        if stream.read_exact(&mut query).is_err() {
            return;
        }
        let answer = zone.lock().unwrap().answer(&query, true);
        if let Some(answer) = answer {
            let mut framed = u16::try_from(answer.len()).unwrap().to_be_bytes().to_vec();
            framed.extend_from_slice(&answer);
            let _ = stream.write_all(&framed);
        }
    }
}

impl Zone {
    fn answer(&mut self, query: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
        let (name, kind, question) = question(query)?;
        *self.asked.entry(name.clone()).or_default() += 1;
        self.asked_over_tcp += usize::from(over_tcp);
        let (mut truncated, mut code, mut answers) = (false, 0, Vec::new());
        match self.mood {
            Mood::Silent => return None,
            Mood::Failing => code = 2,
            Mood::Denying => code = 3,
            Mood::Truncating if !over_tcp => truncated = true,
            Mood::Answering | Mood::Truncating => match self.records.get(&name) {
                None => code = 3,
                Some(records) => answers = self.chain(records, kind),
            },
        }
        let flags: u16 = 0x8180 | if truncated { 0x0200 } else { 0 } | code;
        let mut out = query[..2].to_vec();
        for word in [flags, 1, u16::try_from(answers.len()).unwrap(), 0, 0] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(question);
        for (owner, ttl, data) in answers {
            record(&mut out, owner.unwrap_or(&name), ttl, &data);
        }
        Some(out)
    }

    /// Returns the records of this type, those behind an alias too.
    fn chain(&self, records: &[(u32, Data)], kind: u16) -> Vec<(Option<&'static str>, u32, Data)> {
        let mut found = Vec::new();
        for (ttl, data) in records {
            if let Data::Cname(target) = data {
                found.push((None, *ttl, data.clone()));
                let behind = self.records.get(*target).into_iter().flatten();
                let fits = behind.filter(|(_, data)| type_of(data) == kind);
                found.extend(fits.map(|(ttl, data)| (Some(*target), *ttl, data.clone())));
            } else if type_of(data) == kind {
                found.push((None, *ttl, data.clone()));
            }
        }
        found
    }
}

fn type_of(data: &Data) -> u16 {
    match data {
        Data::A(_) => TYPE_A,
        Data::Aaaa(_) => TYPE_AAAA,
        Data::Srv(..) => TYPE_SRV,
        Data::Cname(_) => TYPE_CNAME,
    }
}

/// Reads the one question: name in lower case, type, and its bytes.
fn question(query: &[u8]) -> Option<(String, u16, &[u8])> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let len = usize::from(*query.get(at)?);
        at += 1;
        if len == 0 {
            break;
        }
        let label = query.get(at..at + len)?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        at += len;
    }
    let kind = u16::from_be_bytes(query.get(at..at + 2)?.try_into().ok()?);
    Some((labels.join("."), kind, query.get(12..at + 4)?))
}

fn record(out: &mut Vec<u8>, owner: &str, ttl: u32, data: &Data) {
    name(out, owner);
    let mut says = Vec::new();
    match data {
        Data::A(ip) => says.extend_from_slice(&ip.octets()),
        Data::Aaaa(ip) => says.extend_from_slice(&ip.octets()),
        Data::Srv(priority, weight, port, target) => {
            for number in [priority, weight, port] {
                says.extend_from_slice(&number.to_be_bytes());
            }
            name(&mut says, target);
        }
        Data::Cname(target) => name(&mut says, target),
    }
    out.extend_from_slice(&type_of(data).to_be_bytes());
    out.extend_from_slice(&1_u16.to_be_bytes());
    out.extend_from_slice(&ttl.to_be_bytes());
    out.extend_from_slice(&u16::try_from(says.len()).unwrap().to_be_bytes());
    out.extend_from_slice(&says);
}

fn name(out: &mut Vec<u8>, name: &str) {
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
}
