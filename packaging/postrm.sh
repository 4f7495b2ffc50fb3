#!/bin/sh
# What purging takes away with the configuration: all APIs, keys and records of the default data directory. A directory that a disk is
# mounted on cannot be removed, and is no failure when it is empty.
set -e

left() {
	if find "$1" ! -type d | grep -q .; then
		exit 1
	fi
	echo "apibuilder: $1 is empty and stays, because something is mounted there" >&2
}

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || echo "apibuilder: systemd still knows the service until the next systemctl daemon-reload" >&2
fi
if [ "$1" = purge ]; then
	for dir in /etc/apibuilder /var/lib/apibuilder; do
		rm -rf "$dir" || left "$dir"
	done
fi
