# shellcheck shell=sh disable=SC2154
# SPDX-License-Identifier: GPL-2.0
# stackpolicy thread
me=$$

check show 0 "^ +1 +1 task .* init" "$tool thread show"
check show_kthread 0 "kthreadd\$" "$tool thread show --class kthread"
check show_class_only 0 "!kthreadd" "$tool thread show --class task"
check show_pid 0 "^ *$me +$me task +(4|12)/32kB " "$tool thread show --pid $me"
json show_pid_json ".[0] | length == 1 and .[0].pid == $me and .[0].class == \"task\" and
	.[0].high_water_bytes > 500" "$tool -j thread show --pid $me"
# The same as the kernel says.
check show_agrees_with_proc 0 "^12\$" "$tool -j thread show --pid $me | jq '.[0].populate_kb'
	grep -q 'populate_kb: 12' /proc/$me/stack_policy"
check show_no_such_process 1 "process 4000000: No such process" "$tool thread show --pid 4000000"
check show_no_such_process_of_a_class 1 "process 4000000: No such process" \
	"$tool thread show --pid 4000000 --class task"
check show_pid_of_another_class 0 "" "$tool thread show --pid $me --class kthread | tail -n +2"
check show_bad_pid 2 "pid -1: a number from 1" "$tool thread show --pid -1"
check show_unknown_class 1 "no class 'frob'; classes: task" "$tool thread show --class frob"
check show_bad_key 2 "high, mapped, grows or pid" "$tool thread show --sort frob"
check show_bad_top 2 "top 0: a number from 1" "$tool thread show --top 0"
check show_top 0 "^4\$" "$tool thread show --top 3 2>/dev/null | wc -l"
json sort_high '.[0] | map(.high_water_bytes) | . == (sort | reverse)' "$tool -j thread show"
json sort_mapped '.[0] | map(.mapped_kb) | . == (sort | reverse)' "$tool -j thread show --sort mapped"
json sort_grows '.[0] | map(.grows_ensure + .grows_fault + .grows_class) | . == (sort | reverse)' \
	"$tool -j thread show --sort grows"
json sort_pid '.[0] | map(.tid) | . == sort' "$tool -j thread show --sort pid"
check columns 0 "!................................................................................." \
	"$tool thread show"
check show_by_nobody 0 "threads of others are not shown" "$nobody $tool thread show"
check pid_by_nobody 1 "process 1: Permission denied" "$nobody $tool thread show --pid 1"
check own_by_nobody 0 "stackpolicy" "$nobody $tool thread show | tail -n +2"
check output_closed_early 0 "COMMAND" "$tool thread show 2> $tmp/err | head -n 1
	test ! -s $tmp/err"
# A name is whatever its thread likes: terminal codes, quotes, no UTF-8.
json hostile_names 'length > 0' "hostile_name $tool -j thread show"
check hostile_names_plain 0 '\?\[2J"\\' "hostile_name $tool thread show"

check watch 0 "^[0-9:]+  [0-9]+ threads, [0-9]+ kB of stack; stock kernel: [0-9]+ kB" \
	"$tool thread watch --count 1 < /dev/null"
check watch_twice 0 "^2\$" "$tool thread watch --interval 1 --count 2 --top 1 | grep -c COMMAND"
check watch_no_such_process 1 "process 4000000: No such process" \
	"$tool thread watch --count 1 --pid 4000000"
check watch_json 2 "use 'thread show'" "$tool -j thread watch"
check watch_bad_interval 2 "interval 0: a number" "$tool thread watch --interval 0"
# Once it has looked, however long that takes; it would look again in a day.
check watch_ends_on_signal 0 "COMMAND" "$tool thread watch --interval 86400 > $tmp/watched &
	while kill -0 \$! && ! grep -q COMMAND $tmp/watched; do sleep 1; done
	kill -INT \$! && wait \$! && cat $tmp/watched"

# Threads that come and go while they are read.
threads churn &
churn=$!
for i in 1 2 3 4 5; do
	json threads_that_exit_$i 'length == 1' "$tool -j thread show"
done
kill $churn
wait $churn 2>/dev/null

# Many of them.
threads "${many:-20000}" > "$tmp/ready" &
sleeper=$!
while kill -0 $sleeper && ! grep -q . "$tmp/ready"; do sleep 1; done
check many_threads_are_there 0 "ready" "cat $tmp/ready"
json many_threads ".[0] | length == ${many:-20000} + 1" "$tool -j thread show --pid $sleeper"
check many_threads_watched 0 "threads, [0-9]+ kB" "$tool thread watch --count 1 --top 5"
kill $sleeper
wait $sleeper 2>/dev/null
