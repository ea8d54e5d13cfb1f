//! Places and the queue; tasks stand for requests.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::{JoinHandle, LocalSet, spawn_local, yield_now};
use tokio::time::{Instant, timeout_at};

use super::lineup::Choice;
use super::*;
use crate::config::parse;

/// A backend `app` with `lines` whose servers may have this many connections each.
fn upstream(lines: &str, places: &[usize]) -> Arc<Upstream> {
    let mut text = format!(
        "[[listener]]\nbind = \"127.0.0.1:80\"\nroute = [{{ backend = \"app\" }}]\n\
         [[backend]]\nname = \"app\"\n{lines}\n"
    );
    for (index, _) in places.iter().enumerate() {
        text += &format!(
            "[[backend.server]]\naddress = \"10.0.0.{}:80\"\n",
            index + 1
        );
    }
    let config = parse(&text, Path::new("test.toml")).expect("legal");
    let backend = config.backends.into_iter().next().expect("one");
    let seats = backend.servers.iter().zip(places).map(|(server, places)| {
        let mut server = server.clone();
        server.max_connections = NonZeroUsize::new(*places);
        let address = Address::Inet(server.name.parse().expect("an address"));
        seat(
            Arc::new(Member::new(Arc::clone(&server.name), server, None, address)),
            MemberStanding::Up,
        )
    });
    let seats = seats.collect();
    Upstream::new(Arc::new(backend), seats)
}

fn seat(member: Arc<Member>, standing: MemberStanding) -> Seat {
    Seat {
        weight: member.server.weight,
        member,
        standing,
    }
}

/// Publishes a line-up in which every member has this standing.
fn publish(upstream: &Arc<Upstream>, standing: MemberStanding) {
    let now = upstream.lineup();
    let seats = now
        .seats
        .iter()
        .map(|it| seat(Arc::clone(&it.member), standing));
    upstream.publish(Lineup::new(Arc::clone(&now.backend), seats.collect()));
}

fn client(last: u8) -> Option<IpAddr> {
    Some(IpAddr::from([192, 0, 2, last]))
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, test);
}

type Asked = JoinHandle<Result<Reservation, Denied>>;

/// Sends a request, which is in the queue or served when this returns.
async fn ask(upstream: &Arc<Upstream>, client: Option<IpAddr>) -> Asked {
    let upstream = Arc::clone(upstream);
    let asked = spawn_local(async move { upstream.place(client, &[]).await });
    for _ in 0..3 {
        yield_now().await;
    }
    asked
}

/// Returns the answer of a task that has one.
async fn answer(asked: Asked) -> Result<Reservation, Denied> {
    for _ in 0..3 {
        yield_now().await;
    }
    assert!(asked.is_finished(), "it still waits");
    asked.await.unwrap()
}

#[test]
fn places_go_to_those_who_wait_in_the_order_of_arrival() {
    run(async {
        let upstream = upstream("balance = \"round_robin\"", &[1, 1]);
        let first = upstream.place(None, &[]).await.unwrap();
        let second = upstream.place(None, &[]).await.unwrap();
        assert_ne!(first.member().id(), second.member().id());
        let waiting = [ask(&upstream, None).await, ask(&upstream, None).await];
        let left = ask(&upstream, None).await;
        let last = ask(&upstream, None).await;
        assert_eq!(upstream.waiting(), 4);
        left.abort();
        yield_now().await;
        yield_now().await;
        assert_eq!(
            upstream.waiting(),
            3,
            "whoever leaves frees the place in line"
        );
        let freed = second.member().id();
        drop(second);
        let [third, fourth] = waiting;
        let third = answer(third).await.unwrap();
        assert_eq!(third.member().id(), freed);
        assert!(!fourth.is_finished() && !last.is_finished());
        drop(first);
        let fourth = answer(fourth).await.unwrap();
        drop(third);
        let last = answer(last).await.unwrap();
        assert_eq!(upstream.waiting(), 0);
        drop((fourth, last));
        let active: u32 = upstream
            .lineup()
            .seats
            .iter()
            .map(|it| it.member.traffic.active())
            .sum();
        assert_eq!(active, 0);
    });
}

#[test]
fn the_queue_is_bounded_in_length_and_time() {
    run(async {
        let upstream = upstream("max_queue = 1\ntimeouts.queue = \"20ms\"", &[1]);
        let place = upstream.place(client(1), &[]).await.unwrap();
        let waits = ask(&upstream, client(1)).await;
        let refused = ask(&upstream, client(1)).await;
        assert_eq!(answer(refused).await.unwrap_err(), Denied::QueueFull);
        assert_eq!(waits.await.unwrap().unwrap_err(), Denied::QueueTimeout);
        assert_eq!(upstream.waiting(), 0);
        drop(place);
        assert!(upstream.place(client(1), &[]).await.is_ok());
    });
}

#[test]
fn no_queue_at_all_is_a_choice() {
    run(async {
        let upstream = upstream("max_queue = 0", &[1]);
        let _place = upstream.place(client(1), &[]).await.unwrap();
        let refused = upstream.place(client(1), &[]).await;
        assert_eq!(refused.unwrap_err(), Denied::QueueFull);
    });
}

#[test]
fn a_source_waits_for_its_own_server_and_holds_up_nobody_else() {
    run(async {
        let upstream = upstream("max_queue = 1", &[1, 1]);
        let first = upstream.place(client(1), &[]).await.unwrap();
        let mine = first.member().id();
        // One request whose server is another one, and one with the same server.
        let others = |same: bool| {
            let upstream = Arc::clone(&upstream);
            (2..=255).find(move |last| {
                let asking = upstream.asking(client(*last));
                match upstream.lineup().choose(&asking, &[]) {
                    Choice::Member(member) => !same && member.id() != mine,
                    Choice::Wait(Some(id)) => same && id == mine,
                    Choice::Wait(None) | Choice::Nobody => false,
                }
            })
        };
        let (same, other) = (others(true).unwrap(), others(false).unwrap());
        let waits = ask(&upstream, client(same)).await;
        assert_eq!(upstream.waiting(), 1);
        let elsewhere = upstream.place(client(other), &[]).await.unwrap();
        assert_ne!(elsewhere.member().id(), mine);
        drop(elsewhere);
        assert!(
            !waits.is_finished(),
            "a place elsewhere is none of its concern"
        );
        drop(first);
        assert_eq!(answer(waits).await.unwrap().member().id(), mine);
    });
}

#[test]
fn those_who_wait_are_asked_again_when_the_lineup_changes() {
    run(async {
        let refuses = upstream("", &[1]);
        let _place = refuses.place(client(1), &[]).await.unwrap();
        let waits = ask(&refuses, client(1)).await;
        publish(&refuses, MemberStanding::Down);
        let why = Denied::Nobody("every server is down");
        assert_eq!(answer(waits).await.unwrap_err(), why);
        assert_eq!(refuses.place(client(1), &[]).await.unwrap_err(), why);
        assert_eq!(refuses.waiting(), 0);

        let queues = upstream("when_down = \"queue\"", &[2]);
        publish(&queues, MemberStanding::Down);
        let waits = [ask(&queues, None).await, ask(&queues, None).await];
        let third = ask(&queues, None).await;
        assert_eq!(queues.waiting(), 3);
        publish(&queues, MemberStanding::Up);
        for waits in waits {
            // Both give the place back at once, so that the third request gets one too.
            assert!(answer(waits).await.is_ok());
        }
        assert!(answer(third).await.is_ok());
    });
}

#[test]
fn nobody_is_asked_twice_for_one_request() {
    run(async {
        let upstream = upstream("", &[9, 9, 9]);
        let mut tried = Vec::new();
        for _ in 0..3 {
            let place = upstream.place(client(7), &tried).await.unwrap();
            assert!(!tried.contains(&place.member().id()));
            tried.push(place.member().id());
        }
        let denied = upstream.place(client(7), &tried).await.unwrap_err();
        assert_eq!(denied, Denied::AllTried);
        // A suspect member is better than none; one that is down or drained is not.
        for (standing, why) in [
            (MemberStanding::Suspect, None),
            (MemberStanding::Down, Some("every server is down")),
            (MemberStanding::Drained, Some("every server is drained")),
        ] {
            publish(&upstream, standing);
            let denied = upstream.place(client(7), &[]).await.err();
            assert_eq!(denied, why.map(Denied::Nobody), "{standing:?}");
        }
    });
}

#[test]
fn whoever_has_tried_everybody_does_not_wait_for_them() {
    run(async {
        let upstream = upstream("when_down = \"queue\"", &[9]);
        let tried = [upstream.lineup().seats[0].member.id()];
        let denied = upstream.place(client(1), &tried).await.unwrap_err();
        assert_eq!(denied, Denied::AllTried);
        // A server that went down in the meantime gets another try.
        publish(&upstream, MemberStanding::Down);
        let waits = {
            let upstream = Arc::clone(&upstream);
            spawn_local(async move { upstream.place(client(1), &tried).await })
        };
        yield_now().await;
        assert_eq!(upstream.waiting(), 1);
        publish(&upstream, MemberStanding::Up);
        assert!(answer(waits).await.is_ok());
    });
}

#[test]
fn suspects_are_asked_when_the_others_have_failed() {
    run(async {
        let upstream = upstream("", &[9, 9]);
        let now = upstream.lineup();
        let mut seats: Vec<Seat> = now.seats.clone();
        seats[0].standing = MemberStanding::Suspect;
        upstream.publish(Lineup::new(Arc::clone(&now.backend), seats));
        let (suspect, up) = (now.seats[0].member.id(), now.seats[1].member.id());
        for last in 1..20 {
            let place = upstream.place(client(last), &[]).await.unwrap();
            assert_eq!(place.member().id(), up);
            let place = upstream.place(client(last), &[up]).await.unwrap();
            assert_eq!(place.member().id(), suspect);
        }
        let denied = upstream.place(client(1), &[up, suspect]).await.unwrap_err();
        assert_eq!(denied, Denied::AllTried);
    });
}

#[test]
fn the_alarm_is_rung_from_when_a_server_may_be_suspect() {
    run(async {
        let upstream = upstream("", &[9]);
        let place = upstream.place(client(7), &[]).await.unwrap();
        let rung = || async {
            timeout_at(Instant::now(), upstream.alarm.notified())
                .await
                .is_ok()
        };
        for _ in 1..SUSPECT_FAILURES {
            place.note_refused();
            assert!(!rung().await);
        }
        place.note_refused();
        assert!(rung().await);
        // The supervisor may have lifted the suspicion meanwhile.
        place.note_refused();
        assert!(rung().await);
        place.member().traffic.note_connected();
        assert!(place.member().traffic.refused_in_a_row() > 0);
        place.member().traffic.note_sound();
        assert_eq!(place.member().traffic.refused_in_a_row(), 0);
    });
}

/// Threads take, hold, return and give up places: no place is taken twice, every request that keeps waiting
/// is served, and no place is lost.
#[test]
fn threads_agree() {
    const THREADS: usize = 4;
    const REQUESTS: usize = 2_000;
    for lines in [
        "balance = \"round_robin\"",
        "balance = \"least_connections\"",
        "",
    ] {
        let upstream = upstream(&format!("{lines}\nmax_queue = 1000"), &[2, 1, 3]);
        let held: Arc<Vec<AtomicU32>> = Arc::new((0..3).map(|_| AtomicU32::new(0)).collect());
        let served = Arc::new(AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (upstream, held) = (Arc::clone(&upstream), Arc::clone(&held));
                let served = Arc::clone(&served);
                scope.spawn(move || {
                    run(async {
                        let mut tasks = Vec::new();
                        for number in 0..8 {
                            let (upstream, held) = (Arc::clone(&upstream), Arc::clone(&held));
                            let served = Arc::clone(&served);
                            tasks.push(spawn_local(async move {
                                for round in 0..REQUESTS / 8 {
                                    let last =
                                        u8::try_from((thread * 8 + number + round) % 251).unwrap();
                                    if round % 7 == 3 {
                                        // Gives up at once, at any position.
                                        let giving_up = upstream.place(client(last), &[]);
                                        let _ = timeout_at(Instant::now(), giving_up).await;
                                        continue;
                                    }
                                    let place = upstream.place(client(last), &[]).await.unwrap();
                                    let lineup = upstream.lineup();
                                    let index = lineup
                                        .seats
                                        .iter()
                                        .position(|it| it.member.id() == place.member().id());
                                    let index = index.unwrap();
                                    let now = held[index].fetch_add(1, Ordering::SeqCst) + 1;
                                    assert!(now <= [2, 1, 3][index], "{now} at {index}");
                                    yield_now().await;
                                    held[index].fetch_sub(1, Ordering::SeqCst);
                                    served.fetch_add(1, Ordering::SeqCst);
                                }
                            }));
                        }
                        for task in tasks {
                            let patience = tokio::time::timeout(Duration::from_secs(20), task);
                            patience.await.expect("somebody waits for ever").unwrap();
                        }
                    });
                });
            }
        });
        let gave_up = (0..REQUESTS / 8).filter(|round| round % 7 == 3).count() * 8 * THREADS;
        assert_eq!(served.load(Ordering::SeqCst), REQUESTS * THREADS - gave_up);
        assert_eq!(upstream.waiting(), 0);
        let active: u32 = upstream
            .lineup()
            .seats
            .iter()
            .map(|it| it.member.traffic.active())
            .sum();
        assert_eq!(active, 0);
    }
}
