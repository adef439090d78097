/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the stack_policy selftests have in common: small files in and out, the
 * helper module, maps, the trace.
 */
#ifndef _SELFTEST_STACK_POLICY_UTIL_H
#define _SELFTEST_STACK_POLICY_UTIL_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TABLE	"/proc/sys/kernel/stack_policy"
#define ACTION	"/proc/sys/kernel/stack_policy_overflow"
#define DEFAULT	"task=12/32 kthread=12/32 kthread-big=32/32 kvm-vcpu=32/32 " \
		"user-worker=12/32 irq=32/32 task-big=32/32\n"
#define PROFILE	"/proc/sys/kernel/stack_policy_profile"
#define COLD_SECS "/proc/sys/kernel/stack_policy_cold_secs"
#define COLD_MS	"/proc/sys/kernel/stack_policy_cold_ms"
#define DEFAULT_COLD_MS "100"
#define WARN_KB	"/proc/sys/kernel/stack_policy_warn_kb"
#define MINE	"/proc/thread-self/stack_policy"
#define MODULE	"/sys/kernel/debug/stack_policy_test/"
#define TRACING	"/sys/kernel/tracing/"
#define CGROUP	"/sys/fs/cgroup/"
#define RESERVE	"/sys/kernel/debug/stack_policy/reserve"
#define POOL	"/sys/kernel/debug/stack_policy/pool"
#define TRIM	"/sys/kernel/debug/stack_policy/trim"
#define FAIL_REFILL "/sys/kernel/debug/fail_kstack_refill/"

/*
 * As in linux/stack_policy.h, which this must also build without. The entry is as programs have
 * it that do not know of sleepers, which is the upper half of limit_kb.
 */
enum { TASK, KTHREAD, KTHREAD_BIG, KVM_VCPU, USER_WORKER, IRQ, TASK_BIG, NR_CLASSES };
struct entry { unsigned int populate_kb, limit_kb; };
struct stats {
	unsigned long long threads, mapped_kb, grows_ensure, grows_fault, grows_class;
	unsigned long long failed_nomem, failed_limit, exit_depth_kb[32], uncharged_kb;
	unsigned long long trims_excess, trims_cold, retained_kb, reclaimed_kb;
	unsigned long long restored_kb, replaced_kb, late_starts;
	unsigned long long depth_kb[32], high_water_kb[32], grows_fault_deep, late_us[32];
	unsigned long long depths_age_ms;
};

/*
 * The value of @call, which is -1 with errno, or -errno, if it failed: then the
 * log says so, in whichever function, thread or process that was.
 */
#define checked(call) ({							\
	__typeof__(call) _ret = (call);						\
										\
	if (_ret < 0)								\
		fprintf(stderr, "# %s: %s: %s\n", __func__, #call,		\
			strerror(_ret < -1 ? -_ret : errno));			\
	_ret;									\
})

#define ASSERT_OK(call)	ASSERT_LE(0, checked(call))
#define EXPECT_OK(call)	EXPECT_LE(0, checked(call))

/*
 * A test that hangs ends some day. What a test waits for is there within a second or
 * two; a debugging kernel that is emulated beside other loads takes 15 times as long.
 */
#ifdef TEST_TIMEOUT_DEFAULT
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	900
#endif
#define DEADLINE_S	120
#define POLL_US		20000

static inline double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* Until @condition is true, or the deadline has passed. Value: whether it is. */
#define wait_until(condition) ({						\
	double _end = seconds() + DEADLINE_S;					\
	bool _ok;								\
										\
	while (!(_ok = (condition)) && seconds() < _end)			\
		usleep(POLL_US);						\
	_ok;									\
})

/* The file's text, or "" with errno set. */
static inline const char *slurp(const char *path)
{
	static char text[1 << 18];
	int fd = open(path, O_RDONLY);
	size_t len = 0;
	ssize_t got;

	if (fd >= 0)
		errno = 0;
	while (fd >= 0 && len < sizeof(text) - 1 &&
	       (got = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += got;
	if (fd >= 0)
		close(fd);
	text[len] = '\0';
	return text;
}

static inline int spit_bytes(const char *path, const char *text, size_t len)
{
	int fd = open(path, O_WRONLY), err = 0;
	ssize_t done;

	if (fd < 0)
		return -errno;
	done = write(fd, text, len);
	if (done != (ssize_t)len)
		err = done < 0 ? -errno : -EIO;
	close(fd);
	return err;
}

static inline int spit(const char *path, const char *text)
{
	return spit_bytes(path, text, strlen(text));
}

/*
 * The number behind @key in a file of "key: number" lines, or -errno. Said once in a
 * row: the thread whose file is polled may be gone.
 */
static inline long number(const char *path, const char *key)
{
	static __thread int said;
	const char *text = slurp(path), *at = strstr(text, key);
	int err = at ? 0 : errno ?: ENODATA;

	if (err && err != said)
		fprintf(stderr, "# %s of %s: %s\n", key, path, strerror(err));
	said = err;
	return at ? atol(at + strlen(key) + 1) : -err;
}

static inline int spit_number(const char *path, long value)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", value);
	return spit(path, text);
}

/*
 * The calling thread, by the name of @name from now on, is going to overflow.
 * For the harness: "expected" if there must be a report, "allowed" if the same
 * site may have been reported before.
 */
static inline void expect_overflow(const char *how, const char *name)
{
	char text[64];

	checked(prctl(PR_SET_NAME, name));
	snprintf(text, sizeof(text), "stack_policy: overflow %s in %s\n", how, name);
	checked(spit("/dev/kmsg", text));
}

/* Pages of a thread's stack, from the page tables, or -errno. */
static inline long pages_of(pid_t tid)
{
	int err = spit_number(MODULE "pages", tid);
	const char *text = err ? "" : slurp(MODULE "pages");

	return err ?: *text ? atol(text) : -errno;
}

static inline long kernel_stack_kb(void)
{
	return number("/proc/meminfo", "KernelStack");
}

/* A child. A test that cannot have one ends here. */
static inline pid_t must_fork(void)
{
	pid_t child = checked(fork());

	if (child < 0)
		exit(1);
	return child;
}

/* @nr threads that sleep until *@stop is closed. */
static inline void *sleeper(void *pipe_end)
{
	char byte;

	checked(read((int)(long)pipe_end, &byte, 1));
	return NULL;
}

static inline int start_sleepers(pthread_t *threads, int nr, int ends[2])
{
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 * 1024);
	if (checked(pipe(ends)))
		return -1;
	for (int i = 0; i < nr; i++)
		if (checked(-pthread_create(&threads[i], &attr, sleeper,
					    (void *)(long)ends[0])))
			return -1;
	return 0;
}

static inline void stop_sleepers(pthread_t *threads, int nr, int ends[2])
{
	close(ends[1]);
	for (int i = 0; i < nr; i++)
		pthread_join(threads[i], NULL);
	close(ends[0]);
}

static inline int bpf(int cmd, union bpf_attr *attr)
{
	return syscall(SYS_bpf, cmd, attr, sizeof(*attr));
}

/* The map's fd, or -1 with errno set. */
static inline int map_by_name(const char *name, struct bpf_map_info *info)
{
	union bpf_attr attr = {};

	while (!bpf(BPF_MAP_GET_NEXT_ID, &attr)) {
		union bpf_attr get = { .map_id = attr.next_id };
		int fd = bpf(BPF_MAP_GET_FD_BY_ID, &get);
		union bpf_attr ask = { .info = { .bpf_fd = fd, .info_len = sizeof(*info),
						 .info = (unsigned long)info } };

		memset(info, 0, sizeof(*info));
		if (fd >= 0 && !bpf(BPF_OBJ_GET_INFO_BY_FD, &ask) && !strcmp(info->name, name))
			return fd;
		if (fd >= 0)
			close(fd);
		attr.start_id = attr.next_id;
	}
	return -1;
}

static inline int map_op(int cmd, int fd, unsigned int key, void *value, unsigned long flags)
{
	union bpf_attr attr = { .map_fd = fd, .key = (unsigned long)&key,
				.value = (unsigned long)value, .flags = flags };

	return bpf(cmd, &attr) ? -errno : 0;
}

static inline struct stats class_stats(int class)
{
	struct stats s = {};
	struct bpf_map_info info;
	int fd = checked(map_by_name("stack_stats", &info));

	if (fd >= 0)
		checked(map_op(BPF_MAP_LOOKUP_ELEM, fd, class, &s, 0));
	close(fd);
	return s;
}

/* What nobody is charged for yet, of the whole machine. */
static inline unsigned long long uncharged_kb(void)
{
	unsigned long long sum = 0;

	for (int class = 0; class < NR_CLASSES; class++)
		sum += class_stats(class).uncharged_kb;
	return sum;
}

/* What is charged to it beside stacks goes with the last reference. */
static inline int remove_group(const char *path)
{
	return wait_until(!rmdir(path)) ? 0 : -errno;
}

/* CPUs whose reserve lacks nothing. */
static inline int full_reserves(void)
{
	int n = 0;

	for (const char *at = slurp(RESERVE); (at = strstr(at, "pages=16 ")); at++)
		n++;
	return n;
}

/* A moment after the last overflow. */
static inline bool wait_for_full_reserves(void)
{
	return wait_until(full_reserves() == sysconf(_SC_NPROCESSORS_ONLN));
}

static inline long of_thread(pid_t tid, const char *key)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/stack_policy", tid);
	return number(path, key);
}

/* Wait until @tid's @key is @value. Return: what it is. */
static inline long wait_for(pid_t tid, const char *key, long value)
{
	long now;

	wait_until((now = of_thread(tid, key)) == value);
	return now;
}

/* Wait until @pid's status says so. Return: whether it does. */
static inline bool in_state(pid_t pid, const char *state)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	return wait_until(strstr(slurp(path), state));
}

static inline bool asleep(pid_t pid)
{
	return in_state(pid, "State:\tS");
}

static inline void reap(pid_t child)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

/* The threads of a process as they were created, at most @nr. Return: how many they are. */
static inline int threads_of(pid_t pid, pid_t *tids, int nr)
{
	struct dirent *entry;
	char path[64];
	DIR *dir;
	int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && n < nr && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			tids[n++] = atoi(entry->d_name);
	if (dir)
		closedir(dir);
	return n;
}

/* Of @nr threads, each @step-th: how many have one page of stack? */
static inline int cold_ones(const pid_t *tids, int nr, int step)
{
	int n = 0;

	for (int i = 0; i < nr; i += step)
		n += of_thread(tids[i], "mapped_kb") == 4;
	return n;
}

/* Until it has been trimmed while it slept. Return: whether it has. */
static inline bool trim_child(pid_t child)
{
	return wait_until(!checked(spit(TRIM, "1")) && of_thread(child, "trims_cold") > 0);
}

/* A child that sleeps in the kernel. */
static inline pid_t sleeping_child(void)
{
	pid_t child = must_fork();

	while (!child)
		pause();
	return child;
}

/* Lines of the kernel log that contain @text. */
static inline int logged(const char *text)
{
	int fd = checked(open("/dev/kmsg", O_RDONLY | O_NONBLOCK)), n = 0;
	char line[2048];
	ssize_t len;

	while ((len = read(fd, line, sizeof(line) - 1)) > 0 || errno == EPIPE) {
		if (len <= 0)
			continue;
		line[len] = '\0';
		n += !!strstr(line, text);
	}
	close(fd);
	return n;
}

static inline int clear_trace(void)
{
	int fd = open(TRACING "trace", O_WRONLY | O_TRUNC);

	if (fd >= 0)
		close(fd);
	return fd < 0 ? -errno : 0;
}

/* The lines of the trace that name @event. */
static inline int traced(const char *event)
{
	int n = 0;

	for (const char *at = slurp(TRACING "trace"); (at = strstr(at, event)); at++)
		n++;
	return n;
}

#endif /* _SELFTEST_STACK_POLICY_UTIL_H */
