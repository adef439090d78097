# shellcheck shell=sh disable=SC2154
# SPDX-License-Identifier: GPL-2.0
# stackpolicy trace. Needs the test module and may overflow stacks of "deeper".
module=/sys/kernel/debug/stack_policy_test
instances=/sys/kernel/tracing/instances
# An overflow and a growth that was asked for, by a thread of that name. A line end
# would be part of the name.
deeper()
{
	echo "stack_policy: overflow allowed in deeper" > /dev/kmsg
	(printf deeper > /proc/self/comm; echo 20000 > $module/recurse)
	(printf deeper > /proc/self/comm; echo 28000 > $module/ensure)
}

# start_recording FILE: in the background, as $recorder. Returns when it records.
start_recording()
{
	$tool trace record --output "$1" 2> "$tmp/told" &
	recorder=$!
	while kill -0 $recorder 2>/dev/null && ! grep -qs 1 \
	      "$instances/stackpolicy-$recorder/events/stack_policy/stack_fault/enable"; do
		sleep 1
	done
}

check record_nothing 0 "^0 events recorded, 0 lost\$" "$tool trace record 1 --output $tmp/nothing"
check report_nothing 0 "^Linux [0-9.]+: 0 events of 0 call chains, 0 lost" "$tool trace report $tmp/nothing"

start_recording "$tmp/trace"
echo > /sys/kernel/debug/stack_policy/sites
deeper
deeper
kill $recorder
wait $recorder
check record 0 "^[1-9][0-9]* events recorded, 0 lost\$" "cat $tmp/told"
check record_cleans_up 0 "" "ls $instances | grep stackpolicy || :"
check record_knows_the_kernel 0 "^release $(uname -r)\$" "cat $tmp/trace"
check record_knows_the_build 0 "^build_id [0-9a-f]{40}\$" "cat $tmp/trace"
check report 0 "^ +[0-9]+ recurs[a-z_]*\\+0x[0-9a-f]+ \\[stack_policy_testmod\\] \\([0-9]+ times\\)" \
	"$tool trace report $tmp/trace"
check report_names_the_registers 0 "^ +184 \\(user registers\\)" "$tool trace report $tmp/trace"
check report_unwinds_it_all 0 "!cannot be unwound" "$tool trace report $tmp/trace"
check report_says_who 0 "times overflow, class task, first .*up to [0-9]+ bytes" "$tool trace report $tmp/trace"
check report_ensure 0 "^2 times ensure, class task" "$tool trace report $tmp/trace"
check report_ensure_has_its_chain 0 "ksys_write\\+0x" \
	"$tool trace report $tmp/trace | grep -A 20 'times ensure'"
check report_unwinds_to_the_top 0 "entry_SYSCALL_64_after_hwframe" "$tool trace report $tmp/trace"
# The kernel's own account of one of them: as many frames, with the same bytes.
kernel=$(awk '/^count=/ { on = / comm=deeper / } /^ / && on { n++; sum += $1 } END { print n, sum }' \
	/sys/kernel/debug/stack_policy/sites)
json report_agrees_with_the_kernel '.[0].chains | map(select(.kind == "overflow") |
	[(.frames | length), .known_bytes] | map(tostring) | join(" ")) | index("'"$kernel"'") != null' \
	"$tool -j trace report $tmp/trace"
json report_json '.[0].lost == 0 and (.[0].chains | length > 1 and all(.count > 0 and (.frames | length > 3) and .to_bytes > 12288))' \
	"$tool -j trace report $tmp/trace"
check report_top 0 "^1\$" "$tool trace report $tmp/trace --top 1 | grep -c ' times .*class'"
check folded 0 "^\\(user_registers\\);entry_SYSCALL_64_after_hwframe\\+0x[0-9a-f]+;do_syscall_64\\+0x[0-9a-f]+;[^ ]+ [0-9]+\$" \
	"$tool trace report $tmp/trace --folded"
check folded_only 0 "!^[^ ]+ +[^0-9]" "$tool trace report $tmp/trace --folded"
check folded_once_each 0 "" "$tool trace report $tmp/trace --folded | cut -d' ' -f1 | sort | uniq -d"
check plot 0 "<title>recurs[a-z_]*.*: [0-9]+ bytes, [0-9.]+ %</title>" \
	"$tool trace report $tmp/trace --plot $tmp/flame.svg > /dev/null; cat $tmp/flame.svg"
check plot_ends 0 "^</svg>\$" "tail -n 1 $tmp/flame.svg"

# A name that looks like an event is only a name.
start_recording "$tmp/spoofed"
(printf 'x: stack_grow: ' > /proc/self/comm; echo 28000 > $module/ensure)
kill $recorder
wait $recorder
check record_spoofed 0 "^ +- ensure_set\\+0x" "$tool trace report $tmp/spoofed"
check record_spoofed_once 0 "^Linux [0-9.]+: 1 events of 1 call chains" "$tool trace report $tmp/spoofed"

# Names of threads that look like what is parsed, and other options of tracing: a new
# instance has those of the first one.
options=/sys/kernel/tracing/options
strange="a-7[9] (b)|: stack_fault: |: <stack trace>|CPU:0 [LOST 7"
for option in hex latency-format record-tgid stacktrace; do
	echo 1 > $options/$option
done
start_recording "$tmp/strange"
(IFS='|'; for name in $strange; do
	# Gone when it is read.
	(printf %s "$name" > /proc/self/comm; echo 28000 > $module/ensure)
done)
kill -HUP $recorder
wait $recorder
for option in hex latency-format record-tgid stacktrace; do
	echo 0 > $options/$option
done
check record_strange 0 "^4 events recorded, 0 lost\$" "cat $tmp/told"
check record_cleans_up_after_hangup 0 "" "ls $instances | grep stackpolicy || :"
json record_strange_names '(.[0].chains[0].frames | map(.function)) as $way | .[0].chains |
	map(.count) == [4] and ($way | index("ksys_write") and .[0] != "stack_policy_ensure")' \
	"$tool -j trace report $tmp/strange"
check record_strange_comms 0 "^a-7.9. .b.\|: stack_fault: \|: <stack trace>\|CPU:0 .LOST 7\|\$" \
	"sed -n 's/^event.*comm=//p' $tmp/strange | tr '\n' '|'"
json record_json '.[0] == {events: 0, lost: 0, file: "'"$tmp/nothing"'"}' \
	"$tool -j trace record 1 --output $tmp/nothing"

# A chain of more frames than are kept, and a recursion of two functions.
cat > "$tmp/long" << 'END'
stackpolicy-trace 1
event fault pid=84 class=kthread from=16384 to=20480 limit=32768 ret=0 comm=deep
 16 leaf+0x10
 100 ping+0x2c
 200 pong+0x65
 100 ping+0x2c
 200 pong+0x65
 100 ping+0x2c
 15000 ? left-out:100
 200 pong+0x65
 56 kthread+0xb5
 0 ret_from_fork_asm+0x11
 184 ? user-registers
lost 0
END
check left_out 0 "^  15000 \\(100 more frames\\)\$" "$tool trace report $tmp/long"
check left_out_in_the_sum 0 "these frames have 16156\$" "$tool trace report $tmp/long"
check period_of_two 0 "^    200 pong\\+0x65 \\(these 2 lines 2 times\\)\$" "$tool trace report $tmp/long"
check period_of_two_once 0 "^9\$" "$tool trace report $tmp/long | grep -c '^ '"
json left_out_json '.[0].chains[0].frames | map(select(.left_out == 100 and .bytes == 15000 and
	.function == null)) + map(select(.user_registers and .bytes == 184)) | length == 2' \
	"$tool -j trace report $tmp/long"
check left_out_folded 0 "^\\(user_registers\\);.*;\\(100_more_frames\\) 15000\$" \
	"$tool trace report $tmp/long --folded"
sed 's/left-out:100/left-out:1x/' "$tmp/long" > "$tmp/bad"
check report_bad_left_out 1 "bad, line 9: what is ' 15000 . left-out:1x'" "$tool trace report $tmp/bad"

check record_no_output 2 "output FILE is wanted" "$tool trace record 1"
check record_bad_seconds 2 "'0': a number of seconds" "$tool trace record 0 --output $tmp/x"
check record_nowhere 1 "/nowhere/x: No such file" "$tool trace record 1 --output /nowhere/x"
check record_by_nobody 1 "recording is for root" "cd $tmp && mkdir -p open && chmod 777 open &&
	$nobody $tool trace record 1 --output open/x"
check record_failed_leaves_nothing 0 "" "ls $tmp/open"
check report_missing 1 "/nowhere: No such file" "$tool trace report /nowhere"
check report_other_file 1 "is no recording" "$tool trace report $0"
check report_empty 1 "is truncated after line 0" "$tool trace report /dev/null"
head -n 5 "$tmp/trace" > "$tmp/cut"
check report_truncated 1 "is truncated after line 5" "$tool trace report $tmp/cut"
sed 's/^event fault pid=/event frob pid=/' "$tmp/trace" > "$tmp/bad"
check report_bad_event 1 "bad, line [0-9]+: what is 'event frob" "$tool trace report $tmp/bad"
(cat "$tmp/trace"; echo "event") > "$tmp/more"
check report_after_the_end 1 "more, line [0-9]+: what is 'event'" "$tool trace report $tmp/more"
check report_folder 1 "Is a directory" "$tool trace report $tmp"
sed 's/^ [0-9]* / 99999999 /' "$tmp/trace" > "$tmp/bad"
check report_bad_frame 1 "bad, line [0-9]+: what is ' 99999999 " "$tool trace report $tmp/bad"
check report_folded_json 2 "folded is for" "$tool -j trace report $tmp/trace --folded"
