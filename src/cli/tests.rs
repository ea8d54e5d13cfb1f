//! What people read: the help pages, as snapshots, and what cannot be typed together.

mod fences;
mod generated;

use clap::{CommandFactory, Parser};
use expect_test::{Expect, expect};

use super::args::CommandLine;
use crate::manual;

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
              run          Run the proxy in the foreground until SIGTERM or SIGINT
              check        List every mistake in a configuration file
              doctor       Report what this machine supports
              ctl          Inspect and control a running longsplice
              top          Watch a running longsplice in this terminal
              schema       Print the JSON Schema of configuration files
              demo         Try a WebSocket through the proxy: no file, no root
              help         Print a page of the manual, or list its topics
              man          Write man pages into a directory
              completions  Print the completions of a shell

            Options:
              -h, --help     Print help
              -V, --version  Print version

            Examples:
              longsplice demo
                  Try it: needs no file and no root; prints the URL of a page to open.
              longsplice run --listen 0.0.0.0:8080 --to 127.0.0.1:3000
                  Run in front of one application, without a file.
              longsplice check -c longsplice.toml && longsplice run -c longsplice.toml
                  List every mistake in a file; run it if there is none.

            Exit codes:
              0  success
              1  longsplice could not run, or died
              2  wrong usage, or a wrong configuration

            Manual: longsplice help start"#]],
    );
}

#[test]
fn help_of_run() {
    check(
        &["run"],
        &expect![[r#"
            Run the proxy in the foreground until SIGTERM or SIGINT

            The configuration comes from a file (-c), or from options for a single application
            (--listen and --to). The log goes to the target that the file sets in [log], and to
            standard error without one.

            Usage: longsplice run -c FILE
                   longsplice run --listen ADDR --to ADDR [OPTIONS]

            Options:
              -c, --config <FILE>
                      Configuration file, in TOML

              -h, --help
                      Print help (see a summary with '-h')

            Without a file:
                  --listen <ADDR>
                      The address to listen on

                  --to <ADDR>
                      The server to forward to

                  --mode <MODE>
                      Route HTTP requests, or pass bytes on (tcp)

                      [default: http]
                      [possible values: http, tcp]

                  --tls-cert <PEM>
                      Terminate TLS: the certificate chain, leaf first, and its key

                  --tls-key <PEM>
                      The key, if it has a file of its own

                  --proxy-protocol <WHEN>
                      Whether connections begin with a PROXY header

                      [default: off]
                      [possible values: off, optional, require]

                  --trust <CIDR>
                      Peers whose PROXY header and X-Forwarded-* are believed (repeatable)

                  --send-proxy <VERSION>
                      Send the server a PROXY header of this version

                      [possible values: v1, v2]

            Signals:
              SIGTERM, SIGINT  drain: accept no new connections, wait for tunnels up to
                               server.drain_timeout, exit with 0; a second one exits with 1 at once
              SIGHUP           reload the configuration file, and open the log file again
              SIGUSR1          open the log file again

            Addresses:
              --listen  IP:PORT, [IPv6]:PORT or unix:/path
              --to      IP:PORT, [IPv6]:PORT, NAME:PORT or unix:/path

            Examples:
              longsplice run -c /etc/longsplice/longsplice.toml
              longsplice run --listen 0.0.0.0:8080 --to localhost:3000
              longsplice run --listen '[::]:80' --to unix:/run/app.sock \
                  --proxy-protocol require --trust 10.0.0.0/8 --send-proxy v1

            Exit codes:
              0  stopped after a drain
              1  could not run, or died, or was stopped at once by a second signal
              2  wrong usage, or a wrong configuration

            Manual: longsplice help start, longsplice help reload-and-drain, longsplice help logs"#]],
    );
}

#[test]
fn help_of_top() {
    check(
        &["top"],
        &expect![[r#"
            Watch a running longsplice in this terminal

            Shows the servers, tunnels, rates and causes of the process at an admin socket
            (server.admin_socket), and refreshes them. Press ? for the keys.

            Usage: longsplice top [OPTIONS]

            Options:
                  --socket <PATH>
                      The admin socket of the process (server.admin_socket)

                      [default: /run/longsplice/admin.sock]

                  --interval <TIME>
                      The time between two refreshes, from 100ms to 60s

                      [default: 1s]

                  --once
                      Print one page of plain text, with the rates of one interval, and exit

              -h, --help
                      Print help (see a summary with '-h')

            Keys change the process as `longsplice ctl` does: D drains the selected server, U takes it
            back into service, K ends the selected tunnel. Each asks for confirmation first. If the
            process does not answer, top tries again once a second. NO_COLOR=1 turns colours off.

            Examples:
              longsplice top
              longsplice top --once --interval 5s >> report

            Exit codes:
              0  you quit, or the page was printed
              1  no process answered at the start, or the terminal failed
              2  wrong usage; or standard output is no terminal and --once is missing

            Manual: longsplice help watching"#]],
    );
}

#[test]
fn help_of_check() {
    check(
        &["check"],
        &expect![[r#"
            List every mistake in a configuration file

            All mistakes are listed at once, each with its position and the values that are
            allowed. Only the file itself and the files that it names are opened.

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
            For a file without mistakes, 'FILE: ok' is printed on standard output.

            Exit codes:
              0  longsplice can run the file
              1  the result could not be printed
              2  the file has mistakes, or cannot be read

            Manual: longsplice help start"#]],
    );
}

#[test]
fn help_of_doctor() {
    check(
        &["doctor"],
        &expect![[r#"
            Report what this machine supports

            Prints one line for each capability (io_uring, splice, kernel TLS, limits), and how
            to fix what is missing. Changes nothing. longsplice works without any of them.

            Usage: longsplice doctor [OPTIONS]

            Options:
                  --json
                      Print one JSON object

                  --sandbox
                      Confine this process as `run` does, and try what must be refused

              -h, --help
                      Print help (see a summary with '-h')

            Exit codes:
              0  the report was printed, whatever is missing
              1  --sandbox: the confinement allowed something that it must refuse
              2  wrong usage

            Manual: longsplice help start; for --sandbox: longsplice help privileges"#]],
    );
}

#[test]
fn help_of_ctl() {
    check(
        &["ctl"],
        &expect![[r#"
        Inspect and control a running longsplice

        Talks to the process over its admin socket (server.admin_socket). Root, the user of
        the process and the members of the socket's group may use it.

        Usage: longsplice ctl [OPTIONS] <COMMAND>

        Commands:
          status        Show the process as a whole
          listeners     List the listeners
          backends      List the backends and their servers
          tunnels       List open tunnels; all conditions given must hold
          kill          End a tunnel
          drain         Take a server out of service; without one, drain and stop the process
          undrain       Take a server back into service
          reload        Read the configuration file again and apply it
          log-level     Set the lowest level of diagnostics that are logged, until the next start
          certificates  List the certificates that listeners and backends show or trust

        Options:
              --socket <PATH>
                  Admin socket (server.admin_socket)

                  [default: /run/longsplice/admin.sock]

              --json
                  Print JSON

          -h, --help
                  Print help (see a summary with '-h')

        Examples:
          longsplice ctl tunnels --backend maps_ws --min-idle 1h
          longsplice ctl drain maps_ws/127.0.0.1:3000
          longsplice ctl status --json

        Exit codes:
          0  done
          1  not done; standard error has the reason
          2  wrong usage

        Manual: longsplice help watching"#]],
    );
}

#[test]
fn help_of_help() {
    check(
        &["help"],
        &expect![[r#"
        Print a page of the manual, or list its topics

        With the name of a command, prints the help of the command. On a terminal, pages go
        through $PAGER if it is set.

        Usage: longsplice help [TOPIC]...

        Arguments:
          [TOPIC]...
                  A topic of the manual, or a command

        Options:
          -h, --help
                  Print help (see a summary with '-h')

        Examples:
          longsplice help
          longsplice help tls
          longsplice help ctl tunnels

        Exit codes:
          0  the page was printed
          2  there is no such topic or command

        Manual: longsplice help start"#]],
    );
}

#[test]
fn help_of_man() {
    check(
        &["man"],
        &expect![[r#"
        Write man pages into a directory

        Writes longsplice(1) and a page for each command, longsplice.toml(5),
        longsplice-log(7) and longsplice-operation(7), each as a file named after the page.

        Usage: longsplice man <DIR>

        Arguments:
          <DIR>
                  The directory to write into; it is made if it is not there

        Options:
          -h, --help
                  Print help (see a summary with '-h')

        Examples:
          longsplice man pages
          man -l pages/longsplice.toml.5

        Exit codes:
          0  all pages were written
          1  a page could not be written
          2  wrong usage

        Manual: longsplice help start"#]],
    );
}

#[test]
fn help_of_completions() {
    check(
        &["completions"],
        &expect![[r#"
        Print the completions of a shell

        Prints a script for bash, zsh or fish that completes commands and options.

        Usage: longsplice completions <SHELL>

        Arguments:
          <SHELL>
                  The shell

                  [possible values: bash, zsh, fish]

        Options:
          -h, --help
                  Print help (see a summary with '-h')

        Examples:
          longsplice completions bash > /usr/share/bash-completion/completions/longsplice
          longsplice completions zsh > /usr/local/share/zsh/site-functions/_longsplice
          longsplice completions fish > ~/.config/fish/completions/longsplice.fish

        Exit codes:
          0  the script was printed
          1  the script could not be printed
          2  wrong usage

        Manual: longsplice help start"#]],
    );
}

#[test]
fn help_of_a_command_of_ctl() {
    check(
        &["ctl", "tunnels"],
        &expect![[r#"
        List open tunnels; all conditions given must hold

        Usage: longsplice ctl tunnels [OPTIONS]

        Options:
              --client <CIDR>      The client's address, or a range of addresses
              --socket <PATH>      Admin socket (server.admin_socket) [default: /run/longsplice/admin.sock]
              --json               Print JSON
              --listener <NAME>    Name of the listener
              --backend <NAME>     Name of the backend
              --server <NAME>      Name of the server
              --min-age <TIME>     Open for at least this time, such as 10m
              --min-idle <TIME>    Silent for at least this time, such as 1h
              --min-bytes <BYTES>  At least this many bytes, both directions together
              --limit <COUNT>      List at most this many tunnels
          -h, --help               Print help

        Exit codes:
          0  done
          1  not done; standard error has the reason
          2  wrong usage

        Manual: longsplice help watching"#]],
    );
}

#[test]
fn help_of_demo() {
    check(
        &["demo"],
        &expect![[r#"
            Try a WebSocket through the proxy: no file, no root

            Starts a small echo application and the proxy in front of it, with a new
            certificate, and prints the URL of a page to try it in a browser.

            Usage: longsplice demo [OPTIONS]

            Options:
                  --listen <IP:PORT>
                      The address to listen on; port 0 chooses a free port

                      [default: 127.0.0.1:8443]

              -h, --help
                      Print help (see a summary with '-h')

            Exit codes:
              0  stopped by a signal
              1  the demo could not start
              2  wrong usage

            Manual: longsplice help start"#]],
    );
}

/// Calls `check` with the long help of `command`, and of each command below it.
fn each_help(command: &mut clap::Command, check: &mut impl FnMut(&str, &str)) {
    let help = command.render_long_help().to_string();
    check(command.get_bin_name().unwrap_or_default(), &help);
    for below in command.get_subcommands_mut() {
        each_help(below, check);
    }
}

#[test]
fn every_help_has_exit_codes_and_a_topic_of_the_manual() {
    let mut command = CommandLine::command();
    command.build();
    let mut count = 0;
    each_help(&mut command, &mut |name, help| {
        count += 1;
        assert!(help.contains("\nExit codes:\n  0  "), "{name}: {help}");
        let (_, topics) = help
            .split_once("\nManual: ")
            .unwrap_or_else(|| panic!("{name}"));
        let mut topics = topics.split("longsplice help ").skip(1).peekable();
        assert!(topics.peek().is_some(), "{name}");
        for topic in topics {
            let end = topic.find(|it: char| !it.is_ascii_alphanumeric() && it != '-');
            let topic = &topic[..end.unwrap_or(topic.len())];
            assert!(manual::page(topic).is_some(), "{name}: {topic}");
        }
    });
    assert!(count > 15, "{count}");
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
        ("help", true),
        ("help tls", true),
        ("help ctl tunnels", true),
        ("man", false),
        ("man d", true),
        ("completions bash", true),
        ("completions", false),
        ("completions powershell", false),
        ("", false),
    ];
    for (line, allowed) in rows {
        let words = std::iter::once("longsplice").chain(line.split_whitespace());
        let parsed = CommandLine::try_parse_from(words);
        assert_eq!(parsed.is_ok(), allowed, "{line}");
    }
}
