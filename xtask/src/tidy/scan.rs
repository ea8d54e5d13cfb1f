//! Just enough of Rust's lexical rules to look at code without its comments and strings.
//!
//! Not a parser: rules of `tidy` look for words and paths, and a word in a comment or in a string
//! is not code.

/// Returns `text` with the insides of comments, strings and characters blanked; every line keeps
/// its number and every byte outside them its place.
pub(crate) fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        let len = blank_len(rest, before);
        if len == 0 {
            code.push(c);
            before = c;
            rest = &rest[c.len_utf8()..];
        } else {
            code.extend(
                rest[..len]
                    .chars()
                    .map(|c| if c == '\n' { '\n' } else { ' ' }),
            );
            before = ' ';
            rest = &rest[len..];
        }
    }
    code
}

/// Length in bytes of the comment or literal that `rest` begins with; 0 = it begins with code.
/// `before` is the character in front of it.
fn blank_len(rest: &str, before: char) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment_len(rest);
    }
    if !is_word(before) {
        let after_prefix = rest.trim_start_matches(['b', 'c']);
        let prefix_len = rest.len() - after_prefix.len();
        if let Some(raw) = after_prefix.strip_prefix('r').filter(|_| prefix_len <= 1) {
            let hashes = raw.len() - raw.trim_start_matches('#').len();
            if raw[hashes..].starts_with('"') {
                let end = format!("\"{}", "#".repeat(hashes));
                let inside = &raw[hashes + 1..];
                let len = inside.find(&end).map_or(inside.len(), |at| at + end.len());
                return prefix_len + 1 + hashes + 1 + len;
            }
        }
    }
    match rest.as_bytes() {
        [b'"', ..] => quoted_len(rest, '"'),
        [b'\'', b'\\', ..] => quoted_len(rest, '\''),
        [b'\'', ..] => char_len(rest),
        _ => 0,
    }
}

fn block_comment_len(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn quoted_len(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// `'x'` is a character, `'x` a lifetime or a label.
fn char_len(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(2);
    match chars.next() {
        Some((at, '\'')) => at + 1,
        _ => 0,
    }
}

/// Whether `c` may stand in an identifier.
pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns the byte offsets at which `word` stands in `code` as a whole word.
pub(crate) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| {
            let before = code[..*at].chars().next_back();
            let after = code[*at + word.len()..].chars().next();
            !before.is_some_and(is_word) && !after.is_some_and(is_word)
        })
}

/// Returns the line number, from 1, of the byte offset `at`.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Returns `code` with every item behind `#[cfg(test)]` blanked; lines and places stay.
pub(crate) fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        let len = MARK.len() + item_len(&rest[at + MARK.len()..]);
        let blank = |c: char| if c == '\n' { c } else { ' ' };
        out.push_str(&rest[..at]);
        out.extend(rest[at..at + len].chars().map(blank));
        rest = &rest[at + len..];
    }
    out.push_str(rest);
    out
}

/// Length in bytes of the item that `rest` begins with: up to its semicolon or its last brace.
fn item_len(rest: &str) -> usize {
    let mut depth = 0_usize;
    let is_use = rest.trim_start().starts_with("use ");
    for (at, c) in rest.char_indices() {
        match c {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' if depth == 1 && !is_use => return at + 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    rest.len()
}

/// A function and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

/// Returns every function with a body, by the braces that enclose it.
pub(crate) fn functions(code: &str) -> Vec<Function> {
    words(code, "fn")
        .filter_map(|at| function_at(code, at))
        .collect()
}

fn function_at(code: &str, at: usize) -> Option<Function> {
    let signature = code[at + 2..].trim_start();
    let name: String = signature.chars().take_while(|c| is_word(*c)).collect();
    if name.is_empty() {
        return None;
    }
    let mut nesting = 0_i32;
    let mut depth = 0_usize;
    for (offset, c) in code[at..].char_indices() {
        match c {
            '(' | '[' if depth == 0 => nesting += 1,
            ')' | ']' if depth == 0 => nesting -= 1,
            ';' if depth == 0 && nesting == 0 => return None,
            '{' => depth += 1,
            '}' if depth == 1 => {
                let (line, end) = (line_of(code, at), line_of(code, at + offset));
                return Some(Function {
                    name,
                    line,
                    lines: end - line + 1,
                });
            }
            '}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_characters_are_blanked() {
        #[rustfmt::skip]
        let rows = [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("x\"y", z)"#, r"f(      , z)"),
            (r##"f(r#"x"y"#, z)"##, r"f(        , z)"),
            (r#"f(b"x", z)"#, r"f(b   , z)"),
            (r#"f(br"x", z)"#, r"f(     , z)"),
            ("x == '\"' && y", "x ==     && y"),
            (r"x == '\'' && y", r"x ==      && y"),
            ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
            ("'outer: loop {}", "'outer: loop {}"),
            ("for r in x", "for r in x"),
            ("\"never closed", "             "),
            ("/* never closed", "               "),
        ];
        for (text, expected) in rows {
            assert_eq!(code_of(text), expected, "{text}");
        }
    }

    #[test]
    fn blanking_this_very_file_keeps_lines_and_length() {
        let text = include_str!("scan.rs");
        let code = code_of(text);
        assert_eq!(code.lines().count(), text.lines().count());
        assert!(!code.contains("never closed"));
        assert!(code.contains("fn code_of"));
    }

    #[test]
    fn words_are_whole() {
        let found: Vec<usize> = words("unsafe_code unsafe xunsafe (unsafe)", "unsafe").collect();
        assert_eq!(found, [12, 28]);
    }

    #[test]
    fn functions_are_measured() {
        let code = "trait T { fn a(&self); }\nfn b(x: [u8; 2]) -> u8 {\n  if x {\n  }\n}\nfn c() {}\ntype F = fn(u8);\n";
        let found: Vec<(String, usize, usize)> = functions(code)
            .into_iter()
            .map(|function| (function.name, function.line, function.lines))
            .collect();
        assert_eq!(found, [("b".to_owned(), 2, 4), ("c".to_owned(), 6, 1)]);
    }

    #[test]
    fn tests_are_blanked() {
        #[rustfmt::skip]
        let rows = [
            ("a\n#[cfg(test)]\nmod tests;\nb", "a\n            \n          \nb"),
            ("#[cfg(test)] mod t { f(); { x } } b", "                                  b"),
            ("#[cfg(test)] use a::{b, c}; d", "                            d"),
        ];
        for (code, expected) in rows {
            assert_eq!(without_tests(code), expected, "{code}");
        }
    }
}
