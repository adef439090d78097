#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Real call chains for the analysis to be held against, between lines "# BEGIN NAME"
# and "# END": overflows of stacks of one page, with the bytes of each frame as the
# kernel's unwinder has them; then, of each of many loads, the deepest chain that the
# kernel's stack tracer has seen. That one looks for return addresses, and may take
# an old one in a frame for the frame's end: its frames are not to be trusted one by
# one, their sum is. Expects a file system at /mnt/xfs.
tracing=/sys/kernel/tracing

. /tests/loads.sh

# In the format of 'stackpolicy trace record'.
deepest()
{
	echo 0 > $tracing/stack_max_size
	echo 1 > /proc/sys/kernel/stack_tracer_enabled
	quietly "$1"
	# Who reads it in parts must not find two of them.
	echo 0 > /proc/sys/kernel/stack_tracer_enabled
	awk -v name="$1" '
		/^ *[0-9]+\)/ {
			split($4, where, "/")
			frame[n++] = where[1]
			bytes[n - 1] = $3
			if (n == 1)
				depth = $2
		}
		END {
			printf "event fault pid=0 class=task from=0 to=%d limit=0 ret=0 comm=%s\n",
				depth, substr(name, 1, 15)
			# The first is not called from, the last ends at the top of the stack.
			for (i = 0; i < n; i++)
				print " " (!i ? "-" : i == n - 1 ? bytes[i] - 8 : bytes[i]) " " frame[i]
		}' $tracing/stack_trace
}

ifconfig lo 127.0.0.1 up
sysctl -q -w kernel.stack_policy="task=4/32 kthread=4/32 user-worker=4/32"
stackpolicy trace record --output /overflows &
while kill -0 $! && ! grep -qs 1 "$tracing/instances/stackpolicy-$!/events/stack_policy/stack_fault/enable"; do
	sleep 1
done
# How deep a load goes is a matter of chance, with randomize_kstack_offset.
for _ in $(seq 60); do
	loads quietly
	[ "$(stackpolicy -j class show | jq 'map(.stats.grows_fault) | add')" -lt 5 ] || break
done
# Of more frames than are kept.
echo 1 > /sys/kernel/debug/kunit/stack_policy_record/run
kill $!
wait $!
sysctl -q -w kernel.stack_policy=default
echo "# BEGIN overflows"
cat /overflows
echo "# END"

echo "# BEGIN deepest"
echo "stackpolicy-trace 1"
loads deepest
echo "lost 0"
echo "# END"
