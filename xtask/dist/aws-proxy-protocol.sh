#!/bin/sh
# Switches the PROXY protocol of AWS load balancers on and off, which the console cannot do for a
# classic one.
#
# Every command may be repeated: what is there already is left alone, and a second run changes
# nothing. A classic balancer's policies of a port are replaced as a whole by every change, so the
# other policies of the port are named again each time.
#
# Needs the `aws` command line with credentials and a region. Never run against AWS itself: its
# tests put a stand-in for `aws` in its way that keeps the state of balancers as AWS documents it,
# and it was tried once with `aws` 1.45 on a local endpoint that answers as AWS does.
#
# The order that no client notices: set `proxy_protocol = "optional"`, enable, then "require"; the
# other way round to switch it off.
set -eu

usage() {
  cat <<'TEXT'
usage: aws-proxy-protocol.sh COMMAND
  classic types                        list the policy types that may be created
  classic show   BALANCER              list the instance ports and the policies of each
  classic on     BALANCER PORT...      PROXY version 1 on these instance ports, other policies kept
  classic off    BALANCER PORT...      take it from these ports, other policies kept
  nlb     show   TARGET-GROUP-ARN...   say whether PROXY version 2 is on
  nlb     on     TARGET-GROUP-ARN...   PROXY version 2 to the targets of these groups
  nlb     off    TARGET-GROUP-ARN...   take it away
AWS_PROXY_POLICY names the policy that `classic on` creates (longsplice-proxy-protocol).
TEXT
}

POLICY=${AWS_PROXY_POLICY:-longsplice-proxy-protocol}
TYPE=ProxyProtocolPolicyType

die() {
  echo "aws-proxy-protocol.sh: $*" >&2
  exit 1
}

# The aws command line writes "None" for nothing.
text() {
  said=$(aws "$@" --output text) || exit 1
  [ "$said" = None ] || printf '%s\n' "$said"
}

# The names of the balancer's policies that switch the PROXY protocol on, ours or others'.
proxy_policies() {
  text elb describe-load-balancer-policies --load-balancer-name "$1" \
    --query "PolicyDescriptions[?PolicyTypeName=='$TYPE'].PolicyName"
}

# The names of the policies that are set on a port.
policies_of() {
  text elb describe-load-balancers --load-balancer-names "$1" --query \
    "LoadBalancerDescriptions[0].BackendServerDescriptions[?InstancePort==\`$2\`].PolicyNames[]"
}

# Whether the first word is among the others.
among() {
  word=$1
  shift
  for other in "$@"; do
    [ "$word" != "$other" ] || return 0
  done
  return 1
}

set_policies() {
  balancer=$1
  port=$2
  shift 2
  if [ $# -eq 0 ]; then
    set -- '[]'
  fi
  aws elb set-load-balancer-policies-for-backend-server --load-balancer-name "$balancer" \
    --instance-port "$port" --policy-names "$@" >/dev/null
}

classic_types() {
  text elb describe-load-balancer-policy-types \
    --query 'PolicyTypeDescriptions[].[PolicyTypeName,Description]'
}

classic_show() {
  text elb describe-load-balancers --load-balancer-names "$1" --query \
    'LoadBalancerDescriptions[0].BackendServerDescriptions[].[InstancePort,join(`,`,PolicyNames)]'
}

create_policy() {
  types=$(text elb describe-load-balancer-policy-types \
    --query 'PolicyTypeDescriptions[].PolicyTypeName')
  # Names have no white space; splitting is meant, here and below.
  # shellcheck disable=SC2086
  among "$TYPE" $types || die "AWS offers no $TYPE for $1"
  aws elb create-load-balancer-policy --load-balancer-name "$1" --policy-name "$POLICY" \
    --policy-type-name "$TYPE" \
    --policy-attributes AttributeName=ProxyProtocol,AttributeValue=true >/dev/null
  echo "created the policy $POLICY"
}

classic_on() {
  balancer=$1
  shift
  known=$(proxy_policies "$balancer")
  # shellcheck disable=SC2086
  if ! among "$POLICY" $known; then
    create_policy "$balancer"
    known="$known $POLICY"
  fi
  for port in "$@"; do
    current=$(policies_of "$balancer" "$port")
    on=
    for policy in $current; do
      # shellcheck disable=SC2086
      if among "$policy" $known; then on=$policy; fi
    done
    if [ -n "$on" ]; then
      echo "port $port: on already, by $on"
    else
      # shellcheck disable=SC2086
      set_policies "$balancer" "$port" $current "$POLICY"
      echo "port $port: on"
    fi
  done
}

classic_off() {
  balancer=$1
  shift
  known=$(proxy_policies "$balancer")
  for port in "$@"; do
    current=$(policies_of "$balancer" "$port")
    kept=
    changed=
    for policy in $current; do
      # shellcheck disable=SC2086
      if among "$policy" $known; then changed=yes; else kept="$kept $policy"; fi
    done
    if [ -z "$changed" ]; then
      echo "port $port: off already"
    else
      # shellcheck disable=SC2086
      set_policies "$balancer" "$port" $kept
      echo "port $port: off"
    fi
  done
  drop_policy "$balancer"
}

# Deletes the policy that `classic on` created, once no port has it any more.
drop_policy() {
  known=$(proxy_policies "$1")
  # shellcheck disable=SC2086
  among "$POLICY" $known || return 0
  used=$(text elb describe-load-balancers --load-balancer-names "$1" --query \
    'LoadBalancerDescriptions[0].BackendServerDescriptions[].PolicyNames[]')
  # shellcheck disable=SC2086
  if ! among "$POLICY" $used; then
    aws elb delete-load-balancer-policy --load-balancer-name "$1" --policy-name "$POLICY" >/dev/null
    echo "deleted the policy $POLICY"
  fi
}

nlb_state() {
  text elbv2 describe-target-group-attributes --target-group-arn "$1" \
    --query "Attributes[?Key=='proxy_protocol_v2.enabled'].Value"
}

nlb_show() {
  for group in "$@"; do
    state=$(nlb_state "$group")
    printf '%s\t%s\n' "$group" "${state:-false}"
  done
}

nlb_set() {
  wanted=$1
  shift
  for group in "$@"; do
    state=$(nlb_state "$group")
    if [ "${state:-false}" = "$wanted" ]; then
      echo "$group: $wanted already"
    else
      aws elbv2 modify-target-group-attributes --target-group-arn "$group" \
        --attributes "Key=proxy_protocol_v2.enabled,Value=$wanted" >/dev/null
      echo "$group: $wanted"
    fi
  done
}

# At least `$1` arguments must follow.
need() {
  least=$1
  shift
  if [ $# -lt "$least" ]; then
    usage >&2
    exit 2
  fi
}

command="${1:-} ${2:-}"
[ $# -lt 2 ] || shift 2
case $command in
  'classic types') classic_types ;;
  'classic show') need 1 "$@"; classic_show "$1" ;;
  'classic on') need 2 "$@"; classic_on "$@" ;;
  'classic off') need 2 "$@"; classic_off "$@" ;;
  'nlb show') need 1 "$@"; nlb_show "$@" ;;
  'nlb on') need 1 "$@"; nlb_set true "$@" ;;
  'nlb off') need 1 "$@"; nlb_set false "$@" ;;
  '-h ' | '--help ' | 'help ') usage ;;
  *) usage >&2; exit 2 ;;
esac
