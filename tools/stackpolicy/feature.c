// SPDX-License-Identifier: GPL-2.0
/* stackpolicy feature: which parts of the policy this kernel has, and how to get the rest. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "main.h"
#include "programs.h"
#include "stacks.h"

#define TRACEFS		"/sys/kernel/tracing"
#define DEBUGFS		"/sys/kernel/debug"

enum answer {
	NO,
	YES,
	HIDDEN,		/* we may not look */
};

static const char * const answers[] = { "no", "yes", "unknown" };

static enum answer exists(const char *path)
{
	if (!access(path, F_OK))
		return YES;
	return errno == EACCES || errno == EPERM ? HIDDEN : NO;
}

static enum answer has_map(const char *name)
{
	int fd = stacks_open_map(name);

	if (fd >= 0) {
		close(fd);
		return YES;
	}
	return fd == -EPERM || fd == -EACCES ? HIDDEN : NO;
}

/* Is it among what the kernel's types tell of? */
static enum answer has_kfunc(const char *name)
{
	if (!programs_btf())
		return errno == EACCES || errno == EPERM ? HIDDEN : NO;
	return btf__find_by_name_kind(programs_btf(), name, BTF_KIND_FUNC) > 0 ? YES : NO;
}

/*
 * Where stacks cannot grow safely every stack is full, whatever the table says.
 * A new process shows it: this one may be older than the table.
 */
static enum answer sizes_work(const struct stacks *s)
{
	struct stack_threads threads;
	enum answer answer = HIDDEN;
	char go;
	int end[2];
	pid_t pid;

	if (pipe(end))
		return HIDDEN;
	pid = fork();
	if (pid < 0)
		return HIDDEN;
	if (!pid) {
		close(end[1]);
		_exit(read(end[0], &go, 1) != 0);
	}
	close(end[0]);
	if (threads_read(s, pid, &threads)) {
		if (threads.nr == 1) {
			const struct stack_thread *t = &threads.thread[0];

			answer = t->populate_kb == s->class[t->class].entry.populate_kb ? YES : NO;
		}
		threads_free(&threads);
	}
	close(end[1]);
	waitpid(pid, NULL, 0);
	return answer;
}

static void report(const char *name, const char *what, enum answer answer, const char *hint)
{
	if (json) {
		jsonw_name(json, name);
		if (answer == HIDDEN)
			jsonw_null(json);
		else
			jsonw_bool(json, answer);
		return;
	}
	printf("%-48s %s\n", what, answers[answer]);
	if (answer == HIDDEN)
		printf("    only root can see that\n");
	else if (answer == NO && hint)
		printf("    %s\n", hint);
}

/* The value of a sysctl as it is. */
static void report_sysctl(const char *name)
{
	char path[128], text[256] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/sys/kernel/%s", name);
	file = fopen(path, "r");
	if (file && fgets(text, sizeof(text), file))
		text[strcspn(text, "\n")] = '\0';
	if (file)
		fclose(file);
	if (json)
		jsonw_string_field(json, name, text);
	else
		printf("kernel.%s = %s\n", name, *text ? text : "(not there)");
}

static int feature_probe(int argc, char **argv)
{
	struct utsname uts;
	struct stacks s;

	if (!stacks_read(&s))
		return FAILED;
	uname(&uts);
	if (json) {
		jsonw_start_object(json);
		jsonw_string_field(json, "kernel", uts.release);
	} else {
		printf("kernel %s\n", uts.release);
	}
	report("policy", "stack policy", YES, NULL);
	report("sizes_work", "sizes of the classes have an effect", sizes_work(&s),
	       "this machine cannot grow stacks: 'dmesg | grep \"fully populated\"' says why");
	report("proc", "/proc/<pid>/stack_policy", exists("/proc/self/stack_policy"), NULL);
	report("policy_map", "BPF map stack_policy", has_map("stack_policy"),
	       "CONFIG_BPF_SYSCALL=y");
	report("stats_map", "BPF map stack_stats", has_map("stack_stats"), "CONFIG_BPF_SYSCALL=y");
	report("btf", "types for bpftool (BTF)", exists("/sys/kernel/btf/vmlinux"),
	       "CONFIG_DEBUG_INFO_BTF=y");
	report("kfunc", "asking for stack by BPF programs", has_kfunc("bpf_stack_ensure"),
	       "CONFIG_BPF_SYSCALL=y and CONFIG_DEBUG_INFO_BTF=y");
	report("kfunc_class", "classes by BPF programs", has_kfunc("bpf_stack_set_class"),
	       "the same");
	report("tracepoints", "tracepoints stack_policy:*", exists(TRACEFS "/events/stack_policy"),
	       "CONFIG_TRACEPOINTS=y, and mount -t tracefs tracefs " TRACEFS);
	report("sites", "overflows by site, in debugfs", exists(DEBUGFS "/stack_policy/sites"),
	       "CONFIG_DEBUG_FS=y, and mount -t debugfs debugfs " DEBUGFS);
	report("fault_injection", "fault injection into the reserve",
	       exists(DEBUGFS "/fail_kstack_refill"), "CONFIG_FAIL_KSTACK_REFILL=y");
	report_sysctl("stack_policy");
	report_sysctl("stack_policy_overflow");
	report_sysctl("stack_policy_cold_ms");
	report_sysctl("stack_policy_cold_secs");
	if (json)
		jsonw_end_object(json);
	return DONE;
}

static const struct command commands[] = {
	{ "probe", NULL, 0, 0, 0, feature_probe },
	{ }
};

const struct object feature_object = {
	"feature", "which parts of the policy this kernel has", commands,
};
