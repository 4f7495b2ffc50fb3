"""Prints what matters of `go test -json`: a line for each package, and the whole output of every test that failed.

summary.py EVENTS WORDS: adds to the file WORDS what each of them said itself, without logs and other output, for the end of a long run."""

import collections
import json
import re
import sys

OWN = re.compile(r"\s*--- FAIL|\s+\w+_test\.go:\d+: |panic: |WARNING: DATA RACE|FAIL\t")
MOST_LINES, LONGEST = 40, 400

output = collections.defaultdict(list)
with open(sys.argv[1]) as events, open(sys.argv[2], "a") as words:
    for line in events:
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
            own = [text.rstrip() for text in output[key] if OWN.match(text)]
            for text in own[-MOST_LINES:]:
                print(text[:LONGEST], file=words)
        elif action == "skip" and key[1]:
            print("SKIPPED", *key)
        elif action in ("pass", "skip") and not key[1]:
            print(f"{action:5} {key[0]} {event.get('Elapsed', 0):.1f} s")
