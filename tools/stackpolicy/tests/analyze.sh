# shellcheck shell=sh disable=SC2154
# SPDX-License-Identifier: GPL-2.0
# stackpolicy analyze, on $vmlinux: the kernel that the other tests boot. Needs no
# running kernel of any kind.
check summary 0 "^Linux [0-9.]+: [0-9]+ functions, [0-9]+ calls: [0-9]+ direct" \
	"$tool analyze $vmlinux > $tmp/words && cat $tmp/words"
check table 0 "^ +[0-9]+ (fits|grows|over) +[0-9]+  syscall [a-z_0-9]+\$" "cat $tmp/words"
check frames 0 "^ +[0-9]+ +[a-zA-Z_0-9.]+\$" "cat $tmp/words"
check kinds 0 "exception exc_page_fault" \
	"$tool analyze $vmlinux --top 10000 > $tmp/words && cat $tmp/words"
check interrupts 0 "on top +[0-9]+  interrupt common_interrupt" "cat $tmp/words"
check kthreads 0 "kthread kswapd" "cat $tmp/words"
check tests_have_found_their_kthread 0 "kthread kjournald2" "cat $tmp/words"

json whole '.[0] | .functions > 20000 and .undecoded == 0 and (.entries | length) > 400 and
	all(.entries[]; .calls_back >= 0 and .unresolved >= 0)' \
	"$tool -j analyze $vmlinux > $tmp/all && cat $tmp/all"
# What a chain says of itself adds up, from a known top on.
json chains_add_up '.[0].entries | all((.chain | map(.bytes) | add) == .depth_bytes and
	.chain[-1].depth_bytes == .depth_bytes)' "cat $tmp/all"
json syscalls_begin_at_the_top '.[0].entries | map(select(.kind == "syscall")) |
	all(.chain[0].function == "entry_SYSCALL_64" and .chain[1].function == "do_syscall_64")' \
	"cat $tmp/all"
# A chain that has no call back has no function twice.
json no_function_twice '.[0].entries | all((.chain | map(.function) | length) ==
	(.chain | map(.function + (.depth_bytes | tostring)) | unique | length))' "cat $tmp/all"
json places_help '.[0].ensure | length > 0 and all(.entries > 0 and .bytes > 0)' "cat $tmp/all"
# The random offset: what the code masks, on top of the frame.
json random_offset_is_bounded '.[0].entries | map(select(.kind == "syscall")) |
	all(.chain[1].bytes > 1000 and .chain[1].bytes < 1200)' "cat $tmp/all"
json nested_calls_are_deeper '(.[0].entries | map({ (.name): .depth_bytes }) | add) as $a |
	.[1].entries | all(.depth_bytes >= $a[.name])' \
	"cat $tmp/all; $tool -j analyze $vmlinux --recurse 1"
json without_pointers '.[0].calls.type > 1000 and
	([.[0].entries[].chain[].called] | unique | . == [null])' \
	"$tool -j analyze $vmlinux --indirect none > $tmp/none && cat $tmp/none"
# More calls to follow are no less stack. (No law: where cycles are cut may differ.)
json pointers_cost '(.[1].entries | map({ (.kind + .name): .depth_bytes }) | add) as $none |
	.[0].entries | all(.depth_bytes >= $none[.kind + .name])' \
	"cat $tmp/all $tmp/none"
# Each entry is searched on its own: one in a cycle is as deep as who calls it.
json entries_do_not_depend_on_each_other '.[0].entries | map(select(.name == "kswapd"))[0] |
	.depth_bytes > 9000' "cat $tmp/all"
# The end of a thread is that of two system calls, and hides no other entry's depth.
json exit_is_followed '.[0].entries | map(select(any(.chain[]; .function == "do_exit")).name) |
	sort == ["exit", "exit_group"]' "cat $tmp/all"
json limits_count '.[0].entries | map(select(.name == "read"))[0].fits == "over"' \
	"$tool -j analyze $vmlinux --class 4/4"

check entry 0 "^ +[0-9]+ +[0-9]+  __x64_sys_fsync\$" "$tool analyze $vmlinux --entry fsync"
check entry_by_function 0 "^kthread kswapd: [0-9]+ bytes" "$tool analyze $vmlinux --entry kswapd"
check entry_unknown 1 "no entry 'frob'" "$tool analyze $vmlinux --entry frob"
check without 0 "!vprintk" "$tool analyze $vmlinux --entry fsync --without _printk,__warn_printk,_printk_deferred"
check without_unknown 1 "no function 'frob'" "$tool analyze $vmlinux --without frob"
check top 0 "^3\$" "$tool analyze $vmlinux --top 3 | grep -cE '^ +[0-9]+ .* (syscall|kthread|exception|interrupt) '"
check bad_recurse 2 "recurse 99: a number from 0 to 16" "$tool analyze $vmlinux --recurse 99"
check bad_indirect 2 "indirect frob: none or type" "$tool analyze $vmlinux --indirect frob"
check bad_class 2 "class 12/99: POPULATE/LIMIT" "$tool analyze $vmlinux --class 12/99"
check no_file 2 "'analyze' needs VMLINUX" "$tool analyze"
check output_closed_early 0 "^\{" "$tool -j analyze $vmlinux 2> $tmp/err | head -c 1
	test ! -s $tmp/err"

check missing 1 "^Error: /nowhere: No such file" "$tool analyze /nowhere"
check directory 1 "Error: $tmp" "$tool analyze $tmp"
: > "$tmp/empty"
check empty 1 "is not an ELF file" "$tool analyze $tmp/empty"
check no_elf 1 "is not an ELF file" "$tool analyze $0"
objcopy --strip-debug "$vmlinux" "$tmp/small"
json without_debug_info_it_is_the_same '.[0] == .[1]' "cat $tmp/all; $tool -j analyze $tmp/small"
for part in 100 5000 20000000; do
	head -c $part "$tmp/small" > "$tmp/cut"
	check truncated_after_$part 1 "^Error: " "$tool analyze $tmp/cut"
done
objcopy -R .orc_unwind -R .orc_unwind_ip "$tmp/small" "$tmp/changed"
check no_orc 1 "has no ORC tables: CONFIG_UNWINDER_ORC" "$tool analyze $tmp/changed"
head -c 20 /dev/zero > "$tmp/hash"
objcopy --update-section .orc_header="$tmp/hash" "$tmp/small" "$tmp/changed" 2> /dev/null
check orc_of_another_version 1 "ORC format of another kernel version" "$tool analyze $tmp/changed"
head -c 8 /dev/zero > "$tmp/short"
objcopy --update-section .orc_unwind="$tmp/short" "$tmp/small" "$tmp/changed" 2> /dev/null
check orc_damaged 1 "ORC tables are damaged" "$tool analyze $tmp/changed"
objcopy --strip-all "$tmp/small" "$tmp/changed"
check stripped 1 "has no symbols" "$tool analyze $tmp/changed"
objcopy -R .BTF "$tmp/small" "$tmp/changed"
check no_btf 0 "Note: without BTF" "$tool analyze $tmp/changed"
json no_btf_no_types '.[0].calls.type == 0 and .[0].calls.direct > 100000' \
	"$tool -j analyze $tmp/changed 2> /dev/null"
