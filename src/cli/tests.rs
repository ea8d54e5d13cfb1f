//! What people read: the help pages, as snapshots, and what cannot be typed together.

use clap::Parser;
use expect_test::{Expect, expect};

use super::args::CommandLine;

fn check(command: &[&str], expected: &Expect) {
    let words = ["longsplice"].iter().chain(command).chain(&["--help"]);
    let page = CommandLine::try_parse_from(words).expect_err("help is no command");
    let page = page.to_string();
    let lines: Vec<&str> = page.lines().map(str::trim_end).collect();
    expected.assert_eq(&lines.join("\n"));
    for line in lines {
        assert!(line.len() <= 100, "does not fit a terminal: {line}");
    }
}

#[test]
fn help_of_the_program() {
    check(
        &[],
        &expect![[r#"
            Kernel-accelerated L4 splice proxy for WebSocket applications

            Usage: longsplice <COMMAND>

            Commands:
              run     Run in the foreground until SIGTERM or SIGINT
              check   Look for every mistake of a configuration file
              doctor  Show what this kernel and machine offer
              ctl     Look into a running longsplice, and tell it what to do
              top     Watch a running longsplice in this terminal
              schema  Print the JSON Schema of configuration files
              demo    Show a WebSocket through the proxy: no file, no root

            Options:
              -h, --help     Print help
              -V, --version  Print version

            Examples:
              longsplice demo
                  See it work: no file, no root; prints the URL of a page to open.
              longsplice run --listen 0.0.0.0:8080 --to 127.0.0.1:3000
                  Stand in front of one application, without a file.
              longsplice check -c /etc/longsplice.toml && longsplice run -c /etc/longsplice.toml
                  Look for every mistake of a file first, then run it.

            Exit codes:
              0  fine
              1  could not run, or died
              2  usage or configuration"#]],
    );
}

#[test]
fn help_of_run() {
    check(
        &["run"],
        &expect![[r#"
            Run in the foreground until SIGTERM or SIGINT

            With a file (-c), or without one for a single application (--listen and --to): the
            same engine and the same rules. Log and access lines go to standard error.

            Usage: longsplice run -c FILE
                   longsplice run --listen ADDR --to ADDR [OPTIONS]

            Options:
              -c, --config <FILE>
                      Configuration file, in TOML

              -h, --help
                      Print help (see a summary with '-h')

            Without a file:
                  --listen <ADDR>
                      Where to listen

                  --to <ADDR>
                      The server to forward to

                  --mode <MODE>
                      What is spoken: requests are routed, or bytes passed on

                      [default: http]
                      [possible values: http, tcp]

                  --tls-cert <PEM>
                      End TLS here: the chain, leaf first, with the key

                  --tls-key <PEM>
                      The key, if it has a file of its own

                  --proxy-protocol <WHEN>
                      Whether a PROXY header comes first

                      [default: off]
                      [possible values: off, optional, require]

                  --trust <CIDR>
                      Whose PROXY header and X-Forwarded-* are believed (repeatable)

                  --send-proxy <VERSION>
                      Send the server a PROXY header of this version

                      [possible values: v1, v2]

            Signals:
              SIGTERM, SIGINT   drain: accept nothing new, wait for tunnels (server.drain_timeout), exit 0;
                                a second one ends at once with exit 1
              SIGUSR1           opens the log's file again

            Addresses:
              --listen  IP:PORT, [IPv6]:PORT or unix:/path
              --to      IP:PORT, [IPv6]:PORT, NAME:PORT or unix:/path

            Examples:
              longsplice run -c /etc/longsplice.toml
              longsplice run --listen 0.0.0.0:8080 --to localhost:3000
              longsplice run --listen '[::]:80' --to unix:/run/app.sock \
                  --proxy-protocol require --trust 10.0.0.0/8 --send-proxy v1"#]],
    );
}

#[test]
fn help_of_top() {
    check(
        &["top"],
        &expect![[r#"
        Watch a running longsplice in this terminal

        Servers, tunnels, rates and causes of the process at an admin socket
        (server.admin_socket), renewed again and again. Press ? for the keys.

        Usage: longsplice top [OPTIONS]

        Options:
              --socket <PATH>
                  The admin socket of the process (server.admin_socket)

                  [default: /run/longsplice/admin.sock]

              --interval <TIME>
                  How often it is asked, from 100ms to 60s

                  [default: 1s]

              --once
                  Print one page of plain text, with the rates of one interval, and exit

          -h, --help
                  Print help (see a summary with '-h')

        A line can be acted upon, as with `longsplice ctl`: D drains the server, U takes it back,
        K ends the tunnel; each asks first. A process that is lost is tried again once a second.
        There are no colours when NO_COLOR is set.

        Examples:
          longsplice top
          longsplice top --once --interval 5s >> report

        Exit codes:
          0  somebody quit, or the page was printed
          1  nobody answered at the start, or the terminal failed
          2  usage; standard output is no terminal and --once is missing"#]],
    );
}

#[test]
fn help_of_check() {
    check(
        &["check"],
        &expect![[r#"
            Look for every mistake of a configuration file

            All of them at once, each with its position and with what is allowed. Nothing is
            opened but the file and the certificates it names.

            Usage: longsplice check [OPTIONS] --config <FILE>

            Options:
              -c, --config <FILE>
                      Configuration file, in TOML

                  --print
                      Print the effective configuration with every default, as TOML, instead of 'ok'

              -h, --help
                      Print help (see a summary with '-h')

            Each mistake is a line on standard error:
              FILE:LINE:COL: key.path: what is wrong; what is allowed
            A file without mistakes is answered with 'FILE: ok' on standard output.

            Exit codes:
              0  the file can be run
              2  it cannot, or cannot be read"#]],
    );
}

#[test]
fn help_of_doctor() {
    check(
        &["doctor"],
        &expect![[r#"
            Show what this kernel and machine offer

            One line for each capability (io_uring, kTLS, splice, limits), with what to do
            when it is missing. Nothing is changed.

            Usage: longsplice doctor [OPTIONS]

            Options:
                  --json
                      Print one JSON object

                  --sandbox
                      Confine this process like one that serves; exit 1 if that lets anything through

              -h, --help
                      Print help (see a summary with '-h')"#]],
    );
}

#[test]
fn help_of_demo() {
    check(
        &["demo"],
        &expect![[r#"
            Show a WebSocket through the proxy: no file, no root

            Starts an embedded echo application and the proxy in front of it, with a
            certificate made on the spot, and prints the URL of a page to try it in a browser.

            Usage: longsplice demo [OPTIONS]

            Options:
                  --listen <IP:PORT>
                      Where to listen

              -h, --help
                      Print help (see a summary with '-h')"#]],
    );
}

#[test]
fn what_can_be_typed() {
    let rows = [
        ("run -c f", true),
        ("run --config f", true),
        ("run --listen a --to b", true),
        (
            "run --listen a --to b --mode tcp --proxy-protocol require --trust c --trust d",
            true,
        ),
        (
            "run --listen a --to b --tls-cert p --tls-key k --send-proxy v2",
            true,
        ),
        ("run", false),
        ("run --listen a", false),
        ("run --to b", false),
        ("run -c f --listen a --to b", false),
        ("run -c f --to b", false),
        ("run -c f --mode tcp", false),
        ("run -c f --trust c", false),
        ("run --listen a --to b --mode sni", false),
        ("run --listen a --to b --tls-key k", false),
        ("run --listen a --to b --send-proxy off", false),
        ("check -c f", true),
        ("check -c f --print", true),
        ("check", false),
        ("check f", false),
        ("doctor --json", true),
        ("doctor --sandbox", true),
        ("doctor --sandbox --json", false),
        ("demo", true),
        ("demo --listen 127.0.0.1:8443", true),
        ("demo --listen 8443", false),
        ("ctl status", true),
        ("ctl --socket s tunnels --min-age 1h --json", true),
        ("ctl dance", false),
        ("ctl", false),
        ("", false),
    ];
    for (line, allowed) in rows {
        let words = std::iter::once("longsplice").chain(line.split_whitespace());
        let parsed = CommandLine::try_parse_from(words);
        assert_eq!(parsed.is_ok(), allowed, "{line}");
    }
}
