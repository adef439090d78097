# shellcheck shell=sh disable=SC2154
# SPDX-License-Identifier: GPL-2.0
# stackpolicy class, and what all commands share.
table=/proc/sys/kernel/stack_policy

check help 0 "^Usage: .*OBJECT" "$tool help"
check help_option 0 "^Usage: .*OBJECT" "$tool -h"
check version 0 "^stackpolicy v[0-9]" "$tool -V"
json version_json '.[0] | has("version") and has("libbpf_version")' "$tool -Vj"
check no_object 2 "an object is wanted; see 'stackpolicy help'" "$tool"
check bad_object 2 "no object 'frob'" "$tool frob"
check bad_command 2 "'class' has no command 'frob'; see 'stackpolicy class help'" "$tool class frob"
check bad_option 2 "what is '--frob'" "$tool class show --frob"
check option_without_value 2 "'--save' needs a value" "$tool class set task limit=32 --save"
check option_of_another_command 2 "'class show' does not take --pid" "$tool class show --pid 1"
json error_in_json '.[0].error | test("no object")' "$tool -j frob || [ \$? -eq 2 ]"
check output_to_full_device 1 "No space left" "$tool class show > /dev/full"
check output_closed_early 0 "^[[{]" "$tool -j class show 2> $tmp/err | head -c 1
	test ! -s $tmp/err"

echo default > $table
check show 0 "^task +12 +32 +trim( +[0-9]+){6}\$" "$tool class show"
check show_one 0 "!kthread" "$tool class show task"
check show_unknown 1 "no class 'frob'; classes: task kthread kthread-big kvm-vcpu user-worker irq task-big" \
	"$tool class show frob"
json show_json '.[0] | length == 7 and .[0].class == "task" and .[0].populate_kb == 12 and
	.[0].stats.threads > 0 and (.[0].stats.exit_depth_kb | length) == 32' "$tool -j class show"
bpftool -j map dump name stack_stats > "$tmp/bpftool" 2>/dev/null
# The order of the fields is the UAPI's, and none is missing.
json show_has_all_counters \
	'(.[1][0] | .formatted // . | .value | keys) == (.[0][0].stats | keys)' \
	"$tool -j class show; cat $tmp/bpftool"
check pretty 0 '^ +"class": "task",$' "$tool -p class show"

check set 0 "" "$tool class set task populate=16 limit=24"
check set_is_in_the_sysctl 0 "^task=16/24 kthread=12/32" "cat $table"
check set_one_size_keeps_the_other 0 "^task=20/24 " "$tool class set task populate=20 && cat $table"
check set_sleepers 0 "^task=20/24/keep " "$tool class set task sleepers=keep && cat $table"
check set_sleepers_keeps_them 0 "^task=16/24/keep " "$tool class set task populate=16 && cat $table"
check show_sleepers 0 "^task +16 +24 +keep" "$tool class show task"
json show_sleepers_json '.[0][0].sleepers == "keep"' "$tool -j class show task"
check save_sleepers 0 "^kernel.stack_policy = task=16/16/trim kthread=" \
	"$tool class set task limit=16 sleepers=trim --save $tmp/sleepers && cat $tmp/sleepers"
check saved_sleepers_are_for_sysctl 0 "^task=16/16/trim " \
	"echo default > $table; sysctl -q -p $tmp/sleepers; cat $table"
check set_sleepers_by_size 0 "^task=20/24 " \
	"$tool class set task populate=20 limit=24 sleepers=by-size && cat $table"
check set_unknown_sleepers 2 "sleepers=cold: trim, keep or by-size" "$tool class set task sleepers=cold"
check set_irq_sleepers 2 "irq: interrupt stacks do not sleep" "$tool class set irq sleepers=trim"
cat $table > "$tmp/before"
check set_not_a_page 2 "populate=13 is not a multiple of the page size, 4 kB" "$tool class set task populate=13"
check set_over_the_span 2 "limit=36: from 4 to 32 kB" "$tool class set task limit=36"
check set_zero 2 "populate=0: from 4 to 32" "$tool class set task populate=0"
check set_vcpu_that_grows 2 "kvm-vcpu: populate=12 is less than limit=32; a vCPU thread cannot grow" \
	"$tool class set kvm-vcpu populate=12"
check set_irq 2 "irq: interrupt stacks have 32 kB for good" "$tool class set irq populate=16 limit=16"
check set_irq_as_it_is 0 "" "$tool class set irq populate=32"
check set_over_the_limit 2 "populate=28 is more than limit=24" "$tool class set task populate=28"
check set_no_number 2 "limit=lots: from 4" "$tool class set task limit=lots"
check set_huge_number 2 "limit=4294967328: from 4" "$tool class set task limit=4294967328"
check set_unknown_field 2 "what is 'frob=12'\? populate=KB, limit=KB or sleepers=WHAT" "$tool class set task frob=12"
check set_unknown_class 1 "no class 'frob'" "$tool class set frob limit=32"
check set_nothing 2 "'class set' needs NAME" "$tool class set task"
check set_second_bad_argument 2 "limit=99" "$tool class set task populate=16 limit=99"
check set_by_nobody 1 "Operation not permitted; CAP_SYS_ADMIN" "$nobody $tool class set task limit=32"
check bad_input_changes_nothing 0 "" "cmp $table $tmp/before || diff $table $tmp/before"
json set_json '.[0] == null' "$tool -j class set task populate=16"

check save 0 "^kernel.stack_policy = task=8/24 kthread=12/32 kthread-big=32/32 " \
	"$tool class set task populate=8 --save $tmp/fragment && cat $tmp/fragment"
check save_twice_keeps_both 0 "= task=8/24 kthread=16/32 " \
	"$tool class set kthread populate=16 --save $tmp/fragment && cat $tmp/fragment"
check saved_is_for_sysctl 0 "^task=8/24 kthread=16/32 " \
	"echo default > $table; sysctl -q -p $tmp/fragment; cat $table"
echo "kernel.panic = 1" > "$tmp/foreign"
cat $table > "$tmp/before"
check save_spares_other_files 1 "exists and was not written by" \
	"$tool class set task limit=28 --save $tmp/foreign"
check save_left_it_alone 0 "^kernel.panic = 1" "cat $tmp/foreign"
check save_nowhere 1 "/nowhere/file: No such file" "$tool class set task limit=28 --save /nowhere/file"
check save_into_a_folder 1 "$tmp is not a regular file" "$tool class set task limit=28 --save $tmp"
check save_into_a_device 1 "/dev/null is not a regular file" \
	"$tool class set task limit=28 --save /dev/null"
check save_failed_and_changed_nothing 0 "" "diff $table $tmp/before"
check save_leaves_no_litter 1 "" "ls $tmp | grep 'fragment\\.'"

check profile_is_custom 0 "^custom\$" "$tool class set task populate=8 && $tool class profile"
check profile_set 0 "^conservative\$" "$tool class profile conservative && $tool class profile"
check profile_is_in_the_sysctl 0 "^task=16/32 kthread=16/32 " "cat $table"
json profile_json '.[0] == "conservative" and .[1] == null and .[2] == "static"' \
	"$tool -j class profile; $tool -j class profile static; $tool -j class profile"
check profile_unknown 1 "no profile 'frob'; profiles: default conservative static" \
	"$tool class profile frob"
check profile_takes_no_rows 1 "no profile 'task=8/8'" "$tool class profile task=8/8"
check profile_by_nobody 1 "kernel.stack_policy: Permission denied" "$nobody $tool class profile default"
check profile_left_it_alone 0 "^static\$" "$nobody $tool class profile"
check reset 0 "^task=12/32 kthread=12/32 kthread-big=32/32" "$tool class reset && cat $table"
check reset_by_nobody 1 "kernel.stack_policy: Permission denied" "$nobody $tool class reset"
check show_by_nobody 0 "^task +12 +32 +trim\$" "$nobody $tool class show"
check show_by_nobody_says_why 0 "counters are for root" "$nobody $tool class show"
json show_by_nobody_json '.[0] | length == 7 and (.[0] | has("stats") | not)' \
	"$nobody $tool -j class show 2>/dev/null"
# What comes into being later with the same name is not taken for ours.
check another_map_of_that_name 0 "^task +12 +32 +trim +[0-9]" \
	"bpftool map create /sys/fs/bpf/other type array key 4 value 4 entries 1 name stack_stats &&
	$tool class show; rm -f /sys/fs/bpf/other"
