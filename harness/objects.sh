# shellcheck shell=bash disable=SC2034,SC2154
# Sourced: what the queue touches of the kernel source, and how to build only that.

# Files of the queue, and some that see its changes to headers only.
mapfile -t objects < <({
	sed -n 's/^diff --git a\/\(.*\)\.c b\/.*/\1.o/p' "$top"/patches/6.12/*.patch
	printf '%s\n' init/init_task.o kernel/sched/core.o kernel/trace/trace_stack.o \
		arch/x86/kernel/process_64.o mm/usercopy.o
} | sort -u)

# build_objects SOURCE OBJECTS: the base configuration without the feature.
build_objects()
{
	src=$1 obj=$2
	mkdir -p "$obj"
	{
		cat "$top/configs/base.config"
		echo CONFIG_DEBUG_KMEMLEAK=y
		echo CONFIG_DEBUG_STACK_USAGE=y
		echo CONFIG_DMA_API_DEBUG=y
		echo CONFIG_CGROUP_FREEZER=y
	} > "$obj/fragments"
	make_kernel allnoconfig KCONFIG_ALLCONFIG="$obj/fragments"
	! grep -q '^CONFIG_STACK_POLICY=y' "$obj/.config" || die "the feature is on"
	make_kernel -j"$jobs" "${objects[@]}"
}
