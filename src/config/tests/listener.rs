//! Rules of `[[listener]]`, its addresses, trust, TLS and limits.

use super::{check, listener, wrong};
use crate::config::{CertificateFiles, CertificateSource};

#[test]
fn rules_of_bind() {
    let bind = |text: &str| listener(&format!("bind = {text}"));
    for legal in [
        "\"127.0.0.1:80\"",
        "[\"0.0.0.0:80\", \"[::]:80\", \"unix:/run/x\", \"unix:x\"]",
    ] {
        assert_eq!(wrong(&bind(legal)), "nothing", "{legal}");
    }
    let long = format!("\"unix:/{}\"", "x".repeat(107));
    let rows = [
        ("[]", "listener[0].bind: is empty; at least one: {}"),
        ("80", "listener[0].bind: is an integer; {}"),
        ("[80]", "listener[0].bind[0]: is an integer; {}"),
        (
            "\"127.0.0.1\"",
            "listener[0].bind: \"127.0.0.1\" has no port (an IPv6 address stands in brackets before it); {}",
        ),
        (
            "\"::1\"",
            "listener[0].bind: \"::1\" has no port (an IPv6 address stands in brackets before it); {}",
        ),
        ("\"80\"", "listener[0].bind: \"80\" has no port; {}"),
        (
            "\"127.0.0.1:\"",
            "listener[0].bind: \"127.0.0.1:\" has the port \"\", not one from 1 to 65535; {}",
        ),
        (
            "\"127.0.0.1:0\"",
            "listener[0].bind: \"127.0.0.1:0\" has the port \"0\", not one from 1 to 65535; {}",
        ),
        (
            "\"127.0.0.1:+80\"",
            "listener[0].bind: \"127.0.0.1:+80\" has the port \"+80\", not one from 1 to 65535; {}",
        ),
        (
            "\"127.0.0.1:65536\"",
            "listener[0].bind: \"127.0.0.1:65536\" has the port \"65536\", not one from 1 to 65535; {}",
        ),
        (
            "\"*:80\"",
            "listener[0].bind: \"*:80\" names no address (0.0.0.0:80 and [::]:80 are all of them); {}",
        ),
        (
            "\"localhost:80\"",
            "listener[0].bind: \"localhost:80\" begins with \"localhost\", which is no IP address; {}",
        ),
        ("\"unix:\"", "listener[0].bind: \"unix:\" names no path; {}"),
        (
            "[\"127.0.0.1:80\", \"127.0.0.1:80\"]",
            "listener[0].bind[1]: \"127.0.0.1:80\" is taken by listener[0].bind[0] already; {}",
        ),
        (
            "[\"unix:run/a\", \"unix:./run//a\"]",
            "listener[0].bind[1]: \"unix:./run//a\" is taken by listener[0].bind[0] already; {}",
        ),
    ];
    for (text, expected) in rows {
        let expected = expected.replace("{}", "IP:PORT, [IPv6]:PORT or unix:/path");
        check(bind, &[(text, &expected)]);
    }
    assert!(wrong(&bind(&long)).contains(" has a path of 108 bytes, more than 107; "));
}

/// A file with one listener that has an address.
fn bound(lines: &str) -> String {
    listener(&format!("bind = \"127.0.0.1:80\"\n{lines}"))
}

#[test]
fn rules_of_listeners() {
    check(
        bound,
        &[
            ("name = \"edge\"", "nothing"),
            (
                "name = \"\"",
                "listener[0].name: \"\" is empty; a name of at most 128 bytes",
            ),
            (
                "name = \"a\\nb\"",
                "listener[0].name: \"a\\nb\" holds a control character; a name of at most 128 bytes",
            ),
            (
                "mode = \"https\"",
                "listener[0].mode: \"https\" is unknown; https is http over TLS, which [listener.tls] and [backend.tls] switch on. One of http, tcp or sni",
            ),
            ("mode = \"tcp\"", "nothing"),
            ("mode = \"sni\"", "nothing"),
        ],
    );
}

#[test]
fn rules_of_trust() {
    check(
        bound,
        &[
            (
                "proxy_protocol = \"on\"",
                "listener[0].proxy_protocol: \"on\" is unknown; off, optional or require",
            ),
            (
                "proxy_protocol = \"require\"\ntrusted_proxies = []",
                "listener[0].proxy_protocol: \"require\" with empty trusted_proxies refuses every \
             connection; name the balancers in trusted_proxies",
            ),
            (
                "proxy_protocol = \"require\"\ntrusted_proxies = [\"unix:\"]",
                "nothing",
            ),
            (
                "proxy_protocol = \"require\"\ntrusted_proxies = [0]",
                "listener[0].trusted_proxies[0]: is an integer; \
             an address, a range such as 10.0.0.0/8, or unix:",
            ),
            (
                "proxy_protocol = \"require\"\ntrusted_proxies = \"10.0.0.0/8\"",
                "nothing",
            ),
            (
                "trusted_proxies = [\"10.0.0.0/8\", \"10.0.0.1/8\", \"x\", 1]",
                "listener[0].trusted_proxies[1]: \"10.0.0.1/8\" is no range: bits are set behind the \
             prefix; the range is 10.0.0.0/8; an address, a range such as 10.0.0.0/8, or unix:\n\
             listener[0].trusted_proxies[2]: \"x\" is no range: 'x' is not an IP address; \
             an address, a range such as 10.0.0.0/8, or unix:\n\
             listener[0].trusted_proxies[3]: is an integer; \
             an address, a range such as 10.0.0.0/8, or unix:",
            ),
        ],
    );
}

#[test]
fn rules_of_timeouts_and_unknown_keys() {
    check(
        bound,
        &[
            (
                "timeouts.keep_alive = 65",
                "listener[0].timeouts.keep_alive: is an integer; \
             a whole number and a unit such as \"300ms\", \"10s\", \"5m\" or \"24h\"",
            ),
            (
                "timeouts.connect = \"5s\"",
                "listener[0].timeouts.connect: unknown key; \
             proxy_header, tls_handshake, request_header, keep_alive",
            ),
            (
                "timeouts = \"5s\"",
                "listener[0].timeouts: is a string; a table",
            ),
            (
                "error.503 = \"x\"",
                "listener[0].error: unknown key; did you mean errors?",
            ),
            (
                "pages.503 = \"x\"",
                "listener[0].pages: unknown key; name, bind, mode, behind, proxy_protocol, trusted_proxies, tcp_keepalive, freebind, tls, timeouts, limits, errors, route",
            ),
        ],
    );
}

#[test]
fn a_name_belongs_to_one_listener() {
    let twice = bound("name = \"a\"")
        + "[[listener]]\nname = \"a\"\nbind = \"[::]:1\"\nroute = [{ backend = \"app\" }]";
    assert_eq!(
        wrong(&twice),
        "9:8: listener[1].name: \"a\" is the name of listener[0].name already; a name of at most 128 bytes"
    );
}

#[test]
fn rules_of_limits() {
    let limits =
        |lines: &str| listener(&format!("bind = \"127.0.0.1:80\"\nlimits = {{ {lines} }}"));
    check(
        limits,
        &[
            ("", "nothing"),
            (
                "request_line = 1000, head = \"1MiB\", headers = 1, max_body = \"none\"",
                "nothing",
            ),
            ("head = \"256B\", max_body = \"0B\"", "nothing"),
            ("max_body = \"8GiB\"", "nothing"),
            (
                "head = \"1025KiB\"",
                "listener[0].limits.head: \"1025KiB\" is above the limit 1MiB; \
             a whole number and a unit such as \"512B\", \"16KiB\" or \"1MiB\"",
            ),
            (
                "head = 255",
                "listener[0].limits.head: 255 is out of range; a whole number from 256 to 1048576",
            ),
            (
                "head = \"32K\"",
                "listener[0].limits.head: \"32K\" has the unknown unit \"K\"; \
             a whole number and a unit such as \"512B\", \"16KiB\" or \"1MiB\"",
            ),
            (
                "head = \"32\"",
                "listener[0].limits.head: \"32\" has no unit; \
             a whole number and a unit such as \"512B\", \"16KiB\" or \"1MiB\"",
            ),
            (
                "request_line = \"33KiB\"",
                "listener[0].limits.request_line: is more than head; at most 32KiB",
            ),
            (
                "head = \"1KiB\", request_line = 0",
                "listener[0].limits.request_line: 0 is out of range; a whole number from 64 to 65536",
            ),
            (
                "headers = 0",
                "listener[0].limits.headers: 0 is out of range; a whole number from 1 to 1024",
            ),
            (
                "max_body = \"off\"",
                "listener[0].limits.max_body: \"off\" is not a size; \
             none, or a whole number and a unit such as \"512B\", \"16KiB\" or \"1MiB\"",
            ),
        ],
    );
}

#[test]
fn rules_of_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let pem = folder.path().join("a.pem");
    let (cert, key) = super::identity();
    std::fs::write(&pem, cert + &key).expect("a file");
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").expect("a file");
    let crl = folder.path().join("crl.pem");
    std::fs::write(crl, crate::tls::testing::revocation_list("authority")).expect("a file");
    let folder_path = folder.path();
    let (folder, pem) = (folder_path.display(), pem.display());
    let tls = |mode: &str, lines: &str| {
        listener(&format!(
            "bind = \"127.0.0.1:80\"\nmode = \"{mode}\"\ntls = {{ {lines} }}"
        ))
    };
    let certificate = "the path of a PEM file, a folder (\"DIR/\") or { cert = PATH, key = PATH }";
    let rows = [
        (format!("certificates = [\"{pem}\"]"), "nothing".to_owned()),
        (format!("certificates = \"{pem}\""), "nothing".to_owned()),
        (
            format!("certificates = {{ cert = \"{pem}\" }}"),
            "nothing".to_owned(),
        ),
        (
            format!(
                "certificates = [\"{folder}/empty.pem\", {{ cert = \"{pem}\", key = \"{folder}/empty.pem\" }}]"
            ),
            format!(
                "listener[0].tls.certificates[0]: {folder}/empty.pem: holds no certificate \
                 (BEGIN CERTIFICATE)\n\
                 listener[0].tls.certificates[1]: {pem} with the key of {folder}/empty.pem: the private key \
                 is missing: a BEGIN PRIVATE KEY block, here or in key = PATH"
            ),
        ),
        (
            format!("certificates = \"{pem}\", client_ca = \"{folder}/empty.pem\""),
            "listener[0].tls.client_ca: holds no certificate (BEGIN CERTIFICATE); the path of a PEM file"
                .to_owned(),
        ),
        (
            String::new(),
            format!("listener[0].tls.certificates: missing; {certificate}"),
        ),
        (
            "certificates = []".to_owned(),
            format!("listener[0].tls.certificates: is empty; at least one: {certificate}"),
        ),
        (
            format!(
                "certificates = [\"{pem}\", \"{folder}/b.pem\", \"{folder}\", {{ key = \"{pem}\", ca = 1 }}]"
            ),
            format!(
                "listener[0].tls.certificates[1]: \"{folder}/b.pem\" cannot be read: \
                 No such file or directory (os error 2); {certificate}\n\
                 listener[0].tls.certificates[2]: \"{folder}\" is no regular file; {certificate}\n\
                 listener[0].tls.certificates[3].cert: missing; the path of a PEM file\n\
                 listener[0].tls.certificates[3].ca: unknown key; cert, key"
            ),
        ),
        (
            format!(
                "certificates = \"{pem}\", client_ca = \"{folder}/c\", min_version = \"1.1\", offload = true"
            ),
            format!(
                "listener[0].tls.client_ca: \"{folder}/c\" cannot be read: \
                 No such file or directory (os error 2); the path of a PEM file\n\
                 listener[0].tls.min_version: \"1.1\" is unknown; 1.2 or 1.3\n\
                 listener[0].tls.offload: is a boolean; adaptive, always or never"
            ),
        ),
    ];
    for (lines, expected) in &rows {
        check(|lines| tls("http", lines), &[(lines, expected)]);
    }
    let ticket = folder_path.join("a.ticket");
    std::fs::write(&ticket, super::ticket_key("a")).expect("a file");
    let ticket = ticket.display();
    let file = "the path of a file of 80 random bytes";
    let many = format!("\"{ticket}\", ").repeat(17);
    for (keys, expected) in [
        (format!("\"{ticket}\""), "nothing".to_owned()),
        (
            format!("[\"{ticket}\", \"{ticket}\"]"),
            "nothing".to_owned(),
        ),
        ("[]".to_owned(), "nothing".to_owned()),
        (
            format!("[\"{ticket}\", \"{pem}\", \"{folder}/c\"]"),
            format!(
                "listener[0].tls.ticket_keys[1]: is text; a ticket key is 80 random bytes, \
                 openssl rand -out FILE 80 makes one; {file}\n\
                 listener[0].tls.ticket_keys[2]: \"{folder}/c\" cannot be read: \
                 No such file or directory (os error 2); {file}"
            ),
        ),
        (
            format!("[{many}]"),
            "listener[0].tls.ticket_keys[16]: is one too many; at most 16 ticket keys".to_owned(),
        ),
    ] {
        let lines = format!("certificates = \"{pem}\", ticket_keys = {keys}");
        check(|lines| tls("http", lines), &[(&lines, &expected)]);
    }
    let subject = |more: &str| format!("certificates = \"{pem}\", client_subject = {more}");
    let told = format!("true, client_ca = \"{pem}\"");
    for (mode, lines, expected) in [
        ("http", subject(&told), "nothing"),
        ("http", subject("false"), "nothing"),
        (
            "http",
            subject("true"),
            "listener[0].tls.client_subject: needs client_ca: without it no client shows a certificate",
        ),
        (
            "tcp",
            subject(&told),
            "listener[0].tls.client_subject: is a header of HTTP, which mode = \"tcp\" has not; \
             send_proxy = \"v2\" tells the common name",
        ),
    ] {
        check(|lines| tls(mode, lines), &[(&lines, expected)]);
    }
    for (lines, expected) in [
        (
            "client_auth = \"request\"".to_owned(),
            "listener[0].tls.client_auth: needs client_ca: without it no client shows a certificate"
                .to_owned(),
        ),
        (
            format!("crl = \"{folder}/crl.pem\""),
            "listener[0].tls.crl: needs client_ca: without it no client shows a certificate"
                .to_owned(),
        ),
        (
            format!("client_ca = \"{pem}\", client_auth = \"optional\""),
            "listener[0].tls.client_auth: \"optional\" is unknown; require or request".to_owned(),
        ),
        (
            format!("client_ca = \"{pem}\", crl = \"{folder}/crl.pem\", client_auth = \"require\""),
            "nothing".to_owned(),
        ),
        (
            format!("client_ca = \"{pem}\", crl = \"{folder}/empty.pem\""),
            "listener[0].tls.crl: holds no revocation list (BEGIN X509 CRL); the path of a file of \
             revocation lists, in PEM or DER"
                .to_owned(),
        ),
    ] {
        let lines = format!("certificates = \"{pem}\", {lines}");
        check(|lines| tls("http", lines), &[(&lines, &expected)]);
    }
    let lines =
        format!("certificates = \"{pem}\", client_ca = \"{pem}\", crl = \"{folder}/crl.pem\"");
    let warnings = super::read(&tls("tcp", &lines)).expect("legal").warnings;
    let expected = "listener[0].tls.crl: holds no list of CN=rcgen self signed cert, which is in client_ca: \
                    clients with its certificates are refused";
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains(expected), "{warnings:?}");
    let sni = tls("sni", &format!("certificates = \"{pem}\""));
    assert_eq!(
        wrong(&sni),
        "4:7: listener[0].tls: mode = \"sni\" passes TLS through unopened; \
         no [listener.tls], or another mode"
    );
}

#[test]
fn a_relative_path_starts_at_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let (cert, key) = super::identity();
    std::fs::write(folder.path().join("a.pem"), key + &cert).expect("a file");
    let text = listener("bind = \"unix:x\"\ntls.certificates = [\"a.pem\", { cert = \"a.pem\" }]");
    let file = folder.path().join("longsplice.toml");
    let config = crate::config::parse(&text, &file).expect("legal");
    let tls = config.listeners[0].tls.as_ref().expect("set");
    let pem = folder.path().join("a.pem");
    let combined = CertificateSource::Files(CertificateFiles {
        cert: pem.clone(),
        key: pem,
    });
    assert_eq!(tls.certificates, [combined.clone(), combined]);
    let expected = format!("unix:{}/x", folder.path().display());
    assert_eq!(config.listeners[0].bind[0].to_string(), expected);
}

#[test]
fn rules_of_error_pages() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("a file");
        path.display().to_string()
    };
    let (page, long) = (file("a.html", b"<p>"), file("b", &[b'x'; 64 * 1024 + 1]));
    let errors =
        |lines: &str| listener(&format!("bind = \"127.0.0.1:80\"\nerrors = {{ {lines} }}"));
    let wanted = "the path of a file of at most 64KiB";
    let statuses = "400, 404, 408, 413, 414, 426, 431, 500, 501, 502, 503 or 504";
    let rows = [
        (String::new(), "nothing".to_owned()),
        (
            format!("503 = \"{page}\", 400 = \"{page}\""),
            "nothing".to_owned(),
        ),
        (
            format!("503 = \"{page}.\""),
            format!(
                "listener[0].errors.503: \"{page}.\" cannot be read: \
                 No such file or directory (os error 2); {wanted}"
            ),
        ),
        (
            "503 = \"/dev/zero\", 502 = 1, 504 = \"\"".to_owned(),
            format!(
                "listener[0].errors.503: \"/dev/zero\" is no regular file; {wanted}\n\
                 listener[0].errors.502: is an integer; {wanted}\n\
                 listener[0].errors.504: \"\" is empty; {wanted}"
            ),
        ),
        (
            format!("503 = \"{long}\""),
            format!("listener[0].errors.503: is longer than 64KiB; {wanted}"),
        ),
        (
            format!("200 = \"{page}\", x = 1, 0503 = \"{page}\""),
            format!(
                "listener[0].errors.200: \"200\" is no status that longsplice refuses with; {statuses}\n\
                 listener[0].errors.x: \"x\" is no status that longsplice refuses with; {statuses}\n\
                 listener[0].errors.0503: \"0503\" is no status that longsplice refuses with; {statuses}"
            ),
        ),
    ];
    for (lines, expected) in &rows {
        check(errors, &[(lines, expected)]);
    }
    let tcp = |lines: &str| errors(lines).replace("errors =", "mode = \"tcp\"\nerrors =");
    check(
        tcp,
        &[(
            "200 = 1",
            "listener[0].errors: does not belong here: the proxy speaks no HTTP on this listener; \
             mode = \"http\"",
        )],
    );
}

#[test]
fn error_pages_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let rows: [(u16, &str, &[u8], &str); 4] = [
        (
            400,
            "a.html",
            "<p>\u{e4}".as_bytes(),
            "text/html; charset=utf-8",
        ),
        (404, "b.HTM", b"<p>\xe4", "text/html"),
        (502, "c.txt", b"", "text/plain; charset=utf-8"),
        (503, "html", b"\xe4", "text/plain"),
    ];
    let mut lines = String::new();
    for (status, name, content, _) in rows {
        std::fs::write(folder.path().join(name), content).expect("a file");
        lines = format!("errors.{status} = \"{name}\"\n{lines}");
    }
    let text = listener(&format!("bind = \"127.0.0.1:80\"\n{lines}"));
    let config = crate::config::parse(&text, &folder.path().join("x")).expect("legal");
    super::full::round_trip(&config);
    let errors = &config.listeners[0].errors;
    for (status, name, content, media_type) in rows {
        let page = errors.of(status).expect("a page");
        assert_eq!((&*page.bytes, page.media_type), (content, media_type));
        assert_eq!(page.file, folder.path().join(name));
    }
    assert_eq!(errors.of(504), None);
    let printed = config.to_string();
    let page = format!(
        "[listener.errors]\n400 = \"{}/a.html\"\n",
        folder.path().display()
    );
    assert!(printed.contains(&page), "{printed}");
}

#[test]
fn rules_of_hsts() {
    let folder = tempfile::tempdir().expect("a folder");
    let pem = folder.path().join("a.pem");
    let (cert, key) = super::identity();
    std::fs::write(&pem, cert + &key).expect("a file");
    let in_mode = |mode: &str, lines: &str| {
        let pem = pem.display();
        listener(&format!(
            "bind = \"127.0.0.1:80\"\nmode = \"{mode}\"\ntls = {{ certificates = \"{pem}\", hsts = {lines} }}"
        ))
    };
    let wanted = "a whole number and a unit such as \"8760h\", at most 87600h";
    let wrong_rows = [
        (
            "1",
            format!("listener[0].tls.hsts: is an integer; {wanted}"),
        ),
        (
            "\"365\"",
            format!("listener[0].tls.hsts: \"365\" has no unit; {wanted}"),
        ),
        (
            "\"1500ms\"",
            format!("listener[0].tls.hsts: \"1500ms\" is no whole number of seconds; {wanted}"),
        ),
        (
            "\"87601h\"",
            format!("listener[0].tls.hsts: \"87601h\" is above the limit 87600h; {wanted}"),
        ),
        (
            "{ }",
            format!("listener[0].tls.hsts.max_age: missing; {wanted}"),
        ),
        (
            "{ max_age = \"1h\", preload = 1, sub = true }",
            "listener[0].tls.hsts.preload: is an integer; true or false\n\
             listener[0].tls.hsts.sub: unknown key; max_age, include_subdomains, preload"
                .to_owned(),
        ),
    ];
    for (lines, expected) in &wrong_rows {
        check(|lines| in_mode("http", lines), &[(lines, expected)]);
    }
    check(
        |lines| in_mode("tcp", lines),
        &[(
            "\"1h\"",
            "listener[0].tls.hsts: does not belong here: the proxy speaks no HTTP on this listener; \
             mode = \"http\"",
        )],
    );
    let right_rows = [
        ("\"8760h\"", "max-age=31536000", 0),
        ("\"0s\"", "max-age=0", 0),
        (
            "{ max_age = \"17520h\", include_subdomains = true, preload = true }",
            "max-age=63072000; includeSubDomains; preload",
            0,
        ),
        (
            "{ max_age = \"24h\", preload = true }",
            "max-age=86400; preload",
            1,
        ),
    ];
    for (lines, value, warnings) in right_rows {
        let config = super::read(&in_mode("http", lines)).expect("legal");
        super::full::round_trip(&config);
        assert_eq!(config.listeners[0].strict_transport(), Some(value));
        assert_eq!(config.warnings.len(), warnings, "{:?}", config.warnings);
    }
}
