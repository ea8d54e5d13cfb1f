//! No circle between files: of two files that import each other, directly or through others, neither can
//! be read first.

use std::collections::{BTreeMap, VecDeque};

use super::Finding;
use super::graph::Edge;

/// Returns one finding for each knot of files, with its shortest circle.
pub(super) fn check(edges: &[Edge]) -> Vec<Finding> {
    let mut out: BTreeMap<&str, Vec<&Edge>> = BTreeMap::new();
    for edge in edges {
        out.entry(&edge.from).or_default().push(edge);
    }
    let mut circles: Vec<Vec<&Edge>> = out
        .keys()
        .filter_map(|file| circle_through(file, &out))
        .collect();
    circles.sort_by_key(Vec::len);
    let mut findings = Vec::new();
    let mut told: Vec<&str> = Vec::new();
    for circle in circles {
        if circle.iter().any(|edge| told.contains(&edge.from.as_str())) {
            continue;
        }
        told.extend(circle.iter().map(|edge| edge.from.as_str()));
        findings.extend(finding(&circle));
    }
    findings
}

/// Returns the shortest way from a file back to it, if there is one.
fn circle_through<'a>(file: &str, out: &BTreeMap<&'a str, Vec<&'a Edge>>) -> Option<Vec<&'a Edge>> {
    let mut reached_by: BTreeMap<&str, &Edge> = BTreeMap::new();
    let mut queue = VecDeque::from([file]);
    while let Some(at) = queue.pop_front() {
        for &edge in out.get(at).into_iter().flatten() {
            if reached_by.contains_key(edge.to.as_str()) {
                continue;
            }
            reached_by.insert(&edge.to, edge);
            if edge.to == file {
                return Some(way_back(file, &reached_by));
            }
            queue.push_back(&edge.to);
        }
    }
    None
}

fn way_back<'a>(file: &str, reached_by: &BTreeMap<&str, &'a Edge>) -> Vec<&'a Edge> {
    let mut way = Vec::new();
    let mut at = file;
    while let Some(&edge) = reached_by.get(at) {
        way.push(edge);
        at = &edge.from;
        if at == file {
            break;
        }
    }
    way.reverse();
    way
}

fn finding(circle: &[&Edge]) -> Option<Finding> {
    let first = circle.first()?;
    let mut text = "files import each other in a circle: ".to_owned();
    for edge in circle {
        text += &format!("{}:{} -> ", edge.from, edge.line);
    }
    text += &first.from;
    Some(Finding::fatal(&first.from, first.line, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(pairs: &[(&str, &str)]) -> Vec<Edge> {
        let edge = |(from, to): &(&str, &str)| Edge {
            from: (*from).to_owned(),
            line: 1,
            to: (*to).to_owned(),
        };
        pairs.iter().map(edge).collect()
    }

    #[test]
    fn a_line_of_imports_is_no_circle() {
        assert_eq!(check(&edges(&[("a", "b"), ("b", "c"), ("a", "c")])), []);
    }

    #[test]
    fn the_shortest_circle_of_a_knot_is_told_once() {
        let knot = edges(&[("a", "b"), ("b", "c"), ("c", "a"), ("c", "b")]);
        let found: Vec<String> = check(&knot).into_iter().map(|it| it.text).collect();
        assert_eq!(
            found,
            ["files import each other in a circle: b:1 -> c:1 -> b"]
        );
    }

    #[test]
    fn knots_apart_are_told_apart() {
        let knots = edges(&[("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")]);
        assert_eq!(check(&knots).len(), 2);
    }
}
