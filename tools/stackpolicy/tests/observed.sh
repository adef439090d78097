# shellcheck shell=sh disable=SC2154
# SPDX-License-Identifier: GPL-2.0
# stackpolicy analyze, beside $overflows and $deepest: what chains.sh has recorded in
# the kernel whose image is $vmlinux.
json overflows_were_recorded '.[0].observed | .events > 0 and .calls > 10' \
	"$tool -j analyze $vmlinux --edges $overflows > $tmp/overflows 2> /dev/null && cat $tmp/overflows"
check one_has_more_frames_than_are_kept 0 "^ [0-9]+ \\? left-out:[0-9]+\$" "cat $overflows"
# The kernel's unwinder at work, and the tables that it works with.
json each_frame_has_the_bytes_expected '.[0].observed | .frames > 10 and
	.frames_that_differ == []' "cat $tmp/overflows"
json no_overflow_is_deeper_than_its_bound '.[0].observed | .chains > 0 and
	.chains_deeper_than_bound == []' "cat $tmp/overflows"
json no_chain_is_deeper_than_its_bound '.[0].observed | .chains >= 10 and
	.deepest_bytes > 2500 and .chains_deeper_than_bound == []' \
	"$tool -j analyze $vmlinux --edges $deepest > $tmp/deepest 2> /dev/null && cat $tmp/deepest"
json calls_are_where_they_were_expected '.[0].observed | .calls > 100 and .wrong == 0 and
	.predicted > .calls * 0.8' "cat $tmp/deepest"
# Without the types the pointers' targets are news, and are fed back in.
json edges_are_fed_back '(.[0].entries | map(select(.name == "fsync"))[0].depth_bytes) as $with |
	(.[1].entries | map(select(.name == "fsync"))[0].depth_bytes) as $without |
	.[0].observed.added > 0 and $with > $without' \
	"$tool -j analyze $vmlinux --indirect none --edges $deepest 2> /dev/null;
	$tool -j analyze $vmlinux --indirect none"
check in_words 0 "^[0-9]+ frames and [0-9]+ depths compared, up to [0-9]+ bytes" \
	"$tool analyze $vmlinux --edges $deepest 2> /dev/null"
# These must be seen: a frame that is larger than it can be, a chain deeper than any.
sed 's/^ [0-9]* do_syscall_64/ 3000 do_syscall_64/' "$overflows" > "$tmp/wrong"
json a_wrong_frame_is_seen '.[0].observed.frames_that_differ | map(.function) |
	index("do_syscall_64") != null' "$tool -j analyze $vmlinux --edges $tmp/wrong 2> /dev/null"
sed 's/^ \([0-9][0-9]*\) / \100 /' "$deepest" > "$tmp/wrong"
json a_chain_too_deep_is_seen '.[0].observed.chains_deeper_than_bound | length > 0' \
	"$tool -j analyze $vmlinux --edges $tmp/wrong 2> /dev/null"
check it_says_so 0 "does not agree with the image" "$tool analyze $vmlinux --edges $tmp/wrong"
sed 's/^build_id ..../build_id 0000/' "$overflows" > "$tmp/wrong"
check another_kernel 1 "was recorded on another kernel" "$tool analyze $vmlinux --edges $tmp/wrong"
check no_recording 1 "is no recording" "$tool analyze $vmlinux --edges $0"
