#!/bin/sh
# What purging takes away with the configuration: all APIs, keys and records of the default data directory.
set -e

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
if [ "$1" = purge ]; then
	rm -rf /var/lib/apibuilder /etc/apibuilder
fi
