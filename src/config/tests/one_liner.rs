//! The one-liner: a short file, with the same rules.

use expect_test::expect;

use super::read;
use crate::config::OneLiner;

fn one_liner() -> OneLiner {
    OneLiner {
        listen: "127.0.0.1:80".to_owned(),
        to: "localhost:3000".to_owned(),
        mode: "http".to_owned(),
        tls_cert: None,
        tls_key: None,
        proxy_protocol: "off".to_owned(),
        trust: Vec::new(),
        send_proxy: None,
    }
}

#[test]
fn the_one_liner_is_a_file_in_short() {
    let options = OneLiner {
        proxy_protocol: "require".to_owned(),
        trust: vec!["10.0.0.0/8".to_owned(), "unix:".to_owned()],
        send_proxy: Some("v1".to_owned()),
        mode: "tcp".to_owned(),
        ..one_liner()
    };
    let config = options.into_config().expect("legal");
    let file = "[[listener]]\nbind = \"127.0.0.1:80\"\nmode = \"tcp\"\nproxy_protocol = \"require\"\n\
                trusted_proxies = [\"10.0.0.0/8\", \"unix:\"]\nroute = [{ backend = \"to\" }]\n\
                [[backend]]\nname = \"to\"\nsend_proxy = \"v1\"\nserver = [{ address = \"localhost:3000\" }]";
    assert_eq!(config.to_string(), read(file).expect("legal").to_string());
}

#[test]
fn the_one_liner_names_its_options() {
    let options = OneLiner {
        listen: "80\"\nx = 1".to_owned(),
        to: "localhost".to_owned(),
        tls_cert: Some("nowhere.pem".into()),
        tls_key: Some("nowhere.key".into()),
        trust: vec!["10.0.0.0/99".to_owned()],
        ..one_liner()
    };
    expect![[r#"
        --listen: "80\"\nx = 1" has no port; IP:PORT, [IPv6]:PORT or unix:/path
        --trust: "10.0.0.0/99" is no range: prefix length '99' is not a number from 0 to 32; an address, a range such as 10.0.0.0/8, or unix:
        --tls-cert: "nowhere.pem" cannot be read: No such file or directory (os error 2); the path of a PEM file
        --tls-key: "nowhere.key" cannot be read: No such file or directory (os error 2); the path of a PEM file
        --to: "localhost" has no port; IP:PORT, [IPv6]:PORT, NAME:PORT, srv:NAME or unix:/path
    "#]].assert_eq(&options.into_config().expect_err("illegal").to_string());
    let nobody = OneLiner {
        proxy_protocol: "optional".to_owned(),
        ..one_liner()
    };
    assert_eq!(
        nobody.into_config().expect("legal").warnings,
        ["--proxy-protocol: \"optional\" with empty trusted_proxies never believes a PROXY header"]
    );
}
