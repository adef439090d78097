# shellcheck shell=sh disable=SC2154
# SPDX-License-Identifier: GPL-2.0
# stackpolicy class assign. Needs cgroup2 at its usual place.
groups=/sys/fs/cgroup/assign_test
other=/sys/fs/cgroup/assign_other
pins=/sys/fs/bpf/stackpolicy/class
echo +memory > /sys/fs/cgroup/cgroup.subtree_control
mkdir -p $groups/below $other
echo +memory > $groups/cgroup.subtree_control
mkdir $groups/full

# In the background, in that cgroup; $! is its number.
in_group()
{
	sh -c "echo \$\$ > $1/cgroup.procs && exec $2" &
}

# becomes KEY VALUE PID: when it goes to user mode next, and nobody looks.
becomes()
{
	for _ in $(seq 300); do
		! grep -q "^$1: $2\$" "/proc/$3/stack_policy" || return 0
		usleep 100000
	done
	cat "/proc/$3/stack_policy"
	return 1
}

# As long as somebody is on his way out of it.
remove_group()
{
	for _ in $(seq 300); do
		rmdir "$1" 2> /dev/null && return
		usleep 100000
	done
	ls -l "$1"
	return 1
}

# Of a new process in that cgroup; the shell goes there, and has a child.
new_in="sh -c 'echo \$\$ > \$0/cgroup.procs && cat /proc/self/stack_policy; :'"

# One that is there before: it goes to user mode ten times a second.
in_group $groups/below "sh -c 'while :; do usleep 100000; done'"
runner=$!

check assigned_empty 0 "^CLASS +CGROUP\$" "$tool class assigned"
json assigned_empty_json '.[0] == []' "$tool -j class assigned"
check before 0 "^class: task\$" "$new_in $groups/below"
check assign 0 "" "$tool class assign task-big --cgroup $groups"
check assign_again_changes_nothing 0 "" "$tool class assign --cgroup $groups task-big"
check assigned 0 "^task-big +$groups\$" "$tool class assigned"
json assigned_json ".[0] == [{\"class\": \"task-big\", \"cgroup\": \"$groups\",
	\"cgroup_id\": $(stat -c %i $groups)}]" "$tool -j class assigned"
check new_process 0 "^class: task-big\$" "$new_in $groups/below"
check has_its_size 0 "^mapped_kb: 32\$" "$new_in $groups/below"
check moved_process 0 "^class: task-big\$" \
	"echo \$\$ > $groups/below/cgroup.procs && while read -r line; do echo \"\$line\"; done < /proc/\$\$/stack_policy"
becomes class task-big $runner > "$tmp/out"
result running_process
check new_process_elsewhere 0 "^class: task\$" "$new_in /sys/fs/cgroup"
check new_process_beside 0 "^class: task\$" "$new_in $other"
json counted '.[0][0] | .stats.threads > 0 and .stats.grows_class > 0' "$tool -j class show task-big"
# Each thread of a new process with many, which have a stack of their own.
in_group $groups/below "threads 50"
many=$!
for _ in $(seq 100); do
	# shellcheck disable=SC2012
	[ "$(ls /proc/$many/task | wc -l)" -le 50 ] || break
	usleep 100000
done
check new_threads 0 "^51\$" "cat /proc/$many/task/*/stack_policy | grep -c 'class: task-big'"
kill $many

# As many as the class says.
$tool class set task-big populate=16 limit=24
check another_size 0 "^mapped_kb: 16\$" "$new_in $groups/below"
$tool class reset

check no_cgroup 2 "^Error: --cgroup PATH is wanted" "$tool class assign task-big"
check no_class 2 "'class assign' needs NAME" "$tool class assign --cgroup $groups"
check unknown_class 1 "no class 'frob'" "$tool class assign frob --cgroup $groups"
for class in kthread kthread-big kvm-vcpu user-worker irq; do
	check "not_$class" 2 "^Error: $class: what is in that class is so by itself; task-big or task" \
		"$tool class assign $class --cgroup $groups"
done
check not_a_cgroup 1 "^Error: /tmp is not in a cgroup2 file system" \
	"$tool class assign task-big --cgroup /tmp"
check no_such_cgroup 1 "^Error: $groups/none: No such file" \
	"$tool class assign task-big --cgroup $groups/none"
check not_a_folder 1 "^Error: $groups/cgroup.procs: Not a directory" \
	"$tool class assign task-big --cgroup $groups/cgroup.procs"
check assign_by_nobody 1 "this is for root" "$nobody $tool class assign task-big --cgroup $other"
check assigned_by_nobody 1 "this is for root" "$nobody $tool class assigned"
check assign_without_bpffs 1 "no BPF file system: mount -t bpf" \
	"unshare -m sh -c 'umount /sys/fs/bpf && $tool class assign task-big --cgroup $other'"
mkdir "$tmp/view"
check root_out_of_sight 1 "the root of the cgroups cannot be seen from here" \
	"echo \$\$ > $other/cgroup.procs && util_unshare -C -m sh -c \
	'mount -t cgroup2 none $tmp/view && $tool class assign task-big --cgroup $tmp/view'"
rmdir "$tmp/view"
check bad_input_assigns_nothing 0 "!$other" "$tool class assigned"
# The container's own view of the cgroups does not matter to what is assigned from outside.
check new_process_in_a_namespace 0 "^class: task-big\$" \
	"echo \$\$ > $groups/below/cgroup.procs && util_unshare -C sh -c 'cat /proc/self/stack_policy; :'"

# One in the other: the outer one can be given back alone, the inner one not while it is in there.
check assign_inside 0 "" "$tool class assign task-big --cgroup $groups/below"
check assign_back_around 0 "" "$tool class assign task --cgroup $groups"
check inside_stays 0 "^task-big +$groups/below\$" "$tool class assigned"
check inside_stays_new 0 "^class: task-big\$" "$new_in $groups/below"
becomes class task-big $runner > "$tmp/out"
result inside_stays_running
check around_no_more 0 "^class: task\$" "$new_in $groups/full"
check assign_around 0 "" "$tool class assign task-big --cgroup $groups"
check not_out_of_the_middle 1 "^Error: $groups/below is in $groups, whose threads are of class task-big" \
	"$tool class assign task --cgroup $groups/below"

# Without memory for it a thread stays what it is, and nobody is killed. Cannot be killed for memory:
# the cgroup is full all the time.
$tool class assign task --cgroup $groups
in_group $groups/full "sleep 1000"
sleeper=$!
until [ "$(cut -d ' ' -f 2,3 /proc/$sleeper/stat)" = "(sleep) S" ]; do usleep 100000; done
becomes class task $sleeper > "$tmp/out"
result sleeper_is_a_task
echo -1000 > /proc/$sleeper/oom_score_adj
echo 0 > $groups/full/memory.max
oom=$(grep "^oom " $groups/full/memory.events)
failed=$($tool -j class show task | jq '.[0].stats.failed_nomem')
check assign_full 0 "" "$tool class assign task-big --cgroup $groups"
kill -STOP $sleeper
kill -CONT $sleeper
for _ in $(seq 100); do
	[ "$($tool -j class show task | jq '.[0].stats.failed_nomem')" -eq "$failed" ] || break
	usleep 100000
done
check without_memory 0 "^class: task\$" "cat /proc/$sleeper/stack_policy"
check without_memory_is_counted 0 "" \
	"[ \$($tool -j class show task | jq '.[0].stats.failed_nomem') -gt $failed ]"
check without_memory_kills_nobody 0 "^$oom\$" "cat $groups/full/memory.events"
echo max > $groups/full/memory.max
check assign_no_longer_full 0 "" "$tool class assign task-big --cgroup $groups"
kill -STOP $sleeper
kill -CONT $sleeper
becomes class task-big $sleeper > "$tmp/out"
result with_memory
kill $sleeper

check assign_back 0 "" "$tool class assign task --cgroup $groups"
check assigned_no_more 0 "!assign_test" "$tool class assign task --cgroup $groups/below; $tool class assigned"
check new_process_after 0 "^class: task\$" "$new_in $groups/below"
becomes class task $runner > "$tmp/out"
result running_process_back
becomes mapped_kb 12 $runner > "$tmp/out"
result gives_back_its_stack

# Programs come and go while threads do, and while they are moved.
in_group $groups/full "sh -c 'while :; do threads 20 > /dev/null & usleep 50000; kill \$!; wait \$!; done 2> /dev/null'"
forker=$!
sh -c "while :; do
		echo $runner > $other/cgroup.procs
		echo $runner > $groups/below/cgroup.procs
	done" &
mover=$!
for turn in 1 2 3 4 5; do
	check "come_$turn" 0 "" "$tool class assign task-big --cgroup $groups"
	sleep 1
	check "go_$turn" 0 "" "$tool class assign task --cgroup $groups"
done
kill $mover $forker
wait $mover $forker 2> /dev/null
echo 1 > $groups/full/cgroup.kill
echo 1 > $groups/below/cgroup.kill
echo 1 > $other/cgroup.kill
wait $runner 2> /dev/null

$tool class assign task-big --cgroup $other
remove_group $other > "$tmp/out"
result other_is_removed
check removed_cgroup 0 "^task-big +\\(removed\\)\$" "$tool class assigned"
check removed_is_forgotten 0 "!removed" "$tool class assign task-big --cgroup $groups; $tool class assigned"
$tool class assign task --cgroup $groups
{ remove_group $groups/below && remove_group $groups/full && remove_group $groups; } > "$tmp/out"
result all_are_removed
check leaves_nothing_assigned 0 "" "ls $pins; bpftool prog show | grep stack_class || :"

# In a folder of somebody else's nothing is believed or removed.
rm -r /sys/fs/bpf/stackpolicy
$nobody mkdir /sys/fs/bpf/stackpolicy
for command in "class assign task-big --cgroup /sys/fs/cgroup" "class assigned" "ensure add vfs_write 100" \
		"ensure flush" "ensure list"; do
	check "not_roots_folder_$(echo "$command" | cut -d ' ' -f 1,2 | tr ' ' _)" 1 \
		"^Error: /sys/fs/bpf/stackpolicy is not root's alone; remove it" "$tool $command"
done
rmdir /sys/fs/bpf/stackpolicy
$nobody ln -s /etc /sys/fs/bpf/stackpolicy
check not_through_a_link 1 "^Error: /sys/fs/bpf/stackpolicy: " "$tool ensure flush"
rm /sys/fs/bpf/stackpolicy
