//! Figures of `benches/cost`: read, set beside each other, judged.
//!
//! Pure: text in, text out.

use std::fmt::Write as _;

/// By how much repetitions may differ, in percent of their mean.
const SPREAD_PERCENT_MAX: f64 = 2.0;

/// Variants of the proxy that do the same work.
#[derive(Debug)]
struct Comparison {
    name: &'static str,
    /// The key that distinguishes works of the same name.
    kind: &'static str,
    /// The first is what the others are measured by.
    variants: &'static [&'static str],
    target: Option<Target>,
}

/// How many instructions a variant may take, for one of the first variant.
#[derive(Debug)]
struct Target {
    ratio_max: f64,
    /// Works whose ratio is shown and not judged.
    except: &'static [&'static str],
}

/// What `benches/cost` compares.
const COMPARISONS: &[Comparison] = &[
    Comparison {
        name: "offload",
        kind: "suite",
        variants: &["never", "always", "adaptive"],
        target: None,
    },
    Comparison {
        name: "observed",
        kind: "mode",
        variants: &["off", "on"],
        // An opening and an end have their lines; what is in between is to be as it was.
        target: Some(Target {
            ratio_max: 1.02,
            except: &["open"],
        }),
    },
];

/// The names of all comparisons.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    COMPARISONS.iter().map(|comparison| comparison.name)
}

/// One figure.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    comparison: String,
    work: String,
    kind: String,
    variant: String,
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
    /// Parses the guest's output.
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

    /// Writes means as tables of Markdown, with ratios to the first variant, and what is met.
    pub(super) fn tables(&self) -> String {
        let tables = COMPARISONS.iter().map(|comparison| self.table(comparison));
        let tables: Vec<String> = tables.filter(|table| !table.is_empty()).collect();
        tables.join("\n")
    }

    /// Nothing, if none of its works was done.
    fn table(&self, comparison: &Comparison) -> String {
        let kinds = self.kinds(comparison);
        let mut text = String::new();
        if kinds.is_empty() {
            return text;
        }
        let variants = comparison.variants;
        let (first, others) = variants.split_first().unwrap_or((&"", &[]));
        let ratios = others.iter().map(|other| format!("{other} / {first}"));
        let mut heads: Vec<String> = vec!["work".to_owned(), comparison.kind.to_owned()];
        heads.extend(variants.iter().map(|&variant| variant.to_owned()));
        heads.extend(ratios);
        heads.push("spread".to_owned());
        let numbers = "---:|".repeat(heads.len() - 2);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {} |\n|---|---|{numbers}", heads.join(" | "));
        for kind in &kinds {
            let values = |variant: &&str| mean(&self.repetitions(kind, variant));
            let means = variants.iter().map(values);
            let means = means.map(|mean| mean.map(|mean| format!("{mean:.0}")));
            let ratio = |variant: &&str| self.ratio(kind, first, variant);
            let ratios = others.iter().map(ratio);
            let ratios = ratios.map(|ratio| ratio.map(|ratio| format!("{ratio:.3}")));
            let spreads = variants.iter().map(|variant| self.spread(kind, variant));
            let spread = spreads.fold(0.0, f64::max);
            let cells = means.chain(ratios).chain([Some(format!("{spread:.2} %"))]);
            let cells: Vec<String> = cells
                .map(|cell| cell.unwrap_or_else(|| "-".to_owned()))
                .collect();
            let Kind { work, kind, .. } = kind;
            let _ = writeln!(text, "| {work} | {kind} | {} |", cells.join(" | "));
        }
        let verdicts = self.judgements(comparison);
        if !verdicts.is_empty() {
            text.push('\n');
        }
        for verdict in verdicts {
            let _ = writeln!(text, "- {}", verdict.text);
        }
        text
    }

    /// Returns the result of each target.
    fn judgements(&self, comparison: &Comparison) -> Vec<Judgement> {
        let Some(Target { ratio_max, except }) = &comparison.target else {
            return Vec::new();
        };
        let (first, others) = comparison.variants.split_first().unwrap_or((&"", &[]));
        let kinds = self.kinds(comparison);
        let judged = kinds.iter().filter(|kind| !except.contains(&kind.work));
        let each = judged.flat_map(|kind| others.iter().map(move |variant| (kind, *variant)));
        each.map(|(kind, variant)| {
            let ratio = self.ratio(kind, first, variant);
            let is_met = ratio.is_some_and(|ratio| ratio <= *ratio_max);
            let ratio = ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
            let verdict = if is_met { "met" } else { "MISSED" };
            let Kind { work, kind, .. } = kind;
            Judgement {
                is_met,
                text: format!(
                    "{work} {kind} {variant} / {first}: {ratio}, at most {ratio_max:.2}: {verdict}"
                ),
            }
        })
        .collect()
    }

    /// Writes the rows as CSV.
    pub(super) fn csv(&self) -> String {
        let mut text = String::from("comparison,work,kind,variant,repetition,instructions\n");
        for row in &self.rows {
            let Row {
                comparison,
                work,
                kind,
                variant,
                repetition,
                instructions,
            } = row;
            let _ = writeln!(
                text,
                "{comparison},{work},{kind},{variant},{repetition},{instructions:.0}"
            );
        }
        text
    }

    /// Returns the reasons to distrust the figures, and missed targets.
    pub(super) fn findings(&self) -> Vec<String> {
        let mut findings = Vec::new();
        if !self.is_complete() {
            findings.push("the load did not come to its end".to_owned());
        }
        for comparison in COMPARISONS {
            for kind in self.kinds(comparison) {
                for variant in comparison.variants {
                    let spread = self.spread(&kind, variant);
                    if spread > SPREAD_PERCENT_MAX {
                        let values = self.repetitions(&kind, variant);
                        let Kind { work, kind, .. } = kind;
                        findings.push(format!(
                            "{work} {kind} {variant}: {values:?} differ by {spread:.1} %"
                        ));
                    }
                }
            }
            let judgements = self.judgements(comparison).into_iter();
            let missed = judgements.filter(|judgement| !judgement.is_met);
            findings.extend(missed.map(|judgement| judgement.text));
        }
        findings
    }

    /// What was done, in the order of the guest.
    fn kinds(&self, comparison: &Comparison) -> Vec<Kind<'_>> {
        let mut kinds: Vec<Kind<'_>> = Vec::new();
        let rows = self.rows.iter();
        for row in rows.filter(|row| row.comparison == comparison.name) {
            let kind = Kind {
                comparison: &row.comparison,
                work: &row.work,
                kind: &row.kind,
            };
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        kinds
    }

    fn repetitions(&self, kind: &Kind<'_>, variant: &str) -> Vec<f64> {
        let is_it = |row: &&Row| {
            (&*row.comparison, &*row.work, &*row.kind) == (kind.comparison, kind.work, kind.kind)
                && row.variant == variant
        };
        let rows = self.rows.iter().filter(is_it);
        rows.map(|row| row.instructions).collect()
    }

    fn ratio(&self, kind: &Kind<'_>, first: &str, variant: &str) -> Option<f64> {
        let base = mean(&self.repetitions(kind, first))?;
        let value = mean(&self.repetitions(kind, variant))?;
        Some(value / base)
    }

    fn spread(&self, kind: &Kind<'_>, variant: &str) -> f64 {
        spread_percent(&self.repetitions(kind, variant))
    }
}

/// One work of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind<'a> {
    comparison: &'a str,
    work: &'a str,
    kind: &'a str,
}

/// A ratio and its target.
struct Judgement {
    is_met: bool,
    text: String,
}

fn row(line: &str) -> Option<Row> {
    let mut words = line.strip_prefix("cost ")?.split_whitespace();
    let mut word = || words.next().map(str::to_owned);
    Some(Row {
        comparison: word()?,
        work: word()?,
        kind: word()?,
        variant: word()?,
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
        cost offload echo-100B aes never 0 1000\ncost offload echo-100B aes always 0 1300\n\
        a warning\ncost offload echo-100B aes never 1 1010\n\
        cost offload echo-100B aes always 1 1300\n\
        cost observed echo-64B tcp off 0 1000\ncost observed echo-64B tcp on 0 1020\n\
        cost observed open tcp off 0 1000\ncost observed open tcp on 0 1100\n\
        longsplice-lab: cost ended 0\n";

    #[test]
    fn figures_are_set_beside_each_other() {
        let figures = Figures::of(SAID);
        assert!(figures.findings().is_empty(), "{:?}", figures.findings());
        let expected = "\
            | work | suite | never | always | adaptive | always / never | adaptive / never | spread |\n\
            |---|---|---:|---:|---:|---:|---:|---:|\n\
            | echo-100B | aes | 1005 | 1300 | - | 1.294 | - | 1.00 % |\n\
            \n\
            | work | mode | off | on | on / off | spread |\n\
            |---|---|---:|---:|---:|---:|\n\
            | echo-64B | tcp | 1000 | 1020 | 1.020 | 0.00 % |\n\
            | open | tcp | 1000 | 1100 | 1.100 | 0.00 % |\n\
            \n\
            - echo-64B tcp on / off: 1.020, at most 1.02: met\n";
        assert_eq!(figures.tables(), expected);
        let csv = figures.csv();
        assert!(csv.contains("\noffload,echo-100B,aes,always,1,1300\n"));
    }

    #[test]
    fn figures_that_differ_are_not_believed() {
        let findings = Figures::of(&SAID.replace("never 1 1010", "never 1 1030")).findings();
        assert_eq!(findings.len(), 1);
        assert!(findings[0].contains("differ by 3.0 %"), "{findings:?}");
    }

    #[test]
    fn a_missed_target_is_a_finding() {
        let missed = ["echo-64B tcp on / off: 1.021, at most 1.02: MISSED"];
        let said = SAID.replace("tcp on 0 1020", "tcp on 0 1021");
        assert_eq!(Figures::of(&said).findings(), missed);
        let missing = ["echo-64B tcp on / off: -, at most 1.02: MISSED"];
        let said = SAID.replace("cost observed echo-64B tcp on 0 1020\n", "");
        assert_eq!(Figures::of(&said).findings(), missing);
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
