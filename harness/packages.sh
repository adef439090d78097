#!/bin/bash
# Install the Debian packages that the build and the tests need, if any is missing; or
# those of another list.
set -eu
cd "$(dirname "$0")"

missing=()
while read -r package; do
	[[ $package != '#'* ]] || continue
	dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null |
		grep -qx installed || missing+=("$package")
done < "${1:-packages}"
[ ${#missing[@]} -gt 0 ] || exit 0

sudo=()
[ "$(id -u)" -eq 0 ] || sudo=(sudo)
echo "installing: ${missing[*]}"
"${sudo[@]}" apt-get update -qq
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
	apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
