//! A reception thread: its runtime, its orders, and its end.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::accept::{Entrance, ListeningSockets};
use super::context::{Phase, Shared, ThreadContext};
use super::handover;
use super::socket::driver::Driver;
use crate::config::Bind;
use crate::journal::Journal;
use crate::relay;
use crate::sys::thread::{pin_to, set_nice};

/// How long connections that are closed at the end of the process may take to write their log entries.
const LAST_ENTRIES_TIME: Duration = Duration::from_millis(500);

/// The nice value of a reception thread that makes TLS handshakes.
const NICE: i32 = 10;

/// What a reload asks of a thread.
#[derive(Debug)]
pub enum Order {
    /// Accept connections here.
    Open(Entrance),
    /// Apply the published configuration of this address to its sockets.
    Adjust(Bind),
    /// Accept no further connections here; open ones continue.
    Close(Bind),
}

/// What one thread needs to begin.
pub struct Setup {
    /// Number of the thread.
    pub index: usize,
    /// Core to run on, if the thread is to stay on one.
    pub core: Option<usize>,
    /// How the thread waits for sockets.
    pub driver: Driver,
    /// Where to listen, and later changes of that.
    pub orders: mpsc::UnboundedReceiver<Order>,
    /// Where tunnels go.
    pub relay: relay::Handle,
    /// What all reception threads share.
    pub shared: Arc<Shared>,
    /// Where log entries go.
    pub journal: Journal,
    /// The phase of the process.
    pub phase: watch::Receiver<Phase>,
    /// Receives the number of the thread when the thread ends, by a panic too.
    pub ended: mpsc::UnboundedSender<usize>,
}

/// Reports the end of a thread when it is dropped.
struct EndReport(usize, mpsc::UnboundedSender<usize>);

impl Drop for EndReport {
    fn drop(&mut self) {
        // The main thread may have ended first.
        let _ = self.1.send(self.0);
    }
}

/// Starts a reception thread, and waits until its runtime is ready.
///
/// # Errors
/// The system refuses the thread or the ring of its runtime.
pub fn spawn(setup: Setup) -> io::Result<JoinHandle<()>> {
    let (report, reported) = sync_channel(1);
    let name = format!("reception-{}", setup.index);
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        pin(&setup);
        let driver = setup.driver;
        let _end_report = EndReport(setup.index, setup.ended.clone());
        let of_run = report.clone();
        let life = async move {
            // The caller waits for this.
            let _ = of_run.send(Ok(()));
            drop(of_run);
            run(setup).await;
        };
        if let Err(error) = driver.block_on(life) {
            let _ = report.send(Err(error));
        }
    })?;
    reported
        .recv()
        .map_err(|_| io::Error::other("the thread ended while it started"))??;
    Ok(thread)
}

/// Pins the thread to the core of `setup`, if there is one: that of its relay thread.
fn pin(setup: &Setup) {
    if let Some(Err(error)) = setup.core.map(pin_to) {
        tracing::debug!(%error, "a reception thread could not be pinned to its core");
    }
}

/// Lowers the priority of the thread, so that relay goes first on the same core.
///
/// Only a thread that makes TLS handshakes does so: each takes about a millisecond, and many of them
/// must not delay the frames of open tunnels. Without TLS an opening takes microseconds, and if every
/// message of a tunnel interrupted it, that would cost a fifth more than it saves.
fn lower_priority() {
    if let Err(error) = set_nice(NICE) {
        tracing::debug!(%error, "a reception thread could not lower its priority");
    }
}

async fn run(setup: Setup) {
    let Setup {
        driver,
        mut orders,
        relay,
        shared,
        journal,
        mut phase,
        ..
    } = setup;
    let context = ThreadContext::new(driver, shared, journal, relay, phase.clone());
    let context = Rc::new(context);
    let mut listening = ListeningSockets::default();
    loop {
        tokio::select! {
            biased;
            Some(order) = orders.recv() => obey(order, &mut listening, &context),
            _ = phase.wait_for(|phase| *phase != Phase::Running) => break,
            true = listening.next_closed() => {}
        }
    }
    listening.close_all().await;
    context.begin_drain();
    let ended = async {
        let _ = phase.wait_for(|phase| *phase == Phase::Ended).await;
        sleep(LAST_ENTRIES_TIME).await;
    };
    tokio::select! {
        () = context.all_gone() => {}
        () = ended => {}
    }
    handover::announce(&context);
}

fn obey(order: Order, listening: &mut ListeningSockets, context: &Rc<ThreadContext>) {
    match order {
        Order::Open(entrance) => {
            if entrance.present.load().shakes_hands() {
                lower_priority();
            }
            listening.open(entrance, context);
        }
        Order::Adjust(bind) => {
            if listening.adjust(&bind) {
                lower_priority();
            }
        }
        Order::Close(bind) => listening.close(&bind),
    }
}
