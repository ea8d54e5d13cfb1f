//! The machine's own apt sources: which mirror of Debian it uses, and with which keys.
//!
//! Pure: text in, values out. Both forms of sources are read (sources.list(5)): one line each, and
//! paragraphs of fields (deb822).

/// One source: an archive and the suites that the machine takes from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    uri: String,
    suites: Vec<String>,
    /// File of the keys that may sign it; none = what apt trusts anyway.
    signed_by: Option<String>,
}

/// Where Debian is, as far as this machine is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Debian {
    archive: Source,
    security: Option<Source>,
}

impl Debian {
    /// Picks the archive of the release named `codename`, and that of its security updates.
    pub(super) fn among(sources: &[Source], codename: &str) -> Option<Self> {
        let offering = |suite: &str| {
            sources
                .iter()
                .find(|source| source.suites.iter().any(|own| own == suite))
        };
        Some(Self {
            archive: offering(codename)?.clone(),
            security: offering(&format!("{codename}-security")).cloned(),
        })
    }

    /// Returns the sources.list of one suite, with the security updates of a stable one.
    pub(super) fn list(&self, suite: &str) -> String {
        let line = |source: &Source, suite: &str| {
            let signed_by = source.signed_by.iter();
            let signed_by: String = signed_by.map(|file| format!(" signed-by={file}")).collect();
            format!("deb [arch=amd64{signed_by}] {} {suite} main\n", source.uri)
        };
        let mut text = line(&self.archive, suite);
        let has_security = !suite.contains('-') && suite != "sid";
        if let (true, Some(security)) = (has_security, &self.security) {
            text.push_str(&line(security, &format!("{suite}-security")));
        }
        text
    }
}

/// Reads a file of one-line sources.
pub(super) fn of_lines(text: &str) -> Vec<Source> {
    text.lines().filter_map(of_line).collect()
}

fn of_line(line: &str) -> Option<Source> {
    let rest = line.trim().strip_prefix("deb ")?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let (uri, suite) = (words.next()?, words.next()?);
    let signed_by = options
        .split_whitespace()
        .find_map(|option| option.strip_prefix("signed-by="));
    Some(Source {
        uri: uri.to_owned(),
        suites: vec![suite.to_owned()],
        signed_by: signed_by.map(str::to_owned),
    })
}

/// Reads a file of deb822 sources.
pub(super) fn of_paragraphs(text: &str) -> Vec<Source> {
    let is_comment = |line: &&str| line.starts_with('#');
    let text: Vec<&str> = text.lines().filter(|line| !is_comment(line)).collect();
    text.split(|line| line.trim().is_empty())
        .filter_map(of_paragraph)
        .collect()
}

fn of_paragraph(lines: &[&str]) -> Option<Source> {
    let field = |name: &str| {
        lines.iter().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    let is_binary = field("Types")?.split_whitespace().any(|kind| kind == "deb");
    let is_off = field("Enabled").is_some_and(|value| value.eq_ignore_ascii_case("no"));
    if !is_binary || is_off {
        return None;
    }
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    Some(Source {
        uri: field("URIs")?.split_whitespace().next()?.to_owned(),
        suites: words(field("Suites")?),
        // A key in the file itself stands in lines of its own, below an empty value.
        signed_by: field("Signed-By")
            .filter(|file| file.starts_with('/'))
            .map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAGRAPHS: &str = "Types: deb\n# a remark\nURIs: http://deb.debian.org/debian\n\
        Suites: bookworm bookworm-updates\nComponents: main\nSigned-By: /usr/share/keyrings/d.gpg\n\n\
        Types: deb deb-src\nURIs: http://deb.debian.org/debian-security\nSuites: bookworm-security\n\
        Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n\n\
        Types: deb\nEnabled: no\nURIs: http://off\nSuites: bookworm\n\n\
        Types: deb-src\nURIs: http://src\nSuites: bookworm\n";

    #[test]
    fn paragraphs_are_read() {
        let sources = of_paragraphs(PARAGRAPHS);
        let debian = Debian::among(&sources, "bookworm").unwrap();
        assert_eq!(sources.len(), 2);
        assert_eq!(
            debian.list("bookworm"),
            "deb [arch=amd64 signed-by=/usr/share/keyrings/d.gpg] http://deb.debian.org/debian bookworm main\n\
             deb [arch=amd64] http://deb.debian.org/debian-security bookworm-security main\n"
        );
        for suite in ["bookworm-backports", "sid"] {
            let line = format!(
                "deb [arch=amd64 signed-by=/usr/share/keyrings/d.gpg] http://deb.debian.org/debian {suite} main\n"
            );
            assert_eq!(debian.list(suite), line);
        }
    }

    #[test]
    fn lines_are_read() {
        let text = "# deb http://no bookworm main\n\
            deb [arch=amd64 signed-by=/k.gpg] https://packages.example.com/apt x main\n\
            deb-src http://mirror/debian bookworm main\n\
            deb http://mirror/debian bookworm main contrib\n\
            deb [ signed-by=/s.gpg ] http://mirror/sec bookworm-security main\nnonsense\n";
        let sources = of_lines(text);
        assert_eq!(sources.len(), 3);
        let debian = Debian::among(&sources, "bookworm").unwrap();
        assert_eq!(
            debian.list("bookworm"),
            "deb [arch=amd64] http://mirror/debian bookworm main\n\
             deb [arch=amd64 signed-by=/s.gpg] http://mirror/sec bookworm-security main\n"
        );
        assert_eq!(Debian::among(&sources, "trixie"), None);
    }
}
