"""Reads lines of `option httplog` and `option tcplog` as HAProxy's configuration manual describes them
(sections 8.2.2, 8.2.3 and 8.5), and writes one JSON object of fields for each; exits with 1 at a line
that is none."""

import json
import re
import sys

COMMON = (
    r"(?P<client_ip>[0-9a-fA-F.:]+):(?P<client_port>\d+) "
    r"\[(?P<date>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d\.\d{3})\] "
    r"(?P<frontend>[^ ~]+)(?P<ssl>~?) (?P<backend>[^ /]+)/(?P<server>[^ ]+) "
)
COUNTS = (
    r"(?P<actconn>\d+)/(?P<feconn>\d+)/(?P<beconn>\d+)/(?P<srv_conn>\d+)/(?P<retries>\+?\d+) "
    r"(?P<srv_queue>\d+)/(?P<backend_queue>\d+)"
)
STATE = r"[CSPLRIDUKcs-][RQCHDLT-]"
HTTP = (
    COMMON
    + r"(?P<tr_request>-1|\d+)/(?P<tw>-1|\d+)/(?P<tc>-1|\d+)/(?P<tr>-1|\d+)/(?P<ta>\+?\d+) "
    + r"(?P<status>-1|\d{3}) (?P<bytes>\+?\d+) (?P<req_cookie>\S+) (?P<res_cookie>\S+) "
    + r"(?P<state>" + STATE + r"[NIDVEOU-][NIUPRD-]) "
    + COUNTS
    + r'(?: \{[^}]*\})* "(?P<request>[^"]*)"'
)
TCP = (
    COMMON
    + r"(?P<tw>-1|\d+)/(?P<tc>-1|\d+)/(?P<tt>\+?\d+) (?P<bytes>\+?\d+) (?P<state>" + STATE + r") "
    + COUNTS
)

for line in sys.stdin:
    line = line.rstrip("\n")
    found = re.fullmatch(HTTP, line) or re.fullmatch(TCP, line)
    if not found:
        sys.exit("no line of HAProxy's: " + line)
    print(json.dumps(found.groupdict()))
