//! The JSON Schema accepts legal files, and refuses misspelt keys and wrong types.

use std::path::Path;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};

use super::{SMALL, full::FULL, read};
use crate::config::schema;

/// The compiled schema.
struct Judge {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Judge {
    fn new() -> Self {
        Self::of(schema())
    }

    fn of(schema: Value) -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler
            .add_resource("longsplice.json", schema)
            .expect("JSON");
        let index = compiler
            .compile("longsplice.json", &mut schemas)
            .expect("a legal schema");
        Self { schemas, index }
    }

    /// Returns the errors of a file, if there are any.
    fn judge(&self, file: &Value) -> Result<(), String> {
        let judged = self.schemas.validate(file, self.index);
        judged.map_err(|wrong| wrong.to_string())
    }
}

fn json_of(text: &str) -> Value {
    let table: toml::Table = text.parse().expect("TOML");
    serde_json::to_value(table).expect("JSON")
}

/// Calls `change` with each object of a value.
fn objects(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            found.push(path.to_owned());
            for (key, inner) in map {
                objects(inner, &format!("{path}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                objects(inner, &format!("{path}/{index}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn scenarios() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut texts = Vec::new();
    for scenario in folder.read_dir().expect("scenarios") {
        let scenario = scenario.expect("an entry").path();
        let files = scenario.read_dir().into_iter().flatten();
        let files = files.map(|file| file.expect("an entry").path());
        for file in files.filter(|file| file.extension().is_some_and(|it| it == "toml")) {
            texts.push(std::fs::read_to_string(file).expect("a text"));
        }
    }
    assert!(texts.len() >= 5, "only {}", texts.len());
    texts
}

#[test]
fn legal_files_pass() {
    let judge = Judge::new();
    for text in scenarios().iter().map(String::as_str).chain([SMALL, FULL]) {
        judge
            .judge(&json_of(text))
            .unwrap_or_else(|wrong| panic!("{wrong}\n{text}"));
    }
}

#[test]
fn lists_of_tables_may_be_empty_where_reading_allows_it() {
    let judge = Judge::new();
    let file = |routes: &str| {
        format!("backend = []\nlistener = [{{ bind = \"127.0.0.1:80\", route = [{routes}] }}]\n")
    };
    let legal = file("{ respond = { status = 404 } }");
    read(&legal).expect("legal");
    judge.judge(&json_of(&legal)).expect("legal");
    let without_route = file("");
    read(&without_route).expect_err("a route is missing");
    judge
        .judge(&json_of(&without_route))
        .expect_err("a route is missing");
}

#[test]
fn a_misspelt_key_is_refused_in_every_table() {
    let judge = Judge::new();
    let legal = json_of(FULL);
    let mut tables = Vec::new();
    objects(&legal, "", &mut tables);
    assert!(tables.len() > 15);
    for path in tables {
        let mut file = legal.clone();
        let table = file.pointer_mut(&path).and_then(Value::as_object_mut);
        table
            .expect("a table")
            .insert("misspelt".to_owned(), json!(1));
        let wrong = judge.judge(&file).expect_err(&path);
        assert!(wrong.contains("misspelt"), "{path}: {wrong}");
    }
}

#[test]
fn values_of_wrong_types_are_refused() {
    let judge = Judge::new();
    let legal = json_of(FULL);
    for (path, wrong) in [
        ("/server/max_connections", json!("many")),
        ("/server/max_connections", json!(0)),
        ("/server/share_port", json!("yes")),
        ("/server/drain_timeout", json!("10")),
        ("/server/drain_timeout", json!(10)),
        ("/server/sandbox", json!("yes")),
        ("/log/level", json!("loud")),
        ("/listener", json!({})),
        ("/listener", json!([])),
        ("/listener/0/bind", json!([])),
        ("/listener/0/bind", json!([80])),
        ("/listener/0/limits/head", json!("32K")),
        ("/listener/0/limits/head", json!(1)),
        ("/listener/0/tls/certificates/1/key", json!(1)),
        ("/listener/0/route/1/redirect/status", json!(304)),
        ("/listener/0/route/2/respond/status", json!(100)),
        ("/backend/0/health/kind", json!("https")),
        ("/backend/0/health/expect", json!("all")),
        ("/backend/0/server/0/weight", json!(257)),
    ] {
        let mut file = legal.clone();
        *file.pointer_mut(path).expect(path) = wrong.clone();
        judge.judge(&file).expect_err(&format!("{path} = {wrong}"));
    }
}
