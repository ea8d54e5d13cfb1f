//! A diagnostic as a JSON object: `time`, `level` and `message`, then the fields of the event in their order,
//! numbers and booleans as such and everything else as text.

use std::fmt::{Debug, Write as _};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::json::push_text;
use super::time::push_rfc3339;

/// The name of the field with the message of an event.
const MESSAGE: &str = "message";

/// Writes an event as one JSON object without a line end.
pub(super) fn of_event(time: SystemTime, event: &Event<'_>) -> String {
    let mut fields = Fields::default();
    event.record(&mut fields);
    whole(
        time,
        *event.metadata().level(),
        &fields.message,
        &fields.rest,
    )
}

/// Writes a message without fields as one JSON object without a line end.
pub(super) fn of_text(time: SystemTime, level: Level, text: &str) -> String {
    whole(time, level, text, "")
}

/// `rest` = the fields, each behind a comma.
fn whole(time: SystemTime, level: Level, message: &str, rest: &str) -> String {
    let mut out = String::with_capacity(96 + message.len() + rest.len());
    out.push_str("{\"time\":\"");
    push_rfc3339(&mut out, time);
    out.push_str("\",\"level\":\"");
    out.push_str(&level.as_str().to_ascii_lowercase());
    out.push_str("\",\"message\":");
    push_text(&mut out, message);
    out.push_str(rest);
    out.push('}');
    out
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: String,
}

impl Fields {
    fn name(&mut self, field: &Field) {
        self.rest.push(',');
        let name = field.name();
        push_text(&mut self.rest, name.strip_prefix("r#").unwrap_or(name));
        self.rest.push(':');
    }

    /// Adds a value that JSON writes as Rust does.
    fn plain(&mut self, field: &Field, value: impl std::fmt::Display) {
        self.name(field);
        // Writing to a `String` is infallible.
        let _ = write!(self.rest, "{value}");
    }

    fn text(&mut self, field: &Field, value: &str) {
        if field.name() == MESSAGE {
            value.clone_into(&mut self.message);
            return;
        }
        self.name(field);
        push_text(&mut self.rest, value);
    }
}

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.plain(field, value);
        } else {
            self.text(field, &value.to_string());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::{Context, SubscriberExt};
    use tracing_subscriber::{Layer, Registry};

    use super::*;

    /// Keeps the objects of all events.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<String>>>);

    impl Layer<Registry> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, Registry>) {
            let object = of_event(SystemTime::UNIX_EPOCH, event);
            self.0.lock().unwrap().push(object);
        }
    }

    fn objects_of(events: impl FnOnce()) -> Vec<String> {
        let kept = Kept::default();
        let subscriber = tracing_subscriber::registry().with(kept.clone());
        tracing::subscriber::with_default(subscriber, events);
        kept.0.lock().unwrap().clone()
    }

    #[test]
    fn fields_keep_their_order_and_their_kinds() {
        let none: Option<&str> = None;
        let objects = objects_of(|| {
            tracing::warn!(listener = %"edge", count = 3_usize, below = -1, up = true, share = 0.5, "a {}", 1);
            tracing::info!(why = ?Some("x"), none, r#type = "t", odd = f64::NAN, "b");
            tracing::error!("quote \" and\nline \u{9b} end");
            tracing::debug!(only = 1);
        });
        let expected = [
            r#"{"time":"1970-01-01T00:00:00.000Z","level":"warn","message":"a 1","listener":"edge","count":3,"below":-1,"up":true,"share":0.5}"#,
            r#"{"time":"1970-01-01T00:00:00.000Z","level":"info","message":"b","why":"Some(\"x\")","type":"t","odd":"NaN"}"#,
            r#"{"time":"1970-01-01T00:00:00.000Z","level":"error","message":"quote \" and\nline \u009b end"}"#,
            r#"{"time":"1970-01-01T00:00:00.000Z","level":"debug","message":"","only":1}"#,
        ];
        assert_eq!(objects, expected);
        for object in objects {
            serde_json::from_str::<serde_json::Value>(&object).unwrap();
        }
        assert_eq!(
            of_text(SystemTime::UNIX_EPOCH, Level::WARN, "lost"),
            r#"{"time":"1970-01-01T00:00:00.000Z","level":"warn","message":"lost"}"#
        );
    }
}
