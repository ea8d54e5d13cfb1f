//! The targets of the log.

use std::io::{self, Stderr};
use std::path::PathBuf;

use super::file::LogFile;
use super::journald::Journald;
use super::line::Line;
use super::stream::Batch;
use super::syslog::Syslog;
use super::time::LocalTime;
use crate::config::{Log, LogTarget};

/// Reason why the log cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be opened.
    #[error("log.target = \"file:{}\": {}", .0.display(), .1)]
    File(PathBuf, #[source] io::Error),
    /// The system refuses to start the thread.
    #[error("log thread: {0}")]
    Thread(#[source] io::Error),
}

/// An open target.
#[derive(Debug)]
pub(super) enum Target {
    Stderr(Stderr, Batch),
    File(LogFile, Batch),
    Syslog(Syslog),
    Journald(Journald),
}

/// A report of lost lines.
#[derive(Debug, Default)]
pub(super) struct Refused {
    /// Lost lines of this call, or of earlier ones that were kept.
    pub(super) lines: u64,
    /// Lines sent earlier that the receiver refused.
    pub(super) earlier: u64,
    /// The system's error, if there was one.
    pub(super) error: Option<io::Error>,
}

impl Target {
    /// Opens the target of `log.target`; a receiver of datagrams may be absent.
    ///
    /// # Errors
    /// A file cannot be opened.
    pub(super) fn open(log: &Log, time: &LocalTime) -> Result<Self, LogError> {
        let facility = log.facility_number();
        Ok(match &log.target {
            LogTarget::Stderr => Self::Stderr(io::stderr(), Batch::default()),
            LogTarget::File(path) => {
                let opened = LogFile::open(path);
                let file = opened.map_err(|error| LogError::File(path.clone(), error))?;
                Self::File(file, Batch::default())
            }
            LogTarget::Journald => Self::Journald(Journald::of_system(facility)),
            LogTarget::SyslogUdp(receiver, _) => {
                Self::Syslog(Syslog::udp(receiver, facility, time.clone()))
            }
            LogTarget::SyslogUnix(path) => Self::Syslog(Syslog::unix(path, facility, time.clone())),
        })
    }

    /// Tries to reach a receiver of datagrams.
    ///
    /// # Errors
    /// The reason why it cannot be reached now.
    pub(super) fn prepare(&mut self) -> io::Result<()> {
        match self {
            Self::Stderr(..) | Self::File(..) => Ok(()),
            Self::Syslog(syslog) => syslog.prepare(),
            Self::Journald(journald) => journald.prepare(),
        }
    }

    /// Writes a line that represents `weight` lines; some targets keep it until [`Target::flush`].
    ///
    /// # Errors
    /// Lost lines, this one or earlier ones.
    pub(super) fn take(&mut self, line: &Line<'_>, weight: u64) -> Result<(), Refused> {
        match self {
            Self::Stderr(_, batch) | Self::File(_, batch) => {
                if batch.add(&line.preface(), line.text) {
                    return self.flush();
                }
                Ok(())
            }
            Self::Syslog(syslog) => {
                let sent = syslog.send(line, weight);
                let earlier = syslog.take_refused();
                match sent {
                    Ok(()) if earlier == 0 => Ok(()),
                    Ok(()) => Err(Refused {
                        earlier,
                        ..Refused::default()
                    }),
                    Err(error) => Err(Refused {
                        lines: weight,
                        earlier,
                        error: Some(error),
                    }),
                }
            }
            Self::Journald(journald) => journald.send(line).map_err(|error| Refused {
                lines: weight,
                earlier: 0,
                error: Some(error),
            }),
        }
    }

    /// Writes the lines that were kept.
    ///
    /// # Errors
    /// Lost lines.
    pub(super) fn flush(&mut self) -> Result<(), Refused> {
        let written = match self {
            Self::Stderr(stderr, batch) => batch.write_to(&*stderr),
            Self::File(file, batch) => batch.write_to(&*file),
            Self::Syslog(_) | Self::Journald(_) => Ok(()),
        };
        written.map_err(|(error, lines)| Refused {
            lines,
            earlier: 0,
            error: Some(error),
        })
    }

    /// Opens a file again: on request (`told`), or because the path has become another file.
    ///
    /// # Errors
    /// The path cannot be opened; the previous file stays in use.
    pub(super) fn renew(&mut self, told: bool) -> io::Result<()> {
        match self {
            Self::File(file, _) if told => file.reopen(),
            Self::File(file, _) => file.look(),
            Self::Stderr(..) | Self::Syslog(_) | Self::Journald(_) => Ok(()),
        }
    }

    /// Returns whether it is standard error.
    pub(super) fn is_stderr(&self) -> bool {
        matches!(self, Self::Stderr(..))
    }
}
