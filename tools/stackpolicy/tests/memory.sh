# shellcheck shell=sh disable=SC2154
# SPDX-License-Identifier: GPL-2.0
# stackpolicy memory, metrics and feature.
check show 0 "^all +[0-9]+ +[0-9]+ +[0-9]+ +[0-9]+ +-?[0-9]+ +-?[0-9]+%\$" "$tool memory show"
check show_bars 0 "^ +[0-9]+ kB +[0-9]+ +[0-9.]+% #+" "$tool memory show"
cpus=$(ls -d /sys/devices/system/cpu/cpu[0-9]* | wc -l)
check show_interrupts 0 "^irq +$cpus +$((32 * cpus)) +0 +$((16 * cpus)) +-$((16 * cpus)) -100%\$" "$tool memory show"
json show_json '.[0] | (.classes | length) == 7 and .total.stock_kb == .total.threads * 16 and
	.total.saved_kb == .total.stock_kb - .total.mapped_kb - .total.retained_kb and
	.total.mapped_kb == ([.classes[].mapped_kb] | add) and
	.reserve_kb > 0 and .kernel_stack_kb > 0' "$tool -j memory show"
check show_by_nobody 1 "counters are for root" "$nobody $tool memory show"
check plot 0 "^</svg>" "$tool memory show --plot $tmp/plot.svg > /dev/null && cat $tmp/plot.svg"
check plot_has_bars 0 "<title>when last switched out, up to 1: [0-9]+ " "cat $tmp/plot.svg"
check plot_nowhere 1 "/nowhere/plot.svg: No such file" "$tool memory show --plot /nowhere/plot.svg"

# Prometheus' text: every line is a comment or NAME{LABELS} VALUE.
check metrics 0 '^stack_policy_threads\{class="task"\} [1-9]' "$tool metrics"
check metrics_grammar 1 "" "$tool metrics |
	grep -vE '^(# (HELP|TYPE) stack_policy_[a-z_]+ .+|stack_policy_[a-z_]+(\\{([a-z_]+=\"[^\"]*\",?)+\\}) [0-9]+)\$'"
check metrics_types_once 1 "" "$tool metrics | grep '^# TYPE' | sort | uniq -d | grep ."
check metrics_bytes 0 "^12288\$" \
	"$tool metrics | sed -n 's/^stack_policy_populate_bytes{class=\"task\"} //p'"
check metrics_file 0 "^stack_policy_threads" "$tool metrics --output $tmp/m.prom && cat $tmp/m.prom"
exits=$(sed -n 's/^stack_policy_exit_depth_bytes_count{class="task"} //p' "$tmp/m.prom")
check metrics_histogram 0 "^stack_policy_exit_depth_bytes_bucket.class=\"task\",le=\"\+Inf\". ${exits:-none}\$" \
	"cat $tmp/m.prom"
mkfifo "$tmp/fifo"
check metrics_into_a_pipe 0 "^stack_policy_threads" \
	"$tool metrics --output $tmp/fifo & timeout 300 cat $tmp/fifo; wait; [ -p $tmp/fifo ]"
ln -s m.prom "$tmp/link"
check metrics_through_a_link 0 "" \
	"rm $tmp/m.prom; touch $tmp/m.prom; $tool metrics --output $tmp/link; [ -h $tmp/link ] && [ -s $tmp/m.prom ]"
check metrics_into_a_folder 1 "Is a directory" "$tool metrics --output $tmp"
check metrics_nowhere 1 "No such file" "$tool metrics --output /nowhere/m.prom"
check metrics_json 2 "Prometheus" "$tool -j metrics"
check metrics_by_nobody 1 "counters are for root" "$nobody $tool metrics"

check probe 0 "^stack policy +yes" "$tool feature probe"
check probe_sizes 0 "sizes of the classes have an effect +yes" "$tool feature probe"
json probe_json '.[0] | .policy and .sizes_work and .proc and .policy_map and .stats_map and
	.tracepoints and .sites and .stack_policy_overflow == "survive"' "$tool -j feature probe"
json probe_by_nobody '.[0] | .policy and .stats_map == null' "$nobody $tool -j feature probe"
