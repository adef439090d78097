#!/bin/bash
# make check: lint what is ours: checkpatch, sparse, shellcheck, overlay and queue.
cd "$(dirname "$0")" || exit
. ./lib.sh

fail=0
complain()
{
	echo "check: $*"
	fail=1
}

prepare_source
configure

cd "$top"
mapfile -t code < <(find arch include kernel mm samples tools -name '*.[ch]' | sort)

tar -tf "$(source_tarball)" > "$O/stock-files"

# The overlay holds new files only, the queue changes existing ones only.
for file in "${code[@]}"; do
	! grep -qxF "linux-source-6.12/$file" "$O/stock-files" ||
		complain "$file exists in the kernel: change it in patches/6.12"
done
cat patches/6.12/*.patch > "$O/queue"
! grep -q '^new file mode' "$O/queue" || complain "a patch adds a file"
diff <(cd patches/6.12 && ls -- *.patch) patches/6.12/series || complain "series"
# size PATCH...: files and lines of the kernel that they change.
size()
{
	files=$(cat "$@" | grep '^diff --git' | sort -u | wc -l)
	lines=$(cat "$@" | grep -c '^+[^+]')
}

# The feature's own hooks have a budget; their users, from 0100 on, are counted apart.
size patches/6.12/00*.patch
echo "hooks: $files files, $lines lines inserted"
if [ "$files" -gt 26 ] || [ "$lines" -ge 250 ]; then
	complain "the hooks are over their budget of 26 files and 250 lines"
fi
mapfile -t users < <(find patches/6.12 -name '0[1-9]*.patch')
if [ ${#users[@]} -gt 0 ]; then
	size "${users[@]}"
	echo "users: $files files, $lines lines inserted"
fi

# A file that is nobody's: each is built by the queue, and has a room.
mapfile -t rooms < <(kernel_files)
for file in "${rooms[@]}"; do
	grep -q "^+.*[ 	]$(basename "${file%.c}").o" "$O/queue" ||
		complain "$file is not built: name it in the queue's Makefiles"
	grep -q "^\`\`$file\`\` " Documentation/mm/stack-policy.rst ||
		complain "$file has no room: name it in Documentation/mm/stack-policy.rst"
done

# Layers: mechanism knows no class names, policy no page tables; the reserve no stacks.
mapfile -t mechanism < <(printf '%s\n' "${rooms[@]}" | grep -v ^kernel/)
! grep -nE 'STACK_CLASS_|stack_class' "${mechanism[@]}" mm/kstack.h include/linux/kstack.h \
	arch/x86/include/asm/kstack.h || complain "a class name in the mechanism"
mapfile -t policy < <(printf '%s\n' "${rooms[@]}" | grep ^kernel/)
! grep -nE 'pte_|ptep' "${policy[@]}" || complain "a page table in the policy"
! grep -nE 'struct kstack |task_struct' mm/kstack_reserve.c || complain "a stack in the reserve"

mapfile -t ignore < <(sed 's/#.*//; /^ *$/d; s/ *$//' harness/checkpatch.tolerated)
for file in "${code[@]}"; do
	# TRACE_EVENT() has a layout of its own.
	case $file in include/trace/*) strict= ;; *) strict=--strict ;; esac
	perl "$src/scripts/checkpatch.pl" --root="$src" $strict --no-summary --terse -f \
		--max-line-length=100 --ignore "$(IFS=,; echo "${ignore[*]}")" "$file" 2>/dev/null ||
		complain "checkpatch: $file"
done

for file in "${rooms[@]}"; do
	touch "$src/$file"
	make_kernel C=1 CF=-D__CHECK_ENDIAN__ "${file%.c}.o" 2>&1 |
		grep -E "($file|k?stack_?policy.h|kstack.h).*(warning|error):" &&
		complain "sparse: $file"
done
perl "$src/scripts/kernel-doc" -none include/linux/stack_policy.h "${rooms[@]}" 2>&1 | grep . &&
	complain kernel-doc
harness/arrows.py "$obj" Documentation/mm/stack-policy.rst "${rooms[@]}" ||
	complain "what calls what is not as drawn"

shellcheck -x -P harness harness/*.sh harness/machine/*.sh tools/verification/stack_policy/run.sh .ci/run ||
	complain shellcheck
shellcheck -S warning tools/stackpolicy/tests/*.sh tools/stackpolicy/debian/p* tools/testing/selftests/*/bench/*.sh ||
	complain "shellcheck of what runs in the guest"
tools/verification/stack_policy/run.sh "$O/model" || complain "the model"
codespell -L filp README.md Documentation harness patches "${code[@]}" || complain codespell

[ $fail -eq 0 ] || exit 1
echo "check: clean"
