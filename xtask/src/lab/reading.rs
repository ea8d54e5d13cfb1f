//! A guest's output, and whether it meets the requirements.
//!
//! Pure: the text of both serial lines in, values out.

use serde_json::Value;

/// How the job's own lines begin.
const MARK: &str = "longsplice-lab: ";
/// Where doctor says what `tls.offload = "adaptive"` asks for before it leaves records to the kernel: without
/// it, tests of the switch would pass and show nothing.
const ADAPTIVE: &str = "/ktls/ciphers/tls13-aes128gcm/accelerated";
/// Messages of a kernel in trouble. That a processor was not seen for some time is a matter of the machine
/// below.
const ALARMS: &[&str] = &[
    "Kernel panic",
    "Oops",
    "BUG: ",
    "WARNING: CPU",
    "WARNING: kernel",
    "general protection fault",
    "Out of memory",
];
const STALLS: &[&str] = &["soft lockup", "rcu_"];

/// One run of a test binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Suite {
    /// Binary and filter.
    pub(super) name: String,
    pub(super) passed: u64,
    /// Whether it says that all is well and exits so.
    pub(super) is_ok: bool,
}

/// The output of the job.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The kernel that ran.
    pub(super) release: String,
    pub(super) suites: Vec<Suite>,
    /// What tests skipped, each once.
    pub(super) skipped: Vec<String>,
    doctor: Option<Value>,
    refused: Vec<String>,
    statistics: Vec<(String, u64)>,
    has_ended: bool,
}

impl Reading {
    /// Parses the output, as far as it got.
    pub(super) fn of(said: &str) -> Self {
        let mut reading = Self::default();
        let mut section = "";
        for line in said.lines() {
            match line.strip_prefix(MARK) {
                Some(mark) => {
                    section = mark;
                    reading.mark(mark);
                }
                None => reading.line(section, line),
            }
        }
        reading.skipped.sort();
        reading.skipped.dedup();
        reading
    }

    fn mark(&mut self, mark: &str) {
        if let Some(release) = mark.strip_prefix("kernel ") {
            release.clone_into(&mut self.release);
        } else if let Some(module) = mark.strip_prefix("refused ") {
            self.refused.push(module.to_owned());
        } else if let Some(status) = mark.strip_prefix("tests ended ") {
            if let Some(suite) = self.suites.last_mut() {
                suite.is_ok &= status == "0";
            }
        } else if let Some(name) = mark.strip_prefix("tests ") {
            self.suites.push(Suite {
                name: name.to_owned(),
                passed: 0,
                is_ok: false,
            });
        } else if mark == "end" {
            self.has_ended = true;
        }
    }

    fn line(&mut self, section: &str, line: &str) {
        if let Some(why) = line.trim_start().strip_prefix("skipped: ") {
            self.skipped.push(why.to_owned());
        }
        if section == "doctor" {
            self.doctor = self.doctor.take().or(serde_json::from_str(line).ok());
        } else if section == "statistics" {
            let mut words = line.split_whitespace();
            if let (Some(name), Some(Ok(count))) = (words.next(), words.next().map(str::parse)) {
                self.statistics.push((name.to_owned(), count));
            }
        } else if let Some(suite) = self.suites.last_mut()
            && let Some(result) = line.strip_prefix("test result: ")
        {
            suite.is_ok = result.starts_with("ok. ");
            suite.passed = passed(result);
        }
    }

    /// Returns the failures; none = all requirements are met.
    pub(super) fn findings(&self, wanted_suites: usize, console: &str) -> Vec<String> {
        let mut findings: Vec<String> = alarms(console).map(str::to_owned).collect();
        findings.extend(
            self.refused
                .iter()
                .map(|file| format!("{file} was refused")),
        );
        if !self.doctor_says("/ktls/ok") {
            findings.push("doctor does not say that kernel TLS is there".to_owned());
        } else if !self.doctor_says(ADAPTIVE) {
            let why = "doctor does not say that AES is accelerated: adaptive tunnels stay with us";
            findings.push(why.to_owned());
        }
        for suite in &self.suites {
            if !suite.is_ok {
                findings.push(format!("{}: failed", suite.name));
            } else if suite.passed == 0 {
                findings.push(format!("{}: no test has this name", suite.name));
            }
        }
        if self.suites.len() != wanted_suites {
            let count = self.suites.len();
            findings.push(format!("{count} of {wanted_suites} test runs began"));
        }
        let current: Vec<&(String, u64)> = self
            .statistics
            .iter()
            .filter(|(name, _)| name.starts_with("TlsCurr"))
            .collect();
        if current.is_empty() {
            findings.push("no /proc/net/tls_stat".to_owned());
        }
        let leaks = current.iter().filter(|(_, count)| *count != 0);
        findings.extend(leaks.map(|(name, count)| format!("{name} is {count} in the end, not 0")));
        if !self.has_ended {
            findings.push("the guest did not come to its end".to_owned());
        }
        findings
    }

    /// Returns whether doctor reports the value at `pointer` as true.
    fn doctor_says(&self, pointer: &str) -> bool {
        let value = self
            .doctor
            .as_ref()
            .and_then(|doctor| doctor.pointer(pointer));
        value.and_then(Value::as_bool) == Some(true)
    }

    /// Tests that passed.
    pub(super) fn passed(&self) -> u64 {
        self.suites.iter().map(|suite| suite.passed).sum()
    }

    /// What the kernel counted about TLS, without what is 0.
    pub(super) fn counted(&self) -> String {
        let counted = self.statistics.iter().filter(|(_, count)| *count != 0);
        let words: Vec<String> = counted
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        words.join(", ")
    }
}

fn passed(result: &str) -> u64 {
    let words: Vec<&str> = result.split_whitespace().collect();
    words
        .windows(2)
        .find(|pair| pair.get(1).is_some_and(|word| word.starts_with("passed")))
        .and_then(|pair| pair.first()?.parse().ok())
        .unwrap_or(0)
}

/// Returns the lines of a console that say that something is wrong with the kernel.
fn alarms(console: &str) -> impl Iterator<Item = &str> {
    let says = |line: &str, words: &[&str]| words.iter().any(|word| line.contains(word));
    console
        .lines()
        .filter(move |line| says(line, ALARMS) && !says(line, STALLS))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "longsplice-lab: kernel 6.1.0-50-cloud-amd64\n\
        longsplice-lab: doctor\n{\"ktls\":{\"ciphers\":{\"tls13-aes128gcm\":{\"accelerated\":true}},\"ok\":true}}\nlongsplice-lab: doctor ended 0\n\
        longsplice-lab: tests it ktls::\nrunning 2 tests\ntest ktls::a ... ok\n\
        skipped: curl is not installed\n  skipped: curl is not installed\n\
        test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out; finished in 1.00s\n\
        longsplice-lab: tests ended 0\nlongsplice-lab: statistics\nTlsCurrTxSw    \t0\nTlsTxSw \t17\n\
        longsplice-lab: end\n";

    fn findings(said: &str, console: &str) -> Vec<String> {
        Reading::of(said).findings(1, console)
    }

    #[test]
    fn a_good_end_is_read() {
        let reading = Reading::of(SAID);
        assert_eq!(
            findings(SAID, "[0.1] Linux version 6.1\n"),
            Vec::<String>::new()
        );
        assert_eq!(reading.release, "6.1.0-50-cloud-amd64");
        assert_eq!(reading.passed(), 2);
        assert_eq!(reading.skipped, ["curl is not installed"]);
        assert_eq!(reading.counted(), "TlsTxSw 17");
    }

    #[test]
    fn whatever_is_wrong_is_found() {
        let rows: &[(&str, &str, &str)] = &[
            ("\"ok\":true", "\"ok\":false", "kernel TLS"),
            (
                "accelerated\":true",
                "accelerated\":false",
                "AES is accelerated",
            ),
            ("TlsCurrTxSw    \t0", "TlsCurrTxSw \t2", "TlsCurrTxSw is 2"),
            ("TlsCurrTxSw    \t0\n", "", "no /proc/net/tls_stat"),
            ("2 passed", "0 passed", "no test has this name"),
            (
                "result: ok. 2 passed; 0",
                "result: FAILED. 1 passed; 1",
                "it ktls::: failed",
            ),
            ("tests ended 0", "tests ended 101", "it ktls::: failed"),
            ("test result", "nothing", "it ktls::: failed"),
            ("longsplice-lab: end\n", "", "did not come to its end"),
            ("longsplice-lab: tests it ktls::\n", "", "0 of 1 test runs"),
            (
                "longsplice-lab: doctor\n",
                "longsplice-lab: refused tls.ko\nlongsplice-lab: doctor\n",
                "tls.ko was refused",
            ),
        ];
        for (from, to, expected) in rows {
            assert!(SAID.contains(from), "{from}");
            let found = findings(&SAID.replace(from, to), "");
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(expected), "{found:?}");
        }
    }

    #[test]
    fn every_beginning_of_a_good_end_is_a_bad_one() {
        for end in 0..SAID.len() - 1 {
            assert!(!findings(&SAID[..end], "").is_empty(), "{end}");
        }
    }

    #[test]
    fn alarms_of_the_kernel_are_heard() {
        for line in [
            "[  1.2] Kernel panic - not syncing: x",
            "[  1.2] BUG: unable to handle page fault for address: 0",
            "[  1.2] WARNING: CPU: 0 PID: 9 at net/tls/tls_sw.c:12 x",
        ] {
            assert_eq!(findings(SAID, &format!("fine\n{line}\n")), [line]);
        }
        let stalled = "watchdog: BUG: soft lockup - CPU#1 stuck for 22s!\n";
        assert!(findings(SAID, stalled).is_empty());
    }
}
