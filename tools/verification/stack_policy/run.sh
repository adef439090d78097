#!/bin/bash
# The model holds, and each known-bad variant of it violates an assertion. Needs
# spin and a C compiler. Usage: run.sh FOLDER
set -euo pipefail
model=$(cd "$(dirname "$0")" && pwd)/slot.pml
mkdir -p "$1"
cd "$1"

# explore DEFINE...: look at all states, or up to the first violation.
explore()
{
	rm -f pan pan.* ./*.trail
	spin -a "$@" "$model" > spin.out
	gcc -O2 -w -DSAFETY -o pan pan.c
	./pan -m200000 > pan.out
}

explore
if ! grep -q 'errors: 0' pan.out || grep -Eq 'Search not completed|too small' pan.out; then
	cat pan.out >&2
	echo "model: it does not hold" >&2
	exit 1
fi
states=$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' pan.out)
mapfile -t variants < <(sed -n 's/^#ifn*def \(BAD_[A-Z_]*\)/\1/p' "$model" | sort -u)
for variant in "${variants[@]}"; do
	explore "-D$variant"
	grep -q 'assertion violated' pan.out || {
		echo "model: the variant $variant does not fail" >&2
		exit 1
	}
done
echo "model: $states states hold, ${#variants[@]} bad variants fail"
