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
lines=$(grep -c '^+[^+]' "$O/queue")
files=$(grep '^diff --git' "$O/queue" | sort -u | wc -l)
echo "queue: $files files, $lines lines inserted"
if [ "$files" -ge 20 ] || [ "$lines" -ge 250 ]; then
	complain "the queue is over its budget"
fi

# Layers: mechanism knows no class names, policy no page tables.
! grep -nE 'STACK_CLASS_|stack_class' mm/kstack.[ch] mm/kstack_trim.c \
	arch/x86/kernel/stack_policy.c arch/x86/include/asm/kstack.h ||
	complain "a class name in the mechanism"
! grep -nE 'pte_|ptep' kernel/stack_policy.c kernel/stack_policy_trim.c ||
	complain "a page table in the policy"

mapfile -t ignore < <(sed 's/#.*//; /^ *$/d; s/ *$//' harness/checkpatch.tolerated)
for file in "${code[@]}"; do
	# TRACE_EVENT() has a layout of its own.
	case $file in include/trace/*) strict= ;; *) strict=--strict ;; esac
	perl "$src/scripts/checkpatch.pl" --root="$src" $strict --no-summary --terse -f \
		--max-line-length=100 --ignore "$(IFS=,; echo "${ignore[*]}")" "$file" 2>/dev/null ||
		complain "checkpatch: $file"
done

for object in kernel/stack_policy.o kernel/stack_policy_map.o kernel/stack_policy_report.o \
	kernel/stack_policy_trim.o mm/kstack.o mm/kstack_trim.o arch/x86/kernel/stack_policy.o; do
	touch "$src/${object%.o}.c"
	make_kernel C=1 CF=-D__CHECK_ENDIAN__ "$object" 2>&1 |
		grep -E "(${object%.o}.c|k?stack_?policy.h|kstack.h).*(warning|error):" &&
		complain "sparse: $object"
done
perl "$src/scripts/kernel-doc" -none include/linux/stack_policy.h mm/kstack.c mm/kstack_trim.c \
	arch/x86/kernel/stack_policy.c 2>&1 | grep . && complain kernel-doc

shellcheck -x -P harness harness/*.sh tools/verification/stack_policy/run.sh .ci/run ||
	complain shellcheck
shellcheck -S warning tools/stackpolicy/tests/*.sh tools/testing/selftests/*/bench/*.sh ||
	complain "shellcheck of what runs in the guest"
tools/verification/stack_policy/run.sh "$O/model" || complain "the model"
codespell -L filp README.md Documentation harness patches "${code[@]}" || complain codespell

[ $fail -eq 0 ] || exit 1
echo "check: clean"
