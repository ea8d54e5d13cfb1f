//! Reload in place: every error is found first, and then nothing is changed; a valid configuration is applied
//! within one pass of the control thread.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use tokio::task::spawn_blocking;

use super::backends::PreparedTls;
use super::certificates::Watched;
use super::changes::{Changes, keep_what_takes_a_restart};
use super::inherited::Inherited;
use super::limits::raise_descriptor_limit;
use super::listeners::Opening;
use super::running::{ReloadReply, Running};
use super::sources::scene;
use super::start_error::StartError;
use crate::config::{self, Bind, Config, Log};
use crate::log::{self, diagnostics};
use crate::sys::signals::Received;

/// Reasons why a reload changed nothing: every error, one a line, as `longsplice check` prints them.
struct Unchanged(Vec<String>);

/// A configuration with all its resources open.
struct Prepared {
    config: Config,
    opening: Opening,
    client_tls: PreparedTls,
    log: log::LogChange,
}

/// The state on which preparing depends.
struct Present {
    file: PathBuf,
    binds: HashSet<Bind>,
    threads: usize,
    log: Log,
}

impl Present {
    /// Reads the configuration and opens its resources; blocks as long as files and names take.
    fn prepare(&self) -> Result<Prepared, Unchanged> {
        let config = config::load(&self.file).map_err(|errors| lines_of(&errors.to_string()))?;
        let opening = Opening::prepare(
            &config,
            &self.binds,
            self.threads,
            &mut Inherited::default(),
        );
        let log = log::LogChange::prepare(&self.log, &config.log);
        let client_tls = PreparedTls::of(&config.backends)
            .map_err(|(backend, wrong)| StartError::ClientTls(backend, wrong));
        match (opening, client_tls, log) {
            (Ok(opening), Ok(client_tls), Ok(log)) => Ok(Prepared {
                config,
                opening,
                client_tls,
                log,
            }),
            (opening, client_tls, log) => {
                let mut errors = opening.err().unwrap_or_default();
                errors.extend(client_tls.err());
                errors.extend(log.err().map(StartError::from));
                let file = self.file.display();
                let lines = errors.iter().map(|error| format!("{file}: {error}"));
                Err(Unchanged(lines.collect()))
            }
        }
    }
}

fn lines_of(text: &str) -> Unchanged {
    Unchanged(text.lines().map(str::to_owned).collect())
}

impl Running {
    /// Reads the configuration again and applies it; breaks if a stop signal came meanwhile.
    pub(super) async fn reload(&mut self, reply: ReloadReply) -> ControlFlow<()> {
        let began = Instant::now();
        self.notifier.reloading();
        let outcome = match &self.config.source {
            Some(file) => self.prepare(file).await?,
            None => Err(Unchanged(vec![
                "it was started with options; there is no file to read again".to_owned(),
            ])),
        };
        let outcome = match outcome {
            Ok(prepared) => self.confined(prepared),
            Err(unchanged) => Err(unchanged),
        };
        let outcome = match outcome {
            Ok(prepared) => Ok(self.apply(prepared, began).await),
            Err(unchanged) => Err(unchanged),
        };
        if let Err(Unchanged(errors)) = &outcome {
            diagnostics::reopen();
            tracing::error!(errors = errors.len(), "not reloaded; nothing has changed");
            for error in errors {
                tracing::error!("{error}");
            }
        }
        self.notifier.ready("serving");
        if let Some(reply) = reply {
            // The client may have stopped waiting for the answer.
            let _ = reply.send(outcome.map_err(|unchanged| unchanged.0));
        }
        ControlFlow::Continue(())
    }

    /// Prepares on another thread; signals are handled meanwhile.
    async fn prepare(&self, file: &Path) -> ControlFlow<(), Result<Prepared, Unchanged>> {
        loop {
            let present = Present {
                file: file.to_owned(),
                binds: self.listeners.binds(),
                threads: self.listeners.threads(),
                log: self.config.log.clone(),
            };
            let mut preparing = spawn_blocking(move || present.prepare());
            let mut again = false;
            let prepared = loop {
                tokio::select! {
                    prepared = &mut preparing => break prepared,
                    received = self.signals.next() => match received {
                        Ok(Received::Reload) => again = true,
                        Ok(Received::Reopen) => diagnostics::reopen(),
                        Ok(Received::Stop) | Err(_) => return ControlFlow::Break(()),
                    },
                }
            };
            if !again {
                let panicked = |_| lines_of("internal-error: preparing it was given up");
                return ControlFlow::Continue(prepared.map_err(panicked).flatten());
            }
        }
    }

    /// Refuses a configuration that the sandbox would not let this process use later.
    fn confined(&self, prepared: Prepared) -> Result<Prepared, Unchanged> {
        // Keys that only a restart can change need nothing now.
        let mut config = prepared.config.clone();
        keep_what_takes_a_restart(&self.config, &mut config);
        match self.sandbox.lacks(&config) {
            None => Ok(prepared),
            Some(place) => Err(Unchanged(vec![format!(
                "server.sandbox: this process may not go to {} any more; that takes a restart",
                place.display()
            )])),
        }
    }

    /// Applies a prepared configuration; nothing can fail any more. It only waits a moment for the first
    /// checks of new backends.
    async fn apply(&mut self, prepared: Prepared, began: Instant) -> Vec<String> {
        let Prepared {
            mut config,
            opening,
            client_tls,
            log,
        } = prepared;
        let mut warnings = config.warnings.clone();
        let keys = keep_what_takes_a_restart(&self.config, &mut config);
        if !keys.is_empty() {
            let keys = keys.join(", ");
            warnings.push(format!("in effect after a restart only: {keys}"));
        }
        let changes = Changes::between(&self.config, &config);
        // A level that the operator has set meanwhile stays, unless the file changes it.
        if config.log.level != self.config.log.level {
            diagnostics::set_level(config.log.level);
        }
        diagnostics::set_format(config.log.format);
        self.log_settings.apply(log);
        let max_connections = config.process.max_connections;
        if max_connections > self.config.process.max_connections {
            raise_descriptor_limit(max_connections);
        }
        self.places.resize(max_connections);
        let nameservers = &config.process.nameservers;
        let asks_others = *nameservers != self.config.process.nameservers;
        let to_servers = self
            .backends
            .apply(&config.backends, client_tls, nameservers, asks_others)
            .await;
        let (listeners, upstreams) = (&config.listeners, self.backends.upstreams());
        let shown = self.listeners.apply(listeners, &upstreams, opening);
        let scene = scene(&config, &upstreams);
        self.sources.scene.store(Arc::new(scene));
        if let Err(error) = self.watch.replace(Watched { shown, to_servers }) {
            let text = format!("certificates are not looked after: {error}");
            warnings.push(text);
        }
        self.config = config;
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        let ms = began.elapsed().as_millis();
        tracing::info!(%changes, ms, "reloaded");
        let mut said = vec![format!("reloaded in {ms} ms: {changes}")];
        said.extend(warnings);
        said
    }
}
