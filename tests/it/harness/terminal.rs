//! A real terminal, with a shell in it: a session of tmux that nobody looks at.

use std::process::Command;

use tempfile::TempDir;

use super::eventually;
use super::parts::{Part, finish};

/// The terminal; its tmux, which serves nobody else, ends with this value.
pub(crate) struct Terminal {
    dir: TempDir,
}

impl Terminal {
    /// Opens a terminal of this size, or none after saying that the test is skipped.
    pub(crate) fn open(width: u16, height: u16) -> Option<Self> {
        Part::Tmux.command()?;
        let terminal = Self {
            dir: TempDir::new().unwrap(),
        };
        let (width, height) = (width.to_string(), height.to_string());
        let size = ["-x", &width, "-y", &height];
        terminal.tmux(
            &[
                &["-f", "/dev/null", "new-session", "-d"][..],
                &size,
                &["sh"],
            ]
            .concat(),
        );
        // A shell of root takes no prompt from outside; typed like this it is no prompt yet.
        terminal.keys(&["PS1='re''ady$ '; clear", "Enter"]);
        terminal.wait_text("ready$");
        Some(terminal)
    }

    fn tmux(&self, words: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command
            .arg("-u")
            .arg("-S")
            .arg(self.dir.path().join("tmux"));
        command.args(words).env_remove("TMUX").env_remove("ENV");
        finish(command.env("LC_ALL", "C.UTF-8"))
    }

    /// Has the shell run longsplice with these words, and then say `exit:CODE`.
    pub(crate) fn run(&self, words: &str) {
        let program = super::process::binary();
        let pid = self.dir.path().join("pid");
        let line = format!(
            "sh -c 'echo $$ > {}; exec {} {words}'; echo exit:$?",
            pid.display(),
            program.display()
        );
        self.keys(&["-l", &line]);
        self.keys(&["Enter"]);
    }

    /// Writes over what is shown, as another program does that has the terminal too.
    pub(crate) fn scribble(&self, text: &str) {
        let tty = self.tmux(&["display-message", "-p", "#{pane_tty}"]);
        std::fs::write(tty.trim(), format!("\x1b[5;5H{text}")).unwrap();
        self.wait_text(text);
    }

    /// Returns the process id of what [`Terminal::run`] ran.
    pub(crate) fn pid(&self) -> i32 {
        let text = std::fs::read_to_string(self.dir.path().join("pid")).unwrap();
        text.trim().parse().unwrap()
    }

    /// Presses keys, as tmux names them.
    pub(crate) fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Gives the terminal another size.
    pub(crate) fn resize(&self, width: u16, height: u16) {
        let (width, height) = (width.to_string(), height.to_string());
        self.tmux(&["resize-window", "-x", &width, "-y", &height]);
    }

    /// Returns what is on the screen.
    pub(crate) fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Returns what is on the screen with the commands that colour it.
    pub(crate) fn styled(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e"])
    }

    /// Waits for a screen that `fits`, and returns it.
    pub(crate) fn wait(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        let mut screen = String::new();
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually(what, || {
                screen = self.screen();
                fits(&screen)
            });
        }));
        assert!(seen.is_ok(), "no screen with {what}; the last:\n{screen}");
        screen
    }

    /// Waits for a text on the screen.
    pub(crate) fn wait_text(&self, text: &str) -> String {
        self.wait(text, |screen| screen.contains(text))
    }

    /// Waits for the end of what was run with this exit code, and demands that the terminal is as it
    /// was before: its first screen, a cursor, echo, whole lines.
    pub(crate) fn expect_given_back(&self, code: i32) {
        let screen = self.wait_text(&format!("exit:{code}"));
        assert!(screen.contains("ready$"), "another screen:\n{screen}");
        let state = self.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]);
        assert_eq!(state.trim(), "0 1", "alternate screen and cursor");
        self.keys(&["clear; stty -a", "Enter"]);
        let modes = self.wait_text("icanon");
        for off in ["-icanon", "-echo ", "-isig", "-icrnl", "-opost"] {
            assert!(!modes.contains(off), "{off} is left:\n{modes}");
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let socket = self.dir.path().join("tmux");
        let mut command = Command::new("tmux");
        // Already gone is fine.
        let _ = command.arg("-S").arg(socket).arg("kill-server").output();
    }
}
