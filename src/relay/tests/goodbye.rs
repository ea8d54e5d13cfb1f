//! Tunnels whose clients get a Close frame when a drain ends them.

use super::*;
use crate::proto::websocket::frames::GOING_AWAY;

fn plan(to_client: &'static [u8]) -> Plan {
    Plan {
        to_client,
        says_goodbye: true,
        ..Plan::default()
    }
}

#[test]
fn only_a_drain_says_it_and_only_between_frames() {
    let rows: [(&[u8], Cause, &[u8]); 6] = [
        (b"", Cause::Drained, &GOING_AWAY),
        (b"\x81\x02hi", Cause::Drained, &GOING_AWAY),
        (b"\x81\x02h", Cause::Drained, b""),
        (b"\x88\x00", Cause::Drained, b""),
        (b"", Cause::Killed, b""),
        (b"", Cause::InternalError, b""),
    ];
    on_both(|bench| {
        for (early, cause, expected) in rows {
            let (client, server) = bench.tunnel(plan(early));
            assert_eq!(read_exactly(&client, early.len()), early);
            bench.handle.end_all(cause);
            assert_eq!(read_to_end(&client), expected, "{early:?} {cause:?}");
            assert_eq!(read_to_end(&server), b"");
            // The four bytes are ours, not the tunnel's.
            bench.expect(cause, (0, early.len() as u64));
        }
    });
}

#[test]
fn what_follows_in_a_tunnel_counts() {
    on_both(|bench| {
        for (frame, expected) in [(&b"\x82\x7e\x01\x00"[..], &GOING_AWAY[..]), (b"\x81", b"")] {
            let (client, mut server) = bench.tunnel(plan(b"\x81\x01x"));
            let mut frame = frame.to_vec();
            if frame.len() > 1 {
                frame.resize(frame.len() + 256, 7);
            }
            for part in frame.chunks(3) {
                server.write_all(part).unwrap();
            }
            assert_eq!(read_exactly(&client, 3), b"\x81\x01x");
            assert_eq!(read_exactly(&client, frame.len()), frame);
            bench.handle.end_all(Cause::Drained);
            assert_eq!(read_to_end(&client), expected);
            bench.expect(Cause::Drained, (0, 3 + frame.len() as u64));
        }
    });
}

#[test]
fn a_client_that_takes_nothing_gets_nothing_more() {
    on_both(|bench| {
        let (client, mut server) = bench.tunnel(plan(b""));
        server
            .write_all(&[0x82, 127, 0, 0, 0, 0, 4, 0, 0, 0])
            .unwrap();
        server.set_nonblocking(true).unwrap();
        while server.write(&[0; 65_536]).is_ok() {}
        while bench.all().iter().all(|glance| glance.bytes_out == 0) {}
        bench.handle.end_all(Cause::Drained);
        let all = read_to_end(&client);
        assert!(!all.ends_with(&GOING_AWAY));
        assert_eq!(bench.ended().bytes.1, all.len() as u64);
    });
}

#[test]
fn a_client_that_goes_on_talking_hears_it() {
    on_both(|bench| {
        let (client, server) = bench.tunnel(plan(b""));
        let talker = client.try_clone().unwrap();
        let talking = thread::spawn(move || while (&talker).write_all(&[1; 1000]).is_ok() {});
        let listening = thread::spawn(move || read_to_end(&server).len());
        while bench.all().iter().all(|glance| glance.bytes_in == 0) {}
        bench.handle.end_all(Cause::Drained);
        assert_eq!(read_to_end(&client), GOING_AWAY);
        client.shutdown(Shutdown::Both).unwrap();
        talking.join().unwrap();
        listening.join().unwrap();
        assert_eq!(bench.ended().cause, Cause::Drained);
    });
}
