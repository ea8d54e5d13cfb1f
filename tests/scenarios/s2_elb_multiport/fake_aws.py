"""Stands in for the `aws` command line: balancers and target groups in a JSON file.

Knows the commands and queries that xtask/dist/aws-proxy-protocol.sh uses and no others, refuses what
AWS documents as an error, and writes every changing command to a file. FAKE_AWS names the folder.
"""

import json
import os
import sys

FOLDER = os.environ["FAKE_AWS"]
STATE = os.path.join(FOLDER, "state.json")
PROXY = "ProxyProtocolPolicyType"


def fail(code, text):
    print(f"\nAn error occurred ({code}): {text}", file=sys.stderr)
    sys.exit(254)


def usage(text):
    print(f"aws: error: {text}", file=sys.stderr)
    sys.exit(252)


def options(words):
    """Reads `--name value...`; every option may have several values."""
    found = {}
    for word in words:
        if word.startswith("--"):
            name = word[2:]
            found[name] = []
        elif not found:
            usage(f"unexpected {word}")
        else:
            found[name].append(word)
    return found


def one(given, name):
    values = given.pop(name, [])
    if len(values) != 1:
        usage(f"--{name} wants one value")
    return values[0]


def shorthand(text):
    return dict(pair.split("=", 1) for pair in text.split(","))


def rows(query, lines):
    """Output of type text: fields with tabs, one row a line; a flat list is one row."""
    if lines and not isinstance(lines[0], (list, tuple)):
        lines = [lines]
    print("\n".join("\t".join(str(field) for field in line) for line in lines))


def balancer(state, name):
    if name not in state["balancers"]:
        fail("LoadBalancerNotFound", f"There is no ACTIVE Load Balancer named '{name}'")
    return state["balancers"][name]


def describe_load_balancer_policy_types(state, given):
    types = {PROXY: "Policy that controls PROXY", "SSLNegotiationPolicyType": "Listener policy"}
    query = one(given, "query")
    known = {
        "PolicyTypeDescriptions[].[PolicyTypeName,Description]": list(types.items()),
        "PolicyTypeDescriptions[].PolicyTypeName": list(types),
    }
    rows(query, known[query])


def describe_load_balancer_policies(state, given):
    policies = balancer(state, one(given, "load-balancer-name"))["policies"]
    query = one(given, "query")
    known = {
        f"PolicyDescriptions[?PolicyTypeName=='{PROXY}'].PolicyName": [
            name for name, kind in policies.items() if kind == PROXY
        ]
    }
    rows(query, known[query])


def describe_load_balancers(state, given):
    # A port without a policy has no description.
    ports = balancer(state, one(given, "load-balancer-names"))["ports"]
    ports = {port: ports[port] for port in sorted(ports, key=int) if ports[port]}
    base = "LoadBalancerDescriptions[0].BackendServerDescriptions"
    query = one(given, "query")
    known = {
        f"{base}[].[InstancePort,join(`,`,PolicyNames)]": [
            (port, ",".join(names)) for port, names in ports.items()
        ],
        f"{base}[].PolicyNames[]": [name for names in ports.values() for name in names],
    }
    for port in list(ports) + ["80", "81", "443", "8443"]:
        known[f"{base}[?InstancePort==`{port}`].PolicyNames[]"] = ports.get(port, [])
    rows(query, known[query])


def create_load_balancer_policy(state, given):
    policies = balancer(state, one(given, "load-balancer-name"))["policies"]
    name, kind = one(given, "policy-name"), one(given, "policy-type-name")
    if name in policies:
        fail("DuplicatePolicyName", f"Policy name {name} already exists")
    if shorthand(one(given, "policy-attributes")) != {
        "AttributeName": "ProxyProtocol",
        "AttributeValue": "true",
    }:
        fail("InvalidConfigurationRequest", "attributes")
    policies[name] = kind


def set_load_balancer_policies_for_backend_server(state, given):
    of = balancer(state, one(given, "load-balancer-name"))
    port, names = one(given, "instance-port"), given.pop("policy-names")
    names = [] if names == ["[]"] else names
    if port not in of["ports"]:
        fail("InvalidConfigurationRequest", f"no listener with instance port {port}")
    for name in names:
        if name not in of["policies"]:
            fail("PolicyNotFound", f"There is no policy with name {name}")
    of["ports"][port] = names


def delete_load_balancer_policy(state, given):
    of = balancer(state, one(given, "load-balancer-name"))
    name = one(given, "policy-name")
    if any(name in names for names in of["ports"].values()):
        fail("InvalidConfigurationRequest", f"{name} is in use")
    of["policies"].pop(name, None)


def describe_target_group_attributes(state, given):
    group = one(given, "target-group-arn")
    if group not in state["groups"]:
        fail("TargetGroupNotFound", group)
    query = one(given, "query")
    value = state["groups"][group].get("proxy_protocol_v2.enabled")
    known = {"Attributes[?Key=='proxy_protocol_v2.enabled'].Value": [value] if value else []}
    rows(query, known[query])


def modify_target_group_attributes(state, given):
    group = one(given, "target-group-arn")
    if group not in state["groups"]:
        fail("TargetGroupNotFound", group)
    pair = shorthand(one(given, "attributes"))
    state["groups"][group][pair["Key"]] = pair["Value"]


def main():
    service, command, *words = sys.argv[1:]
    given = options(words)
    # Changing commands say a line of JSON or nothing, whatever the form asked for.
    given.pop("output", None)
    elb = not command.endswith("target-group-attributes")
    if service != ("elb" if elb else "elbv2"):
        usage(f"no {command} in {service}")
    with open(STATE) as file:
        state = json.load(file)
    globals()[command.replace("-", "_")](state, given)
    if given:
        usage(f"unknown options {list(given)}")
    if not command.startswith("describe"):
        with open(STATE, "w") as file:
            json.dump(state, file, indent=1)
        with open(os.path.join(FOLDER, "changes"), "a") as file:
            print(" ".join(sys.argv[1:]), file=file)


main()
