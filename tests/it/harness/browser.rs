//! A real browser: headless Chromium, driven by `tests/real/chromium.js`.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::parts::{Part, file, finish};

/// A browser that has not been started yet.
pub(crate) struct Browser {
    node: Command,
    chromium: String,
    options: Vec<String>,
}

impl Browser {
    /// Looks for Chromium and for Node, which drives it; none = the test is skipped.
    pub(crate) fn find() -> Option<Self> {
        let (chromium, node) = (Part::Chromium.command()?, Part::Node.command()?);
        Some(Self {
            node,
            chromium: chromium.get_program().to_str().unwrap().to_owned(),
            options: Vec::new(),
        })
    }

    /// Lets it believe the certificate in this file (PEM or DER), and no other that is not signed by
    /// an authority.
    pub(crate) fn trusting(self, certificate: impl AsRef<Path>) -> Self {
        self.option("--trust", certificate.as_ref())
    }

    /// Lets it keep what the page looks like at the end, as PNG.
    pub(crate) fn picturing(self, picture: impl AsRef<Path>) -> Self {
        self.option("--screenshot", picture.as_ref())
    }

    /// Gives it a window of this many pixels; pictures show the whole page then.
    pub(crate) fn with_window(self, width: u32, height: u32) -> Self {
        self.option("--window", Path::new(&format!("{width}x{height}")))
    }

    /// Lets it prefer `light` or `dark` pages.
    pub(crate) fn preferring(self, scheme: &str) -> Self {
        self.option("--scheme", Path::new(scheme))
    }

    /// Has it yield `value`, `errors` (what the console said and refused) and `requests` (URLs).
    pub(crate) fn watched(self) -> Self {
        self.option("--watch", Path::new("yes"))
    }

    fn option(mut self, name: &str, value: &Path) -> Self {
        self.options.push(name.to_owned());
        self.options.push(value.to_str().unwrap().to_owned());
        self
    }

    /// Opens `url`, evaluates `expression` in the console, and returns what it or its promise yields.
    pub(crate) fn evaluate(mut self, url: &str, expression: &str) -> Value {
        self.node.arg(file("real/chromium.js"));
        self.node.args([&self.chromium, url, expression]);
        let said = finish(self.node.args(&self.options));
        serde_json::from_str(&said).unwrap_or_else(|_| panic!("the browser said {said:?}"))
    }
}
