//! The queue, its bound and its counts; the list of causes.

use std::collections::HashSet;
use std::time::SystemTime;

use expect_test::expect_file;
use tracing::Level;

use super::backlog::{QUEUE_LEN_MAX, QUEUED_TEXT_BYTES_MAX};
use super::*;

fn say(journal: &Journal, text: &str) {
    journal.say(Diagnostic {
        time: SystemTime::UNIX_EPOCH,
        level: Level::INFO,
        text: DiagnosticText::Plain(text.to_owned()),
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
    // Dropped messages take no room, and neither do those taken out.
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
fn the_reference_lists_every_cause() {
    expect_file!["../manual/reference/causes.md"].assert_eq(&cause::reference());
}

#[test]
fn every_cause_reads_well_and_has_a_name_and_a_state_of_its_kind() {
    let mut names = HashSet::new();
    for cause in Cause::ALL {
        let (name, text) = (cause.as_str(), cause.text());
        assert!(names.insert(name), "{name} twice");
        let is_kebab = |c: char| c.is_ascii_lowercase() || c == '-';
        assert!(name.chars().all(is_kebab), "{name}");
        assert!(text.ends_with('.') && !text.contains('|'), "{text}");
        // HAProxy's letters, its configuration manual, section 8.5.
        let mut letters = cause.state().chars();
        let pair = (letters.next().unwrap(), letters.next().unwrap());
        assert!("CScsPLRIK-".contains(pair.0), "{name}: {pair:?}");
        assert!("RQCHD-.".contains(pair.1), "{name}: {pair:?}");
        assert_eq!((pair.0 == '-', letters.next()), (pair.1 == '-', None));
    }
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
