//! The effective configuration as TOML that parses to the same configuration again.

use std::fmt::{self, Display};

use super::Config;
use super::keys::Draft;
use super::page::Page;

impl Display for Config {
    /// Writes every key that has a value, defaults included. Keys that are off are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut page = Page::default();
        Draft::of(self).print(&mut page);
        f.write_str(page.as_str())
    }
}
