//! The queue, its bound and its counts; the list of causes in the README.

use std::time::SystemTime;

use tracing::Level;

use super::backlog::{QUEUE_LEN_MAX, QUEUED_TEXT_BYTES_MAX};
use super::*;

fn say(journal: &Journal, text: &str) {
    journal.say(Diagnostic {
        time: SystemTime::UNIX_EPOCH,
        level: Level::INFO,
        text: text.to_owned(),
    });
}

#[test]
fn a_full_queue_drops_and_counts_and_has_room_again() {
    let (journal, entries) = journal();
    let write = || say(&journal, "");
    (0..QUEUE_LEN_MAX + 3).for_each(|_| write());
    assert_eq!(journal.counts().dropped(), 3);
    assert!(entries.take().is_some());
    write();
    assert_eq!(journal.counts().dropped(), 3);
    let left = std::iter::from_fn(|| entries.take()).count();
    assert_eq!(left, QUEUE_LEN_MAX);
    drop(journal);
    assert!(matches!(entries.next_within(None), Waited::Closed));
}

#[test]
fn long_texts_fill_the_queue_sooner() {
    const TEXT_LEN: usize = 4096;
    let (journal, entries) = journal();
    let write = || say(&journal, &"x".repeat(TEXT_LEN));
    let room = QUEUED_TEXT_BYTES_MAX / TEXT_LEN;
    (0..room + 3).for_each(|_| write());
    assert_eq!(journal.counts().dropped(), 3);
    // What was dropped holds no room, what was taken out none either.
    assert!(entries.take().is_some());
    write();
    assert_eq!(journal.counts().dropped(), 3);
    assert_eq!(std::iter::from_fn(|| entries.take()).count(), room);
    assert_eq!(journal.counts().backlog().text_bytes(), 0);
}

#[test]
fn what_comes_behind_the_end_is_not_written() {
    let (journal, entries) = journal();
    say(&journal, "last words");
    journal.end();
    say(&journal, "too late");
    assert!(matches!(entries.next_within(None), Waited::Message(_)));
    assert!(matches!(entries.next_within(None), Waited::Closed));
    assert!(entries.take().is_none());
    assert!(matches!(entries.next_within(None), Waited::Closed));
}

#[test]
fn readme_lists_every_cause_with_its_side() {
    let readme = include_str!("../../README.md");
    let (_, section) = readme.split_once("### Causes\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let listed: Vec<(&str, &str)> = section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            let name = cells.next().unwrap().trim_matches('`');
            (name, cells.next().unwrap())
        })
        .collect();
    let causes: Vec<(&str, &str)> = Cause::ALL
        .iter()
        .map(|cause| (cause.as_str(), cause.side().as_str()))
        .collect();
    assert_eq!(listed, causes);
}

#[test]
fn causes_are_counted_apart() {
    let (journal, _entries) = journal();
    journal.note_silently(&"edge".into(), Cause::Probe);
    journal.note_silently(&"edge".into(), Cause::Probe);
    let counts = journal.counts();
    assert_eq!(counts.of(Cause::Probe), 2);
    assert_eq!(counts.of(Cause::Served), 0);
}
