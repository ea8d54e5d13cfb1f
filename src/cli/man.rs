//! `longsplice man`: man pages of the commands, and of the parts of the manual that an operator looks up.
//!
//! The commands' pages come from their declarations (clap_mangen), the others from the manual's Markdown.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_mangen::Man;

use super::args::{CommandLine, ManOptions};
use super::exit::fail;
use crate::manual::{self, roff};

/// A man page made of pages of the manual.
struct Volume {
    name: &'static str,
    section: &'static str,
    what: &'static str,
    topics: &'static [&'static str],
}

const VOLUMES: [Volume; 3] = [
    Volume {
        name: "longsplice.toml",
        section: "5",
        what: "configuration file of longsplice",
        topics: &["configuration"],
    },
    Volume {
        name: "longsplice-log",
        section: "7",
        what: "the log of longsplice: targets, formats, fields, causes",
        topics: &["logs", "log-fields", "causes"],
    },
    Volume {
        name: "longsplice-operation",
        section: "7",
        what: "signals, reload, drain, privileges, control and metrics of longsplice",
        topics: &["reload-and-drain", "privileges", "watching", "metrics"],
    },
];

/// Writes all pages.
pub(super) fn man(options: &ManOptions) -> ExitCode {
    match write(&options.directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(&why),
    }
}

fn write(directory: &Path) -> Result<(), String> {
    let told = |path: &Path, error: &io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(directory).map_err(|error| told(directory, &error))?;
    for (name, page) in pages() {
        let path = directory.join(name);
        fs::write(&path, page).map_err(|error| told(&path, &error))?;
    }
    Ok(())
}

/// Returns every page with the name of its file.
pub(super) fn pages() -> Vec<(String, String)> {
    let mut command = CommandLine::command();
    command.build();
    let mut pages = Vec::new();
    add_command(&command, "longsplice", &mut pages);
    pages.extend(VOLUMES.iter().map(volume));
    pages
}

/// Adds the page of a command, and those of the commands below it.
fn add_command(command: &clap::Command, name: &str, pages: &mut Vec<(String, String)>) {
    pages.push((format!("{name}.1"), page_of(command, name)));
    for below in command.get_subcommands() {
        add_command(below, &format!("{name}-{}", below.get_name()), pages);
    }
}

fn page_of(command: &clap::Command, name: &str) -> String {
    let about = command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    let mut page = roff::head(name, "1", about.trim_end_matches('.'));
    // The sections are rendered one by one: `after_help` has sections of its own.
    let man = Man::new(command.clone());
    let mut rendered = Vec::new();
    let sections = [
        Man::render_synopsis_section,
        Man::render_description_section,
        Man::render_options_section,
    ];
    for section in sections {
        // Writing to a `Vec` is infallible.
        let _ = section(&man, &mut rendered);
    }
    if command.has_subcommands() {
        let _ = man.render_subcommands_section(&mut rendered);
    }
    page += &String::from_utf8_lossy(&rendered);
    let after = command.get_after_help().map(ToString::to_string);
    page + &after_help(&after.unwrap_or_default())
}

/// Makes a section of each block of `after_help` that has a title, and a paragraph of each other.
fn after_help(text: &str) -> String {
    let mut page = String::new();
    for block in text.split("\n\n") {
        match block.split_once(":\n") {
            Some((title, body)) if !title.contains('\n') && title.len() < 20 => {
                page += &format!(".SH \"{}\"\n", roff::escape(&title.to_uppercase()));
                page += &roff::verbatim(&unindented(body));
            }
            Some(_) | None => match block.strip_prefix("Manual: ") {
                Some(topics) => page += &format!(".SH \"SEE ALSO\"\n{}\n", roff::escape(topics)),
                None => {
                    page += ".SH NOTES\n";
                    page += &roff::verbatim(block);
                }
            },
        }
    }
    page
}

fn unindented(block: &str) -> String {
    let lines = block
        .lines()
        .map(|line| line.strip_prefix("  ").unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

fn volume(volume: &Volume) -> (String, String) {
    let mut page = roff::head(volume.name, volume.section, volume.what);
    for topic in volume.topics {
        if let Some(found) = manual::page(topic) {
            page += &roff::section(found.text);
        }
    }
    (format!("{}.{}", volume.name, volume.section), page)
}
