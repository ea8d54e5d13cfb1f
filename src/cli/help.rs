//! `longsplice help`: prints a page of the manual, the help of a command, or the list of topics.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::process::{Command, ExitCode, Stdio};

use clap::CommandFactory;

use super::args::{CommandLine, HelpOptions};
use super::exit::{misused, print};
use crate::manual::{self, PAGES, Part};

/// Columns of the list of topics.
const WIDTH: usize = 100;
/// Columns of the topic's name in the list.
const NAME_WIDTH: usize = 20;

/// Prints what was asked for.
pub(super) fn help(options: &HelpOptions) -> ExitCode {
    let words: Vec<&str> = options.words.iter().map(String::as_str).collect();
    match text_of(&words) {
        Ok(text) => show(&text),
        Err(why) => misused(&why),
    }
}

/// Returns the text on a topic or a command.
///
/// # Errors
/// There is neither; in words.
pub(super) fn text_of(words: &[&str]) -> Result<String, String> {
    match words {
        [] => Ok(overview()),
        ["decisions"] => Ok(list(&[Part::Decisions])),
        [topic] if manual::page(topic).is_some() => {
            Ok(manual::page(topic).map_or_else(String::new, |page| page.text.to_owned()))
        }
        _ => help_of(words),
    }
}

/// Returns clap's help of a command.
fn help_of(words: &[&str]) -> Result<String, String> {
    let mut command = CommandLine::command();
    command.build();
    let mut found = &mut command;
    for word in words {
        found = found.find_subcommand_mut(word).ok_or_else(|| {
            let asked = words.join(" ");
            format!("there is no topic or command {asked:?}; `longsplice help` lists them")
        })?;
    }
    Ok(found.render_long_help().to_string())
}

/// Returns clap's help of the program, and the topics of the manual.
fn overview() -> String {
    let help = CommandLine::command().render_long_help();
    let parts = [Part::Start, Part::Guides, Part::Reference, Part::Internals];
    format!(
        "{help}\nTopics of the manual (longsplice help TOPIC):\n\n{}  {:<width$}The design decisions, one \
         page each.\n",
        list(&parts),
        "decisions",
        width = NAME_WIDTH - 2
    )
}

/// Lists the pages of `parts`, each with one line on it.
fn list(parts: &[Part]) -> String {
    let mut text = String::new();
    for part in parts {
        let mut pages = PAGES.iter().filter(|page| page.part == *part).peekable();
        if pages.peek().is_some() {
            // Writing to a `String` is infallible.
            let gap = if text.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}{}:", part.heading());
        }
        for page in pages {
            let lines = wrap(&page.summary(), WIDTH - NAME_WIDTH);
            for (index, line) in lines.iter().enumerate() {
                let name = if index == 0 { page.topic } else { "" };
                let _ = writeln!(text, "  {name:<width$}{line}", width = NAME_WIDTH - 2);
            }
        }
    }
    text
}

/// Breaks `text` into lines of at most `width` characters, where its words allow it.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Shows a text through $PAGER on a terminal, and as it is elsewhere.
fn show(text: &str) -> ExitCode {
    let pager = std::env::var("PAGER").unwrap_or_default();
    if pager.trim().is_empty() || !io::stdout().is_terminal() || page(&pager, text).is_err() {
        return print(text);
    }
    ExitCode::SUCCESS
}

/// Hands a text to the pager and waits for it to end.
///
/// # Errors
/// The shell cannot be started.
fn page(pager: &str, text: &str) -> io::Result<()> {
    // $PAGER may have options, so a shell reads it, as for man(1).
    let mut child = Command::new("sh")
        .args(["-c", pager])
        .stdin(Stdio::piped())
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // A reader who quits early has read enough.
        let _ = input.write_all(text.as_bytes());
    }
    child.wait().map(drop)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn every_topic_has_its_page_and_no_command_has_its_name() {
        let command = CommandLine::command();
        for page in PAGES {
            assert_eq!(text_of(&[page.topic]).as_deref(), Ok(page.text));
            assert!(
                command.find_subcommand(page.topic).is_none(),
                "{}",
                page.topic
            );
        }
    }

    #[test]
    fn commands_have_the_help_of_clap() {
        for (words, expected) in [
            (&["run"][..], "Usage: longsplice run -c FILE"),
            (
                &["ctl", "tunnels"],
                "Usage: longsplice ctl tunnels [OPTIONS]",
            ),
        ] {
            let text = text_of(words).unwrap();
            assert!(text.contains(expected), "{text}");
            assert!(text.contains("Exit codes:"), "{text}");
        }
    }

    #[test]
    fn the_list_names_every_topic_and_fits_a_terminal() {
        let text = text_of(&[]).unwrap() + &text_of(&["decisions"]).unwrap();
        for page in PAGES {
            let line = format!("\n  {:<width$}", page.topic, width = NAME_WIDTH - 2);
            assert!(text.contains(&line), "{}", page.topic);
        }
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
    }

    #[test]
    fn an_unknown_topic_is_told() {
        expect![[r#"there is no topic or command "no such"; `longsplice help` lists them"#]]
            .assert_eq(&text_of(&["no", "such"]).unwrap_err());
    }
}
