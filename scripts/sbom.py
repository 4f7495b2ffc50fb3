"""Gives an SBOM the time of the commit in place of that of the build, and a fixed order: scripts/sbom.py SECONDS <IN >OUT"""

import datetime
import json
import sys

sbom = json.load(sys.stdin)
when = datetime.datetime.fromtimestamp(int(sys.argv[1]), datetime.timezone.utc)
sbom["metadata"]["timestamp"] = when.strftime("%Y-%m-%dT%H:%M:%SZ")
sbom.pop("serialNumber", None)
json.dump(sbom, sys.stdout, indent=2, sort_keys=True)
sys.stdout.write("\n")
