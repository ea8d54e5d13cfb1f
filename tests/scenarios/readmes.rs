//! Each scenario's README sets what was there before beside the configuration of longsplice, comments
//! left out: both must be the files that the tests run. The manual counts their lines.

use std::fs;

use crate::harness::parts::file;

/// Each folder, with the files of what was there before.
const SCENARIOS: [(&str, &[&str]); 5] = [
    ("s0_elb_nginx", &["nginx.conf"]),
    ("s1_local_elb", &["haproxy.cfg"]),
    ("s2_elb_multiport", &["nginx.conf"]),
    ("s3_stunnel_haproxy_node", &["stunnel.conf", "haproxy.cfg"]),
    ("s4_haproxy_wss", &["haproxy.cfg"]),
];

fn text(folder: &str, name: &str) -> String {
    let path = file("scenarios").join(folder).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Leaves comments out, and the empty lines in front of everything.
fn without_comments(text: &str) -> String {
    let mut kept = String::new();
    for line in text.lines().filter(|line| !line.trim().starts_with('#')) {
        let line = line.split_once(" # ").map_or(line, |(before, _)| before);
        let line = line.trim_end();
        if !line.is_empty() || (!kept.is_empty() && !kept.ends_with("\n\n")) {
            kept += line;
            kept += "\n";
        }
    }
    kept.trim_end().to_owned() + "\n"
}

/// Returns what stands between the fences of a README, shell commands left out.
fn blocks(readme: &str) -> Vec<&str> {
    let fenced = readme.split("```").skip(1).step_by(2);
    let named = fenced.filter_map(|block| block.split_once('\n'));
    named
        .filter(|(language, _)| *language != "sh")
        .map(|(_, block)| block)
        .collect()
}

#[test]
fn both_columns_are_the_files_that_are_tested() {
    for (folder, before) in SCENARIOS {
        let files = before.iter().chain(&["longsplice.toml"]);
        let expected: Vec<String> = files
            .map(|name| without_comments(&text(folder, name)))
            .collect();
        assert_eq!(blocks(&text(folder, "README.md")), expected, "{folder}");
    }
}

#[test]
fn the_example_of_the_manual_is_one_of_them() {
    let page = text("../../src/manual/guide", "from-nginx.md");
    for name in ["nginx.conf", "longsplice.toml"] {
        let file = without_comments(&text("s0_elb_nginx", name));
        assert!(blocks(&page).contains(&file.as_str()), "{name}");
    }
}

#[test]
fn lines_are_counted_right() {
    let page = text("../../src/manual/guide", "from-haproxy.md");
    for (folder, before) in SCENARIOS {
        let count = |names: &[&str]| -> usize {
            let texts = names.iter().map(|name| text(folder, name));
            let bare = texts.map(|text| without_comments(&text));
            bare.map(|text| text.lines().filter(|line| !line.is_empty()).count())
                .sum()
        };
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| `{folder}` |")))
            .unwrap_or_else(|| panic!("a row for {folder}"));
        let counted = format!("| {} | {} |", count(before), count(&["longsplice.toml"]));
        assert!(row.ends_with(&counted), "{counted}: {row}");
    }
}
