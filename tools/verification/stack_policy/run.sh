#!/bin/bash
# Each model holds, and each known-bad variant of it violates an assertion or ends
# where it may not. Needs spin and a C compiler. Usage: run.sh FOLDER
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"

# explore MODEL DEFINE...: look at all states, or up to the first violation.
explore()
{
	rm -f pan pan.* ./*.trail
	spin -a "${@:2}" "$1" > spin.out
	gcc -O2 -w -DSAFETY -o pan pan.c
	./pan -m200000 > pan.out
}

for model in "$here"/*.pml; do
	name=$(basename "$model" .pml)
	explore "$model"
	if ! grep -q 'errors: 0' pan.out || grep -Eq 'Search not completed|too small' pan.out; then
		cat pan.out >&2
		echo "model: $name does not hold" >&2
		exit 1
	fi
	states=$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' pan.out)
	mapfile -t variants < <(sed -n 's/^#ifn*def \(BAD_[A-Z_]*\)/\1/p' "$model" | sort -u)
	for variant in "${variants[@]}"; do
		explore "$model" "-D$variant"
		grep -Eq 'assertion violated|invalid end state' pan.out || {
			echo "model: $name: the variant $variant does not fail" >&2
			exit 1
		}
	done
	echo "model: $name: $states states hold, ${#variants[@]} bad variants fail"
done
