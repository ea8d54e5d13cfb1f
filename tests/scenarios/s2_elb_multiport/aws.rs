//! The AWS side of S2: the script that switches the PROXY protocol of balancers, in front of a
//! stand-in for the `aws` command line that keeps the state of one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::parts::{Part, file, finish};

/// A folder with `aws` in it, what it knows, and what it was told to change.
struct Account {
    dir: TempDir,
}

impl Account {
    /// A classic balancer with three instance ports, one of which has a policy already, and an NLB's
    /// target group; none = no Python.
    fn new() -> Option<Self> {
        let python = Part::Python.command()?;
        let dir = TempDir::new().unwrap();
        let aws = dir.path().join("aws");
        let text = format!(
            "#!/bin/sh\nexec {} {} \"$@\"\n",
            python.get_program().display(),
            file("scenarios/s2_elb_multiport/fake_aws.py").display()
        );
        fs::write(&aws, text).unwrap();
        fs::set_permissions(&aws, fs::Permissions::from_mode(0o755)).unwrap();
        let account = Self { dir };
        account.put(&json!({
            "balancers": {"web": {
                "policies": {"BackendAuth": "BackendServerAuthenticationPolicyType"},
                "ports": {"80": [], "81": [], "443": ["BackendAuth"], "8443": ["BackendAuth"]},
            }},
            "groups": {"arn:one": {"stickiness.enabled": "true"}, "arn:two": {}},
        }));
        Some(account)
    }

    fn put(&self, state: &Value) {
        fs::write(self.dir.path().join("state.json"), state.to_string()).unwrap();
    }

    fn state(&self) -> Value {
        let text = fs::read_to_string(self.dir.path().join("state.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// The policies of an instance port.
    fn port(&self, port: &str) -> Value {
        self.state()["balancers"]["web"]["ports"][port].clone()
    }

    /// How many changing commands `aws` was given so far.
    fn changes(&self) -> usize {
        let text = fs::read_to_string(self.dir.path().join("changes"));
        text.unwrap_or_default().lines().count()
    }

    fn command(&self, words: &str) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("xtask/dist/aws-proxy-protocol.sh");
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new("sh");
        command
            .arg(script)
            .args(words.split(' '))
            .env("PATH", format!("{}:{path}", self.dir.path().display()))
            .env("FAKE_AWS", self.dir.path());
        command
    }

    fn run(&self, words: &str) -> String {
        finish(&mut self.command(words))
    }
}

#[test]
fn the_policy_is_created_and_set_beside_those_that_are_there() {
    let Some(account) = Account::new() else {
        return;
    };
    assert!(
        account
            .run("classic types")
            .contains("ProxyProtocolPolicyType\t")
    );
    account.run("classic on web 80 81 443");
    let ours = "longsplice-proxy-protocol";
    for port in ["80", "81"] {
        assert_eq!(account.port(port), json!([ours]));
    }
    assert_eq!(account.port("443"), json!(["BackendAuth", ours]));
    assert_eq!(account.port("8443"), json!(["BackendAuth"]));
    assert_eq!(account.changes(), 4);
    let shown = account.run("classic show web");
    assert_eq!(
        shown,
        format!("80\t{ours}\n81\t{ours}\n443\tBackendAuth,{ours}\n8443\tBackendAuth\n")
    );
}

#[test]
fn a_second_run_changes_nothing() {
    let Some(account) = Account::new() else {
        return;
    };
    for words in ["classic on web 80 81 443", "nlb on arn:one arn:two"] {
        account.run(words);
        let (state, changes) = (account.state(), account.changes());
        let said = account.run(words);
        assert!(said.lines().all(|line| line.contains("already")), "{said}");
        assert_eq!((account.state(), account.changes()), (state, changes));
    }
}

#[test]
fn removal_leaves_the_other_policies_and_ports() {
    let Some(account) = Account::new() else {
        return;
    };
    let before = account.state();
    account.run("classic on web 80 81 443");
    account.run("classic off web 443");
    assert_eq!(account.port("443"), json!(["BackendAuth"]));
    assert_eq!(account.port("80"), json!(["longsplice-proxy-protocol"]));
    // With the last port the policy itself goes, and everything is as it was.
    account.run("classic off web 80 81 443");
    assert_eq!(account.state(), before);
    let changes = account.changes();
    account.run("classic off web 80 81 443");
    assert_eq!((account.state(), account.changes()), (before, changes));
}

#[test]
fn a_policy_of_the_same_kind_by_another_name_counts() {
    let Some(account) = Account::new() else {
        return;
    };
    let mut state = account.state();
    let balancer = &mut state["balancers"]["web"];
    balancer["policies"]["EnableProxyProtocol"] = json!("ProxyProtocolPolicyType");
    balancer["ports"]["80"] = json!(["EnableProxyProtocol"]);
    account.put(&state);
    account.run("classic on web 80 443");
    assert_eq!(account.port("80"), json!(["EnableProxyProtocol"]));
    account.run("classic off web 80 443");
    assert_eq!(account.port("80"), json!([]));
    assert_eq!(account.port("443"), json!(["BackendAuth"]));
    // Somebody else's policy is theirs to delete.
    let policies = &account.state()["balancers"]["web"]["policies"];
    assert_eq!(policies["EnableProxyProtocol"], "ProxyProtocolPolicyType");
    assert_eq!(policies["longsplice-proxy-protocol"], Value::Null);
}

#[test]
fn target_groups_are_switched_one_attribute_alone() {
    let Some(account) = Account::new() else {
        return;
    };
    assert_eq!(
        account.run("nlb show arn:one arn:two"),
        "arn:one\tfalse\narn:two\tfalse\n"
    );
    account.run("nlb on arn:one");
    assert_eq!(
        account.run("nlb show arn:one arn:two"),
        "arn:one\ttrue\narn:two\tfalse\n"
    );
    assert_eq!(
        account.state()["groups"]["arn:one"]["stickiness.enabled"],
        "true"
    );
    account.run("nlb off arn:one arn:two");
    assert_eq!(account.changes(), 2, "arn:two was off already");
}

#[test]
fn what_aws_refuses_ends_the_script() {
    let Some(account) = Account::new() else {
        return;
    };
    let before = account.state();
    for (words, code) in [
        ("classic on nowhere 80", 1),
        ("classic off nowhere 80", 1),
        ("classic show nowhere", 1),
        ("nlb on arn:nowhere", 1),
        ("classic on web", 2),
        ("classic of web 80", 2),
        ("nlb", 2),
    ] {
        let outcome = account.command(words).output().unwrap();
        assert_eq!(outcome.status.code(), Some(code), "{words}: {outcome:?}");
        assert!(!outcome.stderr.is_empty(), "{words}");
    }
    assert_eq!(account.state(), before);
}
