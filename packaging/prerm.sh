#!/bin/sh
# An upgrade leaves the server running until the new program is there. A unit that cannot be disabled, because it is masked for example, is no
# failure of the removal unless it runs.
set -e

if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
	for unit in apibuilder.socket apibuilder.service; do
		if ! systemctl disable --quiet --now "$unit" && systemctl is-active --quiet "$unit"; then
			echo "apibuilder: $unit still runs: stop it, and remove the package then" >&2
			exit 1
		fi
	done
fi
