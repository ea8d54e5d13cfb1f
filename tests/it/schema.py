"""Judges TOML files by a JSON Schema: each that is legal, and each with one key misspelt.

Arguments: the schema, then the files. Says what it found on standard output; ends with 1 if the
schema errs.
"""

import copy
import json
import sys
import tomllib

from jsonschema import Draft202012Validator


def tables(value):
    """Goes through every table in a value."""
    if isinstance(value, dict):
        yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    for each in inner:
        yield from tables(each)


with open(sys.argv[1], encoding="utf-8") as text:
    schema = json.load(text)
Draft202012Validator.check_schema(schema)
judge = Draft202012Validator(schema)
errs = False
for path in sys.argv[2:]:
    with open(path, "rb") as text:
        legal = tomllib.load(text)
    for wrong in judge.iter_errors(legal):
        print(f"{path}: refused: {wrong.json_path}: {wrong.message}")
        errs = True
    misspelt = 0
    for index, _ in enumerate(tables(legal)):
        changed = copy.deepcopy(legal)
        list(tables(changed))[index]["misspelt"] = 1
        misspelt += 1
        if judge.is_valid(changed):
            print(f"{path}: a misspelt key in table {index} passes")
            errs = True
    print(f"{path}: legal, and {misspelt} misspelt keys refused")
sys.exit(1 if errs else 0)
