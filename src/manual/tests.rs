//! The table of pages against the folder of pages.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manual")
}

/// Collects the Markdown files below `folder`, as paths below `src/manual`.
fn collect(folder_of_pages: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder_of_pages).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|it| it == "md") {
            let below = path.strip_prefix(folder()).unwrap();
            files.push(below.to_str().unwrap().to_owned());
        }
    }
}

#[test]
fn every_file_has_a_row_and_every_row_a_file() {
    let mut files = Vec::new();
    collect(&folder(), &mut files);
    files.sort();
    let mut rows: Vec<&str> = PAGES.iter().map(|page| page.path).collect();
    rows.sort_unstable();
    assert_eq!(rows, files);
}

#[test]
fn topics_are_told_apart_and_pages_have_a_title_and_a_summary() {
    for (index, page) in PAGES.iter().enumerate() {
        let same = PAGES.iter().filter(|it| it.topic == page.topic).count();
        assert_eq!(same, 1, "{}", page.topic);
        assert!(page.text.starts_with("# "), "{}", page.path);
        assert!(!page.title().is_empty(), "{}", page.path);
        let summary = page.summary();
        assert!(summary.len() > 10, "{}: {summary}", page.path);
        assert!(!summary.contains('#'), "{}: {summary}", page.path);
        let before = PAGES[..index]
            .iter()
            .all(|it| it.part as u8 <= page.part as u8);
        assert!(before, "{} is out of order", page.topic);
    }
}

#[test]
fn topics_that_pages_name_exist() {
    for page in PAGES {
        let text = page.text.replace('\n', " ");
        for rest in text
            .split("topic `")
            .skip(1)
            .chain(text.split("longsplice help ").skip(1))
        {
            let end = rest.find(|it: char| !it.is_ascii_alphanumeric() && it != '-');
            let topic = &rest[..end.unwrap_or(rest.len())];
            assert!(
                matches!(topic, "" | "TOPIC" | "decisions") || super::page(topic).is_some(),
                "{}: {topic}",
                page.path
            );
        }
    }
}
