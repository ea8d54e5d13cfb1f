//! The thread that sends requests to the process, so that keys never wait for an answer.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use super::event::{Answer, Errand, Event};
use crate::admin::ctl::{CtlRequest, Tunnels, Wanted};
use crate::admin::overview::Overview;
use crate::cli::ask::{ask, read};

/// Time limit of an answer.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// Tunnels in one answer: a person reads no more, and the process has other work.
const TUNNELS_MAX: usize = 1000;

/// Starts the thread; it ends when the returned sender is dropped.
pub(super) fn start(socket: &Path, events: Sender<Event>) -> Sender<Errand> {
    let (errands, received) = channel();
    let socket = socket.to_owned();
    thread::spawn(move || run(&socket, &received, &events));
    errands
}

fn run(socket: &Path, errands: &Receiver<Errand>, events: &Sender<Event>) {
    while let Ok(errand) = errands.recv() {
        let answer = match errand {
            Errand::Look { tunnels } => {
                let seen = look(socket).map(Box::new);
                let tunnels = (tunnels && seen.is_ok()).then(|| list(socket));
                Answer::Seen(seen, tunnels.and_then(Result::ok))
            }
            Errand::Tell(request) => {
                Answer::Told(ask(socket, &request, ANSWER_TIME).and_then(read))
            }
        };
        if events.send(Event::Answer(answer)).is_err() {
            return;
        }
    }
}

/// Requests an overview.
///
/// # Errors
/// As [`ask`].
pub(super) fn look(socket: &Path) -> Result<Overview, String> {
    read(ask(socket, &CtlRequest::Overview, ANSWER_TIME)?)
}

fn list(socket: &Path) -> Result<Tunnels, String> {
    let wanted = Wanted {
        limit: Some(TUNNELS_MAX),
        ..Wanted::default()
    };
    read(ask(socket, &CtlRequest::Tunnels(wanted), ANSWER_TIME)?)
}
