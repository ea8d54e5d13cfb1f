//! The manual: every page under `src/manual`, with the topic by which `longsplice help` finds it.
//!
//! The pages are Markdown and are compiled into the binary, so that a binary and its manual always fit
//! together. Nothing here prints: `cli` does.

pub mod roff;
#[cfg(test)]
mod tests;

/// A part of the manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The first page to read.
    Start,
    /// How to do something.
    Guides,
    /// Every key, field, cause and metric.
    Reference,
    /// How the code works, for contributors.
    Internals,
    /// Why the code works that way.
    Decisions,
}

impl Part {
    /// All parts, in reading order.
    pub const ALL: [Self; 5] = [
        Self::Start,
        Self::Guides,
        Self::Reference,
        Self::Internals,
        Self::Decisions,
    ];

    /// Returns the heading of the part in a list of topics.
    #[must_use]
    pub fn heading(self) -> &'static str {
        match self {
            Self::Start => "Start",
            Self::Guides => "Guides",
            Self::Reference => "Reference",
            Self::Internals => "For contributors",
            Self::Decisions => "Decisions",
        }
    }
}

/// One page.
#[derive(Debug, Clone, Copy)]
pub struct ManualPage {
    /// Where it stands in the list of topics.
    pub part: Part,
    /// The name by which it is asked for.
    pub topic: &'static str,
    /// Its file below `src/manual`.
    pub path: &'static str,
    /// The page, in Markdown. Begins with `# TITLE` and a paragraph.
    pub text: &'static str,
}

macro_rules! page {
    ($part:ident, $topic:literal, $path:literal) => {
        ManualPage {
            part: Part::$part,
            topic: $topic,
            path: $path,
            text: include_str!($path),
        }
    };
}

/// Every page, in reading order.
pub const PAGES: &[ManualPage] = &[
    page!(Start, "start", "start.md"),
    page!(Guides, "aws", "guide/aws.md"),
    page!(Guides, "tls", "guide/tls.md"),
    page!(Guides, "balancing", "guide/balancing.md"),
    page!(Guides, "health", "guide/health.md"),
    page!(Guides, "routing", "guide/routing.md"),
    page!(Guides, "reload-and-drain", "guide/reload-and-drain.md"),
    page!(Guides, "privileges", "guide/privileges.md"),
    page!(Guides, "logs", "guide/logs.md"),
    page!(Guides, "watching", "guide/watching.md"),
    page!(Guides, "from-nginx", "guide/from-nginx.md"),
    page!(Guides, "from-haproxy", "guide/from-haproxy.md"),
    page!(Reference, "configuration", "reference/configuration.md"),
    page!(Reference, "log-fields", "reference/log-fields.md"),
    page!(Reference, "causes", "reference/causes.md"),
    page!(Reference, "metrics", "reference/metrics.md"),
    page!(Internals, "map", "internals/map.md"),
    page!(Internals, "threads", "internals/threads.md"),
    page!(Internals, "tls-legs", "internals/tls-legs.md"),
    page!(Internals, "testing", "internals/testing.md"),
    page!(Internals, "releasing", "internals/releasing.md"),
    page!(
        Decisions,
        "decision-001",
        "internals/decisions/001-two-kinds-of-threads.md"
    ),
    page!(
        Decisions,
        "decision-002",
        "internals/decisions/002-readiness-from-the-ring-bytes-by-system-calls.md"
    ),
    page!(
        Decisions,
        "decision-003",
        "internals/decisions/003-copy-first-splice-when-bulky.md"
    ),
    page!(
        Decisions,
        "decision-004",
        "internals/decisions/004-rustls-taken-apart-into-keys.md"
    ),
    page!(
        Decisions,
        "decision-005",
        "internals/decisions/005-offload-per-direction-one-way.md"
    ),
    page!(
        Decisions,
        "decision-006",
        "internals/decisions/006-refuse-never-repair.md"
    ),
    page!(
        Decisions,
        "decision-007",
        "internals/decisions/007-reload-in-place.md"
    ),
    page!(
        Decisions,
        "decision-008",
        "internals/decisions/008-places-without-a-lock.md"
    ),
    page!(
        Decisions,
        "decision-009",
        "internals/decisions/009-one-cause-per-end-a-log-that-drops.md"
    ),
    page!(
        Decisions,
        "decision-010",
        "internals/decisions/010-confine-the-process-after-start.md"
    ),
];

/// Returns the page on `topic`.
#[must_use]
pub fn page(topic: &str) -> Option<&'static ManualPage> {
    PAGES.iter().find(|page| page.topic == topic)
}

impl ManualPage {
    /// Returns the title, without the `# ` of Markdown.
    #[must_use]
    pub fn title(&self) -> &'static str {
        let line = self.text.lines().next().unwrap_or_default();
        line.trim_start_matches('#').trim()
    }

    /// Returns one line on the page: the first sentence, or, of a decision, the title.
    #[must_use]
    pub fn summary(&self) -> String {
        match self.part {
            Part::Decisions => self.title().to_owned(),
            Part::Start | Part::Guides | Part::Reference | Part::Internals => self.first_sentence(),
        }
    }

    fn first_sentence(&self) -> String {
        let lines = self.text.lines().skip(1);
        let paragraph: Vec<&str> = lines
            .skip_while(|line| line.is_empty())
            .take_while(|line| !line.is_empty())
            .collect();
        let paragraph = paragraph.join(" ").replace("**", "").replace('`', "");
        match paragraph.split_once(". ") {
            Some((sentence, _)) => format!("{sentence}."),
            None => paragraph,
        }
    }
}
