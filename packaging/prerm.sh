#!/bin/sh
# An upgrade leaves the server running until the new program is there.
set -e

if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
	for unit in apibuilder.socket apibuilder.service; do
		systemctl disable --quiet --now "$unit"
	done
fi
