#!/bin/bash
# make off: with CONFIG_STACK_POLICY off the patched kernel is the stock kernel.
# Builds each object that the queue touches from both sources with the same
# configuration, and compares code, data and relocations.
cd "$(dirname "$0")" || exit
. ./lib.sh
. ./objects.sh

# It may run beside another make.
out=$O/off
mkdir -p "$out"

# Not compared: debug information and line numbers (__bug_table), which move
# with every line; and the counters in the names of unique symbols.
dump()
{
	objcopy -g -R __bug_table -R '.discard*' "$1" "$1.code"
	objdump -s -d -r "$1.code" | sed -e 1,3d \
		-e 's/\(__UNIQUE_ID_[A-Za-z_]*\)[0-9]*/\1/g'
}

prepare_stock
prepare_source
patched=$src
step "build ${#objects[@]} stock objects" build_objects "$O/stock" "$out/stock"
step "build them from the patched source" build_objects "$patched" "$out/patched"

failed=0
for object in "${objects[@]}"; do
	if [ -s "$out/stock/$object" ] && [ "$(dump "$out/stock/$object" | wc -l)" -gt 10 ] &&
	   diff -q <(dump "$out/stock/$object") <(dump "$out/patched/$object") >/dev/null; then
		echo "ok off_is_stock $object"
	else
		echo "not ok off_is_stock $object"
		failed=$((failed + 1))
	fi
done
echo "$((${#objects[@]} - failed)) passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]
