"""Reads metrics on standard input with Prometheus' own parser and prints them as JSON.

One object a sample: its name, its labels, its value. Families need a type and a help text, and no
sample comes twice.
"""
import json
import sys

from prometheus_client.parser import text_string_to_metric_families

seen = set()
samples = []
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.type in ("counter", "gauge", "histogram"), family
    assert family.documentation, family
    for sample in family.samples:
        key = (sample.name, tuple(sorted(sample.labels.items())))
        assert key not in seen, key
        seen.add(key)
        samples.append({"name": sample.name, "labels": sample.labels, "value": sample.value})
print(json.dumps(samples))
