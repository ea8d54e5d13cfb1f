//! `run --listen ADDR --to ADDR ...`: the options become a configuration text, so that the same rules apply;
//! errors name the option instead of a position.

use std::path::{Path, PathBuf};

use super::page::quoted;
use super::{Config, Error, Errors, parse};

/// The options as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneLiner {
    /// `--listen`.
    pub listen: String,
    /// `--to`.
    pub to: String,
    /// `--mode`.
    pub mode: String,
    /// `--tls-cert`.
    pub tls_cert: Option<PathBuf>,
    /// `--tls-key`.
    pub tls_key: Option<PathBuf>,
    /// `--proxy-protocol`.
    pub proxy_protocol: String,
    /// `--trust`, in the order typed.
    pub trust: Vec<String>,
    /// `--send-proxy`.
    pub send_proxy: Option<String>,
}

/// The option for a key path; the first matching prefix counts.
const OPTIONS: [(&str, &str); 9] = [
    ("listener[0].bind", "--listen"),
    ("listener[0].name", "--listen"),
    ("listener[0].mode", "--mode"),
    ("listener[0].proxy_protocol", "--proxy-protocol"),
    ("listener[0].trusted_proxies", "--trust"),
    ("listener[0].tls.certificates[0].key", "--tls-key"),
    ("listener[0].tls", "--tls-cert"),
    ("backend[0].server[0].address", "--to"),
    ("backend[0].send_proxy", "--send-proxy"),
];

impl OneLiner {
    /// Returns the configuration of the options; relative paths start at the working directory.
    ///
    /// # Errors
    /// Every error, under the name of its option.
    pub fn into_config(self) -> Result<Config, Errors> {
        let file = Path::new("command line");
        let (mut config, warnings) =
            parse::config(&self.text(), file).map_err(|errors| errors.map(by_option))?;
        let warning = |warning: &Error| by_option(warning.clone()).to_string();
        config.warnings = warnings.iter().map(warning).collect();
        Ok(config)
    }

    fn text(&self) -> String {
        let mut lines = vec![
            "[[listener]]".to_owned(),
            setting("bind", &self.listen),
            setting("mode", &self.mode),
            setting("proxy_protocol", &self.proxy_protocol),
        ];
        let trusted: Vec<String> = self.trust.iter().map(|range| quoted(range)).collect();
        lines.push(format!("trusted_proxies = [{}]", trusted.join(", ")));
        lines.push("route = [{ backend = \"to\" }]".to_owned());
        if let Some(cert) = &self.tls_cert {
            let cert = setting("cert", &cert.to_string_lossy());
            let key = self.tls_key.as_ref();
            let key = key.map_or_else(String::new, |key| {
                format!(", {}", setting("key", &key.to_string_lossy()))
            });
            lines.push(format!("tls.certificates = [{{ {cert}{key} }}]"));
        }
        lines.push("[[backend]]".to_owned());
        lines.push(setting("name", "to"));
        lines.extend(
            self.send_proxy
                .iter()
                .map(|version| setting("send_proxy", version)),
        );
        lines.push(format!("server = [{{ {} }}]", setting("address", &self.to)));
        lines.join("\n")
    }
}

fn setting(key: &str, value: &str) -> String {
    format!("{key} = {}", quoted(value))
}

fn by_option(error: Error) -> Error {
    Error {
        position: None,
        key: option(&error.key).to_owned(),
        message: error.message,
    }
}

/// Returns the option for a key path, or the key path itself if no option sets the key.
fn option(key: &str) -> &str {
    let behind = OPTIONS.iter().find(|(prefix, _)| key.starts_with(prefix));
    behind.map_or(key, |(_, option)| option)
}
