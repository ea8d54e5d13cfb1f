//! `longsplice top`: shows a running process in a terminal, over its admin socket.
//!
//! One loop takes keys, answers and signals from one channel. [`state`] and [`keys`] decide what they change,
//! [`draw`] how it looks; neither uses a terminal.

mod asker;
mod draw;
mod event;
mod keys;
mod panes;
mod plain;
mod rates;
mod screen;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod words;

use std::env;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crossterm::event as terminal;

use self::draw::Palette;
use self::event::{Answer, Errand, Event};
use self::screen::Screen;
use self::state::{Effect, Link, State};
use self::words::INTERVALS;
use super::args::TopOptions;
use super::exit;
use crate::config::duration_of;
use crate::sys::signals;

/// Pause before a process that does not answer is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Time after which a missing answer is reported, and the report renewed.
const LATE: Duration = Duration::from_secs(1);

/// Reads the options of `top` and runs it.
pub(super) fn top(options: &TopOptions) -> ExitCode {
    let interval = match interval_of(&options.interval) {
        Ok(interval) => interval,
        Err(wrong) => return exit::misused(&words::clean(&wrong)),
    };
    if !options.once && !io::stdout().is_terminal() {
        let why = "standard output is no terminal; --once prints one page of plain text";
        return exit::misused(why);
    }
    let first = match asker::look(&options.socket) {
        Ok(first) => State::new(first, interval),
        Err(why) => return exit::fail(&words::clean(&why)),
    };
    let done = if options.once {
        print_once(options, first)
    } else {
        watch(options, first).map_err(|error| format!("the terminal: {error}"))
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => exit::fail(&words::clean(&why)),
    }
}

fn interval_of(text: &str) -> Result<Duration, String> {
    match duration_of(text) {
        Ok(time) if INTERVALS.contains(&time) => Ok(time),
        Ok(_) => Err(format!("--interval: {text:?} is not from 100ms to 60s")),
        Err(wrong) => Err(format!("--interval: {text:?} {wrong}")),
    }
}

/// Prints one page, with the rates of one interval.
fn print_once(options: &TopOptions, mut state: State) -> Result<(), String> {
    thread::sleep(state.interval);
    state.take(asker::look(&options.socket)?, None);
    let page = plain::page(&state);
    let written = io::stdout().write_all(page.as_bytes());
    written.map_err(|error| error.to_string())
}

/// Shows the process until the user quits.
fn watch(options: &TopOptions, state: State) -> io::Result<()> {
    // Before any other thread starts.
    let signals = signals::block()?;
    let palette = match env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty()) {
        true => Palette::Plain,
        false => Palette::Colours,
    };
    let screen = Screen::take(palette)?;
    let (events, happened) = channel();
    let errands = asker::start(&options.socket, events.clone());
    let stops = events.clone();
    thread::spawn(move || {
        // Other blocked signals have no effect here.
        while !matches!(
            signals::wait(&signals),
            Err(_) | Ok(signals::Received::Stop | signals::Received::Reload)
        ) {}
        let _ = stops.send(Event::Stop);
    });
    thread::spawn(move || read_terminal(&events));
    let mut watch = Watch {
        state,
        screen,
        errands,
        asked: None,
        next: Instant::now(),
    };
    watch.run(&happened)
}

/// Forwards events of the terminal; this thread ends with the process.
fn read_terminal(events: &Sender<Event>) {
    while let Ok(event) = terminal::read() {
        if events.send(Event::Terminal(event)).is_err() {
            return;
        }
    }
    let _ = events.send(Event::Gone);
}

/// State of the loop.
struct Watch {
    state: State,
    screen: Screen,
    errands: Sender<Errand>,
    /// Time of the unanswered request, if there is one.
    asked: Option<Instant>,
    /// Time of the next request.
    next: Instant,
}

impl Watch {
    fn run(&mut self, happened: &Receiver<Event>) -> io::Result<()> {
        loop {
            self.screen.show(&mut self.state)?;
            let event = match self.patience() {
                Some(time) => happened.recv_timeout(time),
                None => happened.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match event {
                Ok(Event::Terminal(terminal::Event::Key(key))) => match self.state.press(key) {
                    Some(Effect::Quit) => return Ok(()),
                    Some(Effect::Suspend) => self.screen.suspend()?,
                    Some(Effect::Redraw) => self.screen.clear()?,
                    Some(Effect::Look) => self.look(),
                    Some(Effect::Tell(request)) => self.send(Errand::Tell(request)),
                    None => {}
                },
                // The next frame has the size of the terminal.
                Ok(Event::Terminal(_)) => {}
                Ok(Event::Answer(answer)) => self.take(answer),
                Ok(Event::Gone | Event::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    return Ok(());
                }
                Err(RecvTimeoutError::Timeout) => self.on_time(),
            }
        }
    }

    /// Returns the longest time to wait for an event; none = forever.
    fn patience(&self) -> Option<Duration> {
        match self.asked {
            // To update the displayed delay.
            Some(_) => Some(LATE),
            None if self.state.paused => None,
            None => Some(self.next.saturating_duration_since(Instant::now())),
        }
    }

    fn on_time(&mut self) {
        match self.asked {
            Some(at) if self.state.link == Link::Up || matches!(self.state.link, Link::Late(_)) => {
                self.state.link = Link::Late(at.elapsed());
            }
            Some(_) => {}
            None => self.look(),
        }
    }

    /// Requests an overview, unless a request is unanswered.
    fn look(&mut self) {
        if self.asked.is_none() {
            let now = Instant::now();
            self.asked = Some(now);
            self.next = now + self.state.interval;
            let tunnels = self.state.wants_tunnels();
            self.send(Errand::Look { tunnels });
        }
    }

    fn send(&self, errand: Errand) {
        // The thread lives as long as this sender.
        let _ = self.errands.send(errand);
    }

    fn take(&mut self, answer: Answer) {
        match answer {
            Answer::Seen(seen, tunnels) => {
                let asked = self.asked.take();
                match seen {
                    Ok(overview) => self.state.take(*overview, tunnels),
                    Err(why) => {
                        self.state.lose(&why);
                        self.next = asked.unwrap_or_else(Instant::now) + RETRY;
                    }
                }
                // The user has changed to another pane meanwhile.
                if self.state.wants_tunnels() && self.state.tunnels.is_none() {
                    self.next = self.next.min(Instant::now() + INTERVALS.start().to_owned());
                }
            }
            Answer::Told(outcome) => {
                self.state.told(outcome);
                self.look();
            }
        }
    }
}
