//! The facilities of syslog (RFC 5424 section 6.2.1), by their usual names.

/// Name, number and purpose of each.
const FACILITIES: [(&str, u8, &str); 20] = [
    ("kern", 0, "Kernel messages."),
    ("user", 1, "User-level messages."),
    ("mail", 2, "Mail."),
    ("daemon", 3, "System daemons."),
    ("auth", 4, "Security and authorization."),
    ("syslog", 5, "Messages of syslogd itself."),
    ("lpr", 6, "Printers."),
    ("news", 7, "Network news."),
    ("uucp", 8, "UUCP."),
    ("cron", 9, "Clock daemons."),
    ("authpriv", 10, "Private security and authorization."),
    ("ftp", 11, "FTP."),
    ("local0", 16, "For local use."),
    ("local1", 17, "For local use."),
    ("local2", 18, "For local use."),
    ("local3", 19, "For local use."),
    ("local4", 20, "For local use."),
    ("local5", 21, "For local use."),
    ("local6", 22, "For local use."),
    ("local7", 23, "For local use."),
];

/// The facilities as words of a choice.
pub(super) const WORDS: [(&str, &str, &str); FACILITIES.len()] = {
    let mut words = [("", "", ""); FACILITIES.len()];
    let mut at = 0;
    while at < words.len() {
        let (name, _, meaning) = FACILITIES[at];
        words[at] = (name, name, meaning);
        at += 1;
    }
    words
};

/// Returns whether a facility has this name.
pub(super) fn is_known(name: &str) -> bool {
    FACILITIES.iter().any(|(known, _, _)| *known == name)
}

/// Returns the number of a facility.
pub(super) fn number(name: &str) -> u8 {
    /// That of `daemon`: only known names come here.
    const DEFAULT: u8 = 3;
    let found = FACILITIES.iter().find(|(known, _, _)| *known == name);
    found.map_or(DEFAULT, |(_, number, _)| *number)
}
