#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Tests of stackpolicy in TAP, for any POSIX shell:
#	run.sh FILE...
# runs those files of this folder. $tool is the program (stackpolicy), $nobody runs
# a command as that user.
here=$(dirname "$0")
tool=${tool:-stackpolicy}
nobody=${nobody:-"setpriv --reuid 65534 --clear-groups"}
tmp=$(mktemp -d)
chmod 755 "$tmp"
number=0

# result NAME: the status of the command before is the result.
result()
{
	[ $? -eq 0 ] && ok=ok || ok="not ok"
	number=$((number + 1))
	echo "$ok $number ${tool##*/}.$file.$1"
	[ "$ok" = ok ] || head -n 20 "$tmp/out" | cut -c 1-300 | sed 's/^/# /'
}

# check NAME EXIT REGEX COMMAND: how it ends, and a line that it prints. No line
# may match if the regular expression begins with !, there may be none if it is empty.
check()
{
	sh -c "$4" > "$tmp/out" 2>&1
	status=$?
	case $3 in
	'') [ ! -s "$tmp/out" ] ;;
	!*) ! grep -qE -e "${3#!}" "$tmp/out" ;;
	*) grep -qE -e "$3" "$tmp/out" ;;
	esac && [ $status -eq "$2" ] || {
		echo "(status $status, wanted: $2 and '$3')" >> "$tmp/out"
		false
	}
	result "$1"
}

# json NAME FILTER COMMAND: what it prints is JSON, for which jq finds FILTER true.
json()
{
	sh -c "$3" > "$tmp/out" 2>&1 && jq -es "$2" "$tmp/out" > /dev/null 2>> "$tmp/out"
	result "$1"
}

for file; do
	# shellcheck source=/dev/null
	. "$here/$file.sh"
done
rm -rf "$tmp"
echo "1..$number"
