#!/bin/sh
# A unit in /etc goes before the package's, so that the server of `apibuilder install` would go on, also after every upgrade, and purging
# the package would take its data.
set -e

unit=/etc/systemd/system/apibuilder.service
case "$1" in
install | upgrade)
	# shellcheck disable=SC2016 # they are in the unit
	if grep -qs 'Written by `apibuilder install`' "$unit"; then
		echo "apibuilder: this machine has the service of 'apibuilder install', in whose place the package's would not run." >&2
		echo "Run 'apibuilder uninstall', which keeps configuration and data, and install the package then." >&2
		exit 1
	fi
	;;
esac
