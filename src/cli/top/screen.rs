//! The terminal: taken over, and always restored.

use std::io::{self, BufWriter, Stdout, Write, stdout};
use std::panic;
use std::process;

use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use nix::sys::signal::{Signal, raise};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;

use super::draw::{Palette, draw};
use super::state::State;

/// Room for a frame, so that it is written at once.
const FRAME_LEN: usize = 64 * 1024;
/// Exit code after a panic, as without a terminal.
const EXIT_PANIC: i32 = 101;

/// The terminal while we use it; restored when this is dropped.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
    palette: Palette,
}

impl Screen {
    /// Takes the terminal over. A panic, on any thread, restores it and ends the process.
    ///
    /// # Errors
    /// The terminal's error.
    pub(super) fn take(palette: Palette) -> io::Result<Self> {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |what| {
            give_back();
            before(what);
            process::exit(EXIT_PANIC);
        }));
        let out = BufWriter::with_capacity(FRAME_LEN, stdout());
        let terminal = Terminal::new(CrosstermBackend::new(out))?;
        enter()?;
        Ok(Self { terminal, palette })
    }

    /// Shows the state; only what changed is written.
    ///
    /// # Errors
    /// The terminal's error.
    pub(super) fn show(&mut self, state: &mut State) -> io::Result<()> {
        let palette = self.palette;
        self.terminal
            .draw(|frame| draw(frame.buffer_mut(), state, palette))?;
        Ok(())
    }

    /// Discards the known contents of the screen.
    ///
    /// # Errors
    /// The terminal's error.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        // Not `Terminal::clear`: it asks the terminal for the position of the cursor, and the thread that
        // reads keys takes the answer.
        let size = self.terminal.size()?;
        self.terminal.resize(size.into())
    }

    /// Gives the terminal back to the shell until the shell resumes us.
    ///
    /// # Errors
    /// The terminal's error.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        give_back();
        raise(Signal::SIGTSTP)?;
        enter()?;
        self.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen, Hide)
}

fn give_back() {
    // An error means that the terminal is closed.
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    let _ = stdout().flush();
    let _ = disable_raw_mode();
}
