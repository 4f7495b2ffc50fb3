#!/bin/sh
# Nothing is started unless it ran before, or APIBUILDER_START=yes asks for it at the first installation. A server that does not start
# is told of, and is no failure of the installation.
set -e

told() { echo "apibuilder did not start: see journalctl -u apibuilder" >&2; }

if [ "$1" = configure ] && [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	if [ -n "$2" ]; then
		systemctl try-restart apibuilder.service || told
	elif [ "${APIBUILDER_START:-}" = yes ]; then
		systemctl enable --now apibuilder.service || told
	fi
fi
