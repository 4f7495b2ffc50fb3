"""Prints what matters of `go test -json`: a line for each package, and the whole output of every test that failed."""

import collections
import json
import sys

output = collections.defaultdict(list)
for line in open(sys.argv[1]):
    try:
        event = json.loads(line)
    except ValueError:
        print(line, end="")  # a build error, in words
        continue
    key = event.get("Package", ""), event.get("Test", "")
    action = event["Action"]
    if action == "output":
        output[key].append(event["Output"])
    elif action in ("build-output",):
        print(event["Output"], end="")
    elif action == "fail":
        print("".join(output[key]), end="")
    elif action == "skip" and key[1]:
        print("SKIPPED", *key)
    elif action in ("pass", "skip") and not key[1]:
        print(f"{action:5} {key[0]} {event.get('Elapsed', 0):.1f} s")
