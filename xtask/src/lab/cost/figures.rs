//! Figures of `benches/cost.rs`: read, set beside each other, judged.
//!
//! Pure: text in, text out.

use std::fmt::Write as _;

/// The values of `tls.offload`; the first is what the others are measured by.
const OFFLOADS: &[&str] = &["never", "always", "adaptive"];
/// By how much repetitions may differ, in percent of their mean.
const SPREAD_PERCENT_MAX: f64 = 2.0;

/// One figure.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    work: String,
    suite: String,
    offload: String,
    repetition: u32,
    instructions: f64,
}

/// All of a boot.
#[derive(Debug, Default)]
pub(super) struct Figures {
    rows: Vec<Row>,
    has_ended: bool,
}

impl Figures {
    /// Reads what the guest said.
    pub(super) fn of(said: &str) -> Self {
        Self {
            rows: said.lines().filter_map(row).collect(),
            has_ended: said
                .lines()
                .any(|line| line == "longsplice-lab: cost ended 0"),
        }
    }

    /// Whether the load came to its end.
    pub(super) fn is_complete(&self) -> bool {
        self.has_ended && !self.rows.is_empty()
    }

    /// Writes means as a table of Markdown, with ratios to `never`, work by work.
    pub(super) fn table(&self) -> String {
        let mut text = String::from(
            "| work | suite | never | always | adaptive | always / never | adaptive / never | spread |\n\
             |---|---|---:|---:|---:|---:|---:|---:|\n",
        );
        for (work, suite) in self.kinds() {
            let means: Vec<Option<f64>> = OFFLOADS
                .iter()
                .map(|offload| mean(&self.repetitions(work, suite, offload)))
                .collect();
            let ratio = |at: usize| {
                let (base, value) = (means.first().copied()??, means.get(at).copied()??);
                Some(format!("{:.3}", value / base))
            };
            let cells = means
                .iter()
                .map(|mean| mean.map(|mean| format!("{mean:.0}")));
            let spread = self.spreads(work, suite).fold(0.0, f64::max);
            let cells = cells
                .chain([ratio(1), ratio(2), Some(format!("{spread:.2} %"))])
                .map(|cell| cell.unwrap_or_else(|| "-".to_owned()));
            let cells: Vec<String> = cells.collect();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| {work} | {suite} | {} |", cells.join(" | "));
        }
        text
    }

    /// Writes the rows as CSV.
    pub(super) fn csv(&self) -> String {
        let mut text = String::from("work,suite,offload,repetition,instructions\n");
        for row in &self.rows {
            let Row {
                work,
                suite,
                offload,
                repetition,
                instructions,
            } = row;
            let _ = writeln!(
                text,
                "{work},{suite},{offload},{repetition},{instructions:.0}"
            );
        }
        text
    }

    /// Returns what keeps the figures from being believed.
    pub(super) fn findings(&self) -> Vec<String> {
        let mut findings = Vec::new();
        if !self.is_complete() {
            findings.push("the load did not come to its end".to_owned());
        }
        for (work, suite) in self.kinds() {
            for offload in OFFLOADS {
                let values = self.repetitions(work, suite, offload);
                let spread = spread_percent(&values);
                if spread > SPREAD_PERCENT_MAX {
                    findings.push(format!(
                        "{work} {suite} {offload}: {values:?} differ by {spread:.1} %"
                    ));
                }
            }
        }
        findings
    }

    /// Work and suite of the figures, in the order of the guest.
    fn kinds(&self) -> Vec<(&str, &str)> {
        let mut kinds: Vec<(&str, &str)> = Vec::new();
        for row in &self.rows {
            let kind = (row.work.as_str(), row.suite.as_str());
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        kinds
    }

    fn repetitions(&self, work: &str, suite: &str, offload: &str) -> Vec<f64> {
        let is_it = |row: &&Row| row.work == work && row.suite == suite && row.offload == offload;
        let rows = self.rows.iter().filter(is_it);
        rows.map(|row| row.instructions).collect()
    }

    fn spreads(&self, work: &str, suite: &str) -> impl Iterator<Item = f64> {
        OFFLOADS
            .iter()
            .map(move |offload| spread_percent(&self.repetitions(work, suite, offload)))
    }
}

fn row(line: &str) -> Option<Row> {
    let mut words = line.strip_prefix("cost ")?.split_whitespace();
    let mut word = || words.next().map(str::to_owned);
    Some(Row {
        work: word()?,
        suite: word()?,
        offload: word()?,
        repetition: word()?.parse().ok()?,
        instructions: word()?.parse().ok()?,
    })
}

fn mean(values: &[f64]) -> Option<f64> {
    let count = u32::try_from(values.len())
        .ok()
        .filter(|&count| count > 0)?;
    Some(values.iter().sum::<f64>() / f64::from(count))
}

/// Returns the difference between the largest and the smallest in percent of the mean.
fn spread_percent(values: &[f64]) -> f64 {
    let largest = values.iter().copied().fold(f64::MIN, f64::max);
    let smallest = values.iter().copied().fold(f64::MAX, f64::min);
    mean(values).map_or(0.0, |mean| (largest - smallest) / mean * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "longsplice-lab: kernel 6.1\n\
        cost echo-100B aes never 0 1000\ncost echo-100B aes always 0 1300\n\
        a warning\ncost echo-100B aes never 1 1010\ncost echo-100B aes always 1 1300\n\
        longsplice-lab: cost ended 0\n";

    #[test]
    fn figures_are_set_beside_each_other() {
        let figures = Figures::of(SAID);
        assert!(figures.findings().is_empty());
        let table = figures.table();
        let line = "| echo-100B | aes | 1005 | 1300 | - | 1.294 | - | 1.00 % |";
        assert!(table.ends_with(&format!("{line}\n")), "{table}");
        assert!(figures.csv().ends_with("echo-100B,aes,always,1,1300\n"));
    }

    #[test]
    fn figures_that_differ_are_not_believed() {
        let findings = Figures::of(&SAID.replace("never 1 1010", "never 1 1030")).findings();
        assert_eq!(findings.len(), 1);
        assert!(findings[0].contains("differ by 3.0 %"), "{findings:?}");
    }

    #[test]
    fn a_load_that_did_not_end_is_a_finding() {
        assert_eq!(
            Figures::of(&SAID.replace("ended 0", "ended 1"))
                .findings()
                .len(),
            1
        );
        assert_eq!(Figures::of("").findings().len(), 1);
    }
}
