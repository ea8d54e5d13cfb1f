//! `/metrics`: every counter, in the text format of Prometheus.
//!
//! No state is kept here: `scrape` reads the counters, `families` declares each metric once, `page` writes
//! its rows, and `reference` lists the metrics for the manual.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text};
use prometheus_client::registry::Registry;

use super::sample::Sampler;

mod families;
mod page;
mod reference;
mod scrape;

pub use reference::reference;

use families::FAMILIES;
use page::Rows;
use scrape::Scrape;

/// Media type of the page.
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// Writes the page of a scrape.
///
/// # Errors
/// Never in practice: the text is written into memory.
pub async fn text(sampler: &Sampler) -> Result<String, fmt::Error> {
    page_of(Scrape::take(sampler).await)
}

fn page_of(scrape: Scrape) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("longsplice");
    registry.register_collector(Box::new(scrape));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        FAMILIES.iter().try_for_each(|family| {
            let words = (family.name, family.help);
            let mut rows = Rows::begin(&mut encoder, words, family.kind, family.labels)?;
            (family.collect)(self, &mut rows)
        })
    }
}

#[cfg(test)]
mod tests;
