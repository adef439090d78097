# shellcheck shell=sh disable=SC2154
# SPDX-License-Identifier: GPL-2.0
# stackpolicy ensure. Needs the test module and may overflow stacks of "deeper".
module=/sys/kernel/debug/stack_policy_test
pins=/sys/fs/bpf/stackpolicy/ensure

# From a fresh stack, as far as it will go.
go_deep()
{
	echo "stack_policy: overflow allowed in deeper" > /dev/kmsg
	(printf deeper > /proc/self/comm; echo 20000 > $module/recurse)
}

faults()
{
	$tool -j class show task | jq '.[0].stats.grows_fault'
}

asked()
{
	$tool -j class show task | jq '.[0].stats.grows_ensure'
}

check list_empty 0 "^FUNCTION +BYTES\$" "$tool ensure list"
json list_empty_json '.[0] == []' "$tool -j ensure list"
check add 0 "" "$tool ensure add vfs_write 8000"
check list 0 "^vfs_write +8000\$" "$tool ensure"
json list_json '.[0] == [{"function": "vfs_write", "bytes": 8000}]' "$tool -j ensure list"
check is_in_bpftool 0 "name stack_ensure" "bpftool prog show"
check add_twice 1 "^Error: vfs_write: there is one already" "$tool ensure add vfs_write 100"
check add_twice_changes_nothing 0 "^vfs_write +8000\$" "$tool ensure list"
check remove 0 "" "$tool ensure remove vfs_write"
check removed 0 "!vfs_write" "$tool ensure list"
check remove_what_is_not_there 1 "^Error: vfs_write: nobody asks for stack there" \
	"$tool ensure remove vfs_write"

check no_such_function 1 "^Error: no_such_function: neither the kernel nor a module has" \
	"$tool ensure add no_such_function 100"
# What changes stacks must not ask for stack.
check not_in_the_middle_of_a_growth 1 "^Error: kstack_low: " "$tool ensure add kstack_low 20000"
check cannot_be_traced 1 "^Error: do_syscall_64: " "$tool ensure add do_syscall_64 100"
check not_a_name 2 "is no name of a function" "$tool ensure add ../../vfs_write 100"
check not_a_name_to_remove 2 "is no name of a function" "$tool ensure remove ../../x"
for bytes in 0 32768 99999999999999999999 8k ""; do
	check "bytes_$bytes" 2 "a number of bytes from 1 to 32767 is wanted" \
		"$tool ensure add vfs_write '$bytes'"
done
check add_needs_bytes 2 "'ensure add' needs FUNCTION BYTES" "$tool ensure add vfs_write"
check bad_input_adds_nothing 0 "" "ls $pins"
check only_root 1 "this is for root" "$nobody $tool ensure add vfs_write 100"
check without_bpffs 1 "no BPF file system: mount -t bpf" \
	"unshare -m sh -c 'umount /sys/fs/bpf && $tool ensure add vfs_write 100'"

# A module's function, which goes when the module does.
check add_to_module 0 "" "$tool ensure add ensure_set 100"
check remove_from_module 0 "" "$tool ensure remove ensure_set"

# The whole circle: an overflow is reported, the place is named, nothing overflows any more.
before=$(faults)
$tool trace record --output "$tmp/circle" 2> /dev/null &
recorder=$!
while kill -0 $recorder 2>/dev/null && ! grep -qs 1 \
      "/sys/kernel/tracing/instances/stackpolicy-$recorder/events/stack_policy/stack_fault/enable"; do
	sleep 1
done
go_deep
kill $recorder
wait $recorder
check circle_overflows 0 "" "[ $(faults) -gt $before ]"
check suggest 0 "^recurse_set +[0-9]+ +[1-9][0-9]* \\[stack_policy_testmod\\]\$" \
	"$tool ensure suggest $tmp/circle --save $tmp/saved"
json suggest_json '.[0][0] | .function == "recurse_set" and .bytes > 17000 and .bytes < 21000 and
	.module == "stack_policy_testmod" and .overflows > 0' "$tool -j ensure suggest $tmp/circle"
check suggest_saves 0 "^recurse_set [0-9]+\$" "cat $tmp/saved"
# The same without a recording: the kernel remembers. More threads than ours may have overflowed.
check suggest_from_sites 0 "^recurse_set +[0-9]+ +[1-9][0-9]* \\[stack_policy_testmod\\]\$" \
	"$tool ensure suggest"
json suggest_from_sites_json '.[0][] | select(.function == "recurse_set") | .bytes > 17000 and
	.bytes < 21000 and .overflows > 0' "$tool -j ensure suggest"
check suggest_without_debugfs 1 "^Error: /sys/kernel/debug/stack_policy/sites: No such file.*mount -t debugfs" \
	"unshare -m sh -c 'umount /sys/kernel/debug && $tool ensure suggest'"
check suggest_by_nobody 1 "^Error: /sys/kernel/debug/stack_policy/sites: Permission denied" \
	"$nobody $tool ensure suggest"
check restore 0 "" "$tool ensure restore $tmp/saved"
before=$(faults) asked=$(asked)
go_deep
check circle_is_closed 0 "" "[ $(faults) -eq $before ]"
check circle_asks 0 "" "[ $(asked) -gt $asked ]"
check save 0 "" "$tool ensure save $tmp/saved.2 && cmp $tmp/saved $tmp/saved.2"
mkdir -p /etc
check save_default 0 "" "$tool ensure save && cmp $tmp/saved /etc/stackpolicy/ensure"
check restore_again_changes_nothing 0 "" "$tool ensure restore && $tool ensure save $tmp/saved.2 && cmp $tmp/saved $tmp/saved.2"
sed -i 's/ [0-9]*$/ 4000/' /etc/stackpolicy/ensure
check restore_replaces 0 "^recurse_set +4000\$" "$tool ensure restore && $tool ensure list"
rm -r /etc/stackpolicy
check flush 0 "" "$tool ensure flush && ls $pins"

# As far as the limit goes, and no further.
$tool class set task limit=16
before=$(faults) asked=$(asked)
$tool ensure add recurse_set 30000
(printf deeper > /proc/self/comm; echo 15000 > $module/recurse)
check up_to_the_limit 0 "" "[ $(faults) -eq $before ] && [ $(asked) -gt $asked ]"
$tool ensure flush
$tool class reset

check suggest_nothing 0 "^FUNCTION +BYTES +OVERFLOWS\$" \
	"printf 'stackpolicy-trace 1\\nrelease x\\nbuild_id 00\\nlost 0\\n' | $tool ensure suggest -"
check suggest_not_a_recording 1 "^Error: /proc/version" "$tool ensure suggest /proc/version"

printf '# One of three.\nvfs_read 200\nno_such_function 100\nvfs_write\n' > "$tmp/half"
check restore_what_can_be 1 "^Error: no_such_function: neither" "$tool ensure restore $tmp/half"
check restore_names_the_line 1 "^Error: .*/half, line 4: FUNCTION BYTES is wanted" \
	"$tool ensure flush; $tool ensure restore $tmp/half"
check restored_what_can_be 0 "^vfs_read +200\$" "$tool ensure list"
check restore_no_file 1 "/nowhere: No such file" "$tool ensure restore /nowhere"
$tool ensure flush

# Wherever a program runs: under the lock of a runqueue, where memory is freed, in interrupts.
# It comes and goes while threads do.
for turn in 1 2 3; do
	asked=$(asked)
	for function in enqueue_task_fair dequeue_task_fair __free_pages rcu_core hrtimer_interrupt; do
		$tool ensure add $function 20000 2> /dev/null
	done
	dd if=/dev/zero of=/dev/null bs=1k count=10000 2> /dev/null
	threads 200 > /dev/null &
	sleep 2
	kill $!
	wait $!
	check "asks_in_any_context_$turn" 0 "" "[ $($tool ensure list | wc -l) -gt 4 ] && [ $(asked) -gt $asked ]"
	$tool ensure flush
done
# A program goes a moment after its last reference.
for _ in $(seq 60); do
	bpftool prog show | grep -q stack_ensure || break
	sleep 1
done
check leaves_nothing 0 "" "ls $pins; bpftool prog show | grep stack_ensure || :"
