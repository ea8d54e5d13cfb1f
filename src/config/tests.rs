//! Rows of rules, the full example, the round trip, and mutations of it that must not panic.

use std::path::Path;

use super::{Config, Errors, parse};

const SMALL: &str = r#"
[[listener]]
bind = ["127.0.0.1:8080"]
[[listener.route]]
backend = "app"
[[backend]]
name = "app"
[[backend.server]]
address = "127.0.0.1:3000"
"#;

fn read(text: &str) -> Result<Config, Errors> {
    parse(text, Path::new("/etc/longsplice.toml"))
}

#[test]
fn a_small_file_is_enough() {
    let config = read(SMALL).expect("legal");
    assert_eq!(config.listeners[0].name.as_ref(), "127.0.0.1:8080");
    assert_eq!(
        config.backends[0].servers[0].name.as_ref(),
        "127.0.0.1:3000"
    );
    assert_eq!(config.without_effect, [""; 0]);
    assert_eq!(config.warnings, [""; 0]);
}
