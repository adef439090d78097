#!/bin/bash
# make configs: the feature compiles in configurations that are not booted here.
cd "$(dirname "$0")" || exit
. ./lib.sh

objects=(kernel/fork.o kernel/kthread.o kernel/sched/core.o arch/x86/kernel/traps.o
	arch/x86/mm/fault.o fs/proc/base.o)

# build_with NAME OPTION...: beside the usual objects.
build_with()
{
	local option file ours=()
	obj=$O/configs/$1
	mkdir -p "$obj"
	{
		cat "$top/configs/base.config" "$top/configs/stack_policy.config"
		printf '%s\n' "${@:2}"
	} > "$obj/fragments"
	make_kernel allnoconfig KCONFIG_ALLCONFIG="$obj/fragments"
	for option in CONFIG_STACK_POLICY=y "${@:2}"; do
		case $option in
		*=n) ! grep -q "^${option%=n}=" "$obj/.config" ;;
		*) grep -qx "$option" "$obj/.config" ;;
		esac || die "option $option did not survive"
	done
	for file in $(kernel_files); do
		# These have options of their own.
		case $file in
		kernel/stack_policy_map.c) option=CONFIG_STACK_POLICY_MAPS ;;
		mm/kstack_dump.c) option=CONFIG_STACK_POLICY_DUMP ;;
		*) option=CONFIG_STACK_POLICY ;;
		esac
		grep -qx $option=y "$obj/.config" || continue
		ours+=("${file%.c}.o")
	done
	make_kernel -j"$jobs" "${objects[@]}" "${ours[@]}"
}

prepare_source
step "without memory cgroups" build_with no-memcg CONFIG_MEMCG=n
step "for one CPU" build_with up CONFIG_SMP=n CONFIG_HOTPLUG_CPU=n
step "PREEMPT_RT" build_with rt CONFIG_EXPERT=y CONFIG_PREEMPT_RT=y
step "without KUnit, BPF and tracing" build_with small CONFIG_KUNIT=n CONFIG_BPF_SYSCALL=n \
	CONFIG_FTRACE=n
step "without crash dumps" build_with no-dump CONFIG_CRASH_DUMP=n
echo "it compiles in all of them"
