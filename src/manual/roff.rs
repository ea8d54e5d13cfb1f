//! Turns the Markdown of a page into the body of a man page: man(7) macros, for groff and mandoc.
//!
//! It knows what the manual uses: headings, paragraphs, lists, tables, fences, emphasis, code and links. A
//! table becomes tagged paragraphs, because a terminal is too narrow for its columns. Links into the
//! manual lose their address; others keep it.

use std::fmt::Write as _;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// Returns the first lines of a man page: its title, and the section NAME.
///
/// `name` is the page's name, `section` its section, `what` one line on what it describes.
#[must_use]
pub fn head(name: &str, section: &str, what: &str) -> String {
    let title = escape(&name.to_uppercase());
    let version = escape(env!("CARGO_PKG_VERSION"));
    format!(
        ".TH \"{title}\" {section} \"\" \"longsplice {version}\" \"longsplice manual\"\n.nh\n.ad l\n\
         .SH NAME\n{} \\- {}\n",
        escape(name),
        escape(what)
    )
}

/// Returns `markdown` as a part of a man page, under its own title as a section.
///
/// The headings of the page become subsections.
#[must_use]
pub fn section(markdown: &str) -> String {
    let options = Options::ENABLE_TABLES;
    let mut writer = Writer::default();
    for event in Parser::new_ext(markdown, options) {
        writer.take(event);
    }
    writer.page
}

/// Returns `text` as running text of roff: no character of it means anything to roff.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => escaped.push_str("\\(rs"),
            '-' => escaped.push_str("\\-"),
            '\'' => escaped.push_str("\\(aq"),
            '`' => escaped.push_str("\\(ga"),
            '"' => escaped.push_str("\\(dq"),
            '^' => escaped.push_str("\\(ha"),
            '~' => escaped.push_str("\\(ti"),
            it if it.is_ascii() => escaped.push(it),
            it => {
                // Writing to a `String` is infallible.
                let _ = write!(escaped, "\\[u{:04X}]", u32::from(it));
            }
        }
    }
    // A full stop at the beginning of a line would begin a macro, as would an apostrophe, which is escaped.
    if escaped.starts_with('.') {
        escaped.insert_str(0, "\\&");
    }
    escaped
}

/// Returns lines that are shown as they are.
#[must_use]
pub fn verbatim(text: &str) -> String {
    let mut block = ".PP\n.RS 4\n.nf\n".to_owned();
    for line in text.lines() {
        block += &escape(line);
        block.push('\n');
    }
    block + ".fi\n.RE\n"
}

/// Where a table is.
#[derive(Debug, Default)]
struct Table {
    /// The heads of the columns.
    heads: Vec<String>,
    in_head: bool,
    /// The cells of the row, as far as they are complete.
    row: Vec<String>,
}

/// Writes a page, event by event.
#[derive(Debug, Default)]
struct Writer {
    page: String,
    /// Running text that waits for the end of its block.
    text: String,
    /// The next number of each list that is open, inmost last; none for bullets.
    lists: Vec<Option<u64>>,
    /// An item has begun and its first paragraph needs no macro.
    item_begins: bool,
    /// The lines of a fence.
    fence: Option<String>,
    table: Table,
    /// Addresses of links that are open, and where their text begins.
    links: Vec<(String, usize)>,
}

impl Writer {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.begin(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => match &mut self.fence {
                Some(fence) => fence.push_str(&text),
                None => self.text += &escape(&text),
            },
            Event::Code(code) => self.text += &format!("\\fB{}\\fR", breakable(&code)),
            Event::SoftBreak => self.text.push(' '),
            Event::HardBreak => self.text += "\n.br\n",
            Event::Rule => {}
            // The manual has no HTML, mathematics, footnotes or boxes to tick: none is enabled but HTML,
            // and that is shown as it stands.
            Event::Html(text)
            | Event::InlineHtml(text)
            | Event::InlineMath(text)
            | Event::DisplayMath(text)
            | Event::FootnoteReference(text) => self.text += &escape(&text),
            Event::TaskListMarker(done) => self.text += if done { "[x] " } else { "[ ] " },
        }
    }

    fn begin(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::List(first) => {
                self.flush_item();
                if !self.lists.is_empty() {
                    self.page += ".RS 4\n";
                }
                self.lists.push(first);
            }
            Tag::Item => self.begin_item(),
            Tag::CodeBlock(_) => {
                self.flush_item();
                self.fence = Some(String::new());
            }
            Tag::BlockQuote(_) => self.page += ".RS 4\n",
            Tag::Emphasis => self.text += "\\fI",
            Tag::Strong => self.text += "\\fB",
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.links.push((dest_url.into_string(), self.text.len()));
            }
            Tag::Table(_) => self.table = Table::default(),
            Tag::TableHead => self.table.in_head = true,
            Tag::Paragraph
            | Tag::Heading { .. }
            | Tag::TableRow
            | Tag::TableCell
            | Tag::HtmlBlock
            | Tag::FootnoteDefinition(_)
            | Tag::DefinitionList
            | Tag::DefinitionListTitle
            | Tag::DefinitionListDefinition
            | Tag::Strikethrough
            | Tag::Superscript
            | Tag::Subscript
            | Tag::MetadataBlock(_) => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(level) => self.heading(level),
            TagEnd::Paragraph => self.paragraph(),
            TagEnd::List(_) => {
                self.lists.pop();
                if !self.lists.is_empty() {
                    self.page += ".RE\n";
                }
            }
            TagEnd::Item => self.flush_item(),
            TagEnd::CodeBlock => {
                let lines = self.fence.take().unwrap_or_default();
                self.page += &self.indented(&verbatim(&lines));
            }
            TagEnd::BlockQuote(_) => self.page += ".RE\n",
            TagEnd::Emphasis | TagEnd::Strong => self.text += "\\fR",
            TagEnd::Link | TagEnd::Image => self.end_link(),
            TagEnd::TableCell => {
                let cell = std::mem::take(&mut self.text);
                self.table.row.push(cell);
            }
            TagEnd::TableHead => {
                self.table.heads = std::mem::take(&mut self.table.row);
                self.table.in_head = false;
            }
            TagEnd::TableRow => self.table_row(),
            TagEnd::HtmlBlock
            | TagEnd::FootnoteDefinition
            | TagEnd::DefinitionList
            | TagEnd::DefinitionListTitle
            | TagEnd::DefinitionListDefinition
            | TagEnd::Strikethrough
            | TagEnd::Superscript
            | TagEnd::Subscript
            | TagEnd::Table
            | TagEnd::MetadataBlock(_) => {}
        }
    }

    fn heading(&mut self, level: HeadingLevel) {
        let title = std::mem::take(&mut self.text);
        let line = match level {
            HeadingLevel::H1 => format!(".SH \"{}\"\n", uppercase(&title)),
            HeadingLevel::H2 => format!(".SS \"{title}\"\n"),
            HeadingLevel::H3 | HeadingLevel::H4 | HeadingLevel::H5 | HeadingLevel::H6 => {
                format!(".PP\n\\fB{title}\\fR\n")
            }
        };
        self.page += &line;
    }

    fn paragraph(&mut self) {
        let text = std::mem::take(&mut self.text);
        if !std::mem::take(&mut self.item_begins) {
            self.page += if self.lists.is_empty() {
                ".PP\n"
            } else {
                ".IP \"\" 4\n"
            };
        }
        self.page += &text;
        self.page.push('\n');
    }

    fn begin_item(&mut self) {
        let mark = match self.lists.last_mut() {
            Some(Some(number)) => {
                let mark = format!("{number}.");
                *number += 1;
                mark
            }
            Some(None) | None => "\\(bu".to_owned(),
        };
        // Writing to a `String` is infallible.
        let _ = writeln!(self.page, ".IP {mark} 4");
        self.item_begins = true;
    }

    /// Writes the text of a tight item, which has no paragraph.
    fn flush_item(&mut self) {
        if !self.text.is_empty() {
            self.paragraph();
        }
        self.item_begins = false;
    }

    /// Moves a block below the text of the list item that it belongs to.
    fn indented(&self, block: &str) -> String {
        if self.lists.is_empty() {
            block.to_owned()
        } else {
            format!(".RS 4\n{block}.RE\n")
        }
    }

    fn end_link(&mut self) {
        let Some((address, begin)) = self.links.pop() else {
            return;
        };
        let is_foreign = address.starts_with("http");
        // `begin` was the length of the text when the link began, and text is only appended.
        if is_foreign && self.text.get(begin..) != Some(&escape(&address)) {
            self.text += &format!(" <{}>", breakable(&address));
        }
    }

    /// The first cell is the tag; the others follow, each under the head of its column if they are many.
    fn table_row(&mut self) {
        let row = std::mem::take(&mut self.table.row);
        let mut cells = row.iter().zip(&self.table.heads);
        let Some((tag, _)) = cells.next() else {
            return;
        };
        let others: Vec<String> = cells
            .filter(|(cell, _)| !cell.is_empty())
            .map(|(cell, head)| match row.len() {
                2 => cell.clone(),
                _ => format!("{head}: {cell}"),
            })
            .collect();
        let tag = if tag.is_empty() { "\\&" } else { tag };
        self.page += &format!(".TP 4\n{tag}\n{}\n", others.join("\n.br\n"));
    }
}

/// Returns code in which a line may break after a slash, a comma or an equals sign.
fn breakable(code: &str) -> String {
    let mut out = escape(code);
    for mark in ["/", ",", "="] {
        out = out.replace(mark, &format!("{mark}\\:"));
    }
    out
}

/// Returns a title in upper case; escapes and fonts stay as they are.
fn uppercase(title: &str) -> String {
    if title.contains('\\') {
        title.to_owned()
    } else {
        title.to_uppercase()
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(markdown: &str, expected: &Expect) {
        expected.assert_eq(&section(markdown));
    }

    #[test]
    fn headings_paragraphs_and_inline_text() {
        check(
            "# A title\n\nOne *two* **three** `a-b` and\n.dot [here](../tls.md), [there](https://a.example/b).\n\n## Below\n\n### Deep\n\n'q'\n",
            &expect![[r#"
                .SH "A TITLE"
                .PP
                One \fItwo\fR \fBthree\fR \fBa\-b\fR and \&.dot here, there <https:/\:/\:a.example/\:b>\&.
                .SS "Below"
                .PP
                \fBDeep\fR
                .PP
                \(aqq\(aq
            "#]],
        );
    }

    #[test]
    fn lists_and_fences() {
        check(
            "- one\n  two\n- three\n\n  more\n\n  ```sh\n  ls\n  ```\n  1. a\n  2. b\n\n```toml\n.x = '\\'\n\ny = 1\n```\n",
            &expect![[r#"
                .IP \(bu 4
                one two
                .IP \(bu 4
                three
                .IP "" 4
                more
                .RS 4
                .PP
                .RS 4
                .nf
                ls
                .fi
                .RE
                .RE
                .RS 4
                .IP 1. 4
                a
                .IP 2. 4
                b
                .RE
                .PP
                .RS 4
                .nf
                \&.x = \(aq\(rs\(aq

                y = 1
                .fi
                .RE
            "#]],
        );
    }

    #[test]
    fn tables_become_tagged_paragraphs() {
        check(
            "| a | b |\n|---|---|\n| `x` | y |\n\n| key | default | meaning |\n|---|---|---|\n| k | | m |\n",
            &expect![[r#"
                .TP 4
                \fBx\fR
                y
                .TP 4
                k
                meaning: m
            "#]],
        );
    }

    #[test]
    fn nothing_in_text_means_anything_to_roff() {
        let rows = [
            ("a-b", "a\\-b"),
            (".x", "\\&.x"),
            ("'x", "\\(aqx"),
            ("\\n", "\\(rsn"),
            ("é", "\\[u00E9]"),
        ];
        for (text, expected) in rows {
            assert_eq!(escape(text), expected, "{text}");
        }
    }
}
