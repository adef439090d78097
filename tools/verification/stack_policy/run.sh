#!/bin/bash
# The model holds, and each known-bad variant of it does not. Needs spin and a
# C compiler. Usage: run.sh FOLDER
set -euo pipefail
model=$(cd "$(dirname "$0")" && pwd)/slot.pml
mkdir -p "$1"
cd "$1"

# explore DEFINE...: all states; prints spin's "errors: N".
explore()
{
	spin -a "$@" "$model" > spin.out
	gcc -O2 -w -DSAFETY -DNFAIR=1 -o pan pan.c
	./pan -m200000 > pan.out
	! grep -q 'max search depth too small' pan.out || {
		echo "model: search depth too small" >&2
		exit 1
	}
	sed -n 's/.*errors: \([0-9]*\).*/\1/p' pan.out
}

failed=0
[ "$(explore)" = 0 ] || { echo "model: an assertion fails, see $1/pan.out"; failed=1; }
states=$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' pan.out)
bad=0
mapfile -t variants < <(sed -n 's/^#ifn*def \(BAD_[A-Z_]*\)/\1/p' "$model" | sort -u)
for variant in "${variants[@]}"; do
	if [ "$(explore "-D$variant")" = 0 ]; then
		echo "model: the variant $variant does not fail"
		failed=1
	fi
	bad=$((bad + 1))
done
[ $failed -eq 0 ] || exit 1
echo "model: $states states hold, $bad bad variants fail"
