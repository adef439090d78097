// SPDX-License-Identifier: GPL-2.0
/*
 * Reads the table from the sysctl, which everybody may, the counters from the BPF
 * map, and the threads from /proc.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "main.h"
#include "stacks.h"

/* What is older than that is being counted anew: linux/stack_policy.h. */
#define DEPTHS_AGE_MS	1000

#define TABLE	"/proc/sys/kernel/stack_policy"
#define PROFILE	"/proc/sys/kernel/stack_policy_profile"

/* A small file of /proc as a string. Return: bytes or -errno. */
static ssize_t read_text(int dir, const char *path, char *text, size_t size)
{
	int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	ssize_t len;

	if (fd < 0)
		return -errno;
	len = read(fd, text, size - 1);
	if (len < 0)
		len = -errno;
	close(fd);
	if (len >= 0)
		text[len] = '\0';
	return len;
}

bool stacks_there(void)
{
	if (!access(TABLE, F_OK))
		return true;
	if (access("/proc/self", F_OK))
		p_err("/proc is not mounted");
	else
		p_err("the running kernel has no stack policy (CONFIG_STACK_POLICY)");
	return false;
}

/* "task=12/32", or with a third field what the sizes do not say of sleepers. */
static bool read_row(const char *word, struct stack_class_info *class)
{
	char sleepers[8] = "";
	int n = sscanf(word, "%31[^=]=%u/%hu/%7s", class->name, &class->entry.populate_kb,
		       &class->entry.limit_kb, sleepers);

	class->entry.sleepers = !strcmp(sleepers, "trim") ? STACK_SLEEPERS_TRIM :
				!strcmp(sleepers, "keep") ? STACK_SLEEPERS_KEEP :
				STACK_SLEEPERS_BY_SIZE;
	return n == 3 || (n == 4 && class->entry.sleepers != STACK_SLEEPERS_BY_SIZE);
}

static bool read_table(struct stacks *s)
{
	char text[1024], *word, *rest = text;
	ssize_t len = read_text(AT_FDCWD, TABLE, text, sizeof(text));

	if (len < 0) {
		p_err("%s: %s", TABLE, strerror(-len));
		return false;
	}
	while ((word = strsep(&rest, " \n"))) {
		if (!*word)
			continue;
		if (s->nr == MAX_CLASSES || !read_row(word, &s->class[s->nr])) {
			p_err("%s: cannot read '%s'", TABLE, word);
			return false;
		}
		s->nr++;
	}
	return true;
}

int stacks_open_map(const char *name)
{
	struct bpf_map_info info;
	__u32 id = 0, len;
	int fd;

	while (!bpf_map_get_next_id(id, &id)) {
		fd = bpf_map_get_fd_by_id(id);
		if (fd < 0) {
			if (errno == ENOENT)
				continue;
			return -errno;
		}
		info = (struct bpf_map_info){};
		len = sizeof(info);
		/*
		 * Anybody may give a map this name. Ours is the first, as it
		 * comes with the kernel, and an array with a key for each class.
		 */
		if (!bpf_obj_get_info_by_fd(fd, &info, &len) && !strcmp(info.name, name) &&
		    info.type == BPF_MAP_TYPE_ARRAY)
			return fd;
		close(fd);
	}
	return -errno;
}

/* A kernel's value may be shorter or longer than the one we know. */
static bool read_values(struct stacks *s, int fd, char *value, __u32 size)
{
	__u32 class;

	for (class = 0; class < s->nr; class++) {
		if (bpf_map_lookup_elem(fd, &class, value))
			return false;
		memcpy(&s->class[class].stats, value, size < sizeof(struct stack_policy_stats) ?
		       size : sizeof(struct stack_policy_stats));
	}
	return true;
}

/*
 * The kernel counts how deep the threads are when somebody asks, and has the answer a moment
 * later: milliseconds, or as long as it takes to come by all of them.
 */
static void read_stats(struct stacks *s)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);
	char *value = NULL;
	int tries = 100, fd = stacks_open_map("stack_stats");

	if (fd < 0)
		return;
	if (!bpf_obj_get_info_by_fd(fd, &info, &len))
		value = calloc(1, info.value_size);
	while (value && (s->has_stats = read_values(s, fd, value, info.value_size)) &&
	       s->nr && s->class[0].stats.depths_age_ms > DEPTHS_AGE_MS && --tries)
		usleep(10000);
	free(value);
	close(fd);
}

bool stacks_read(struct stacks *s)
{
	*s = (struct stacks){};
	if (!stacks_there() || !read_table(s))
		return false;
	read_stats(s);
	return true;
}

int stacks_find(const struct stacks *s, const char *name)
{
	char names[MAX_CLASSES * 33] = "";
	unsigned int i;

	for (i = 0; i < s->nr; i++) {
		if (!strcmp(s->class[i].name, name))
			return i;
		strcat(names, " ");
		strcat(names, s->class[i].name);
	}
	p_err("there is no class '%s'; classes:%s", name, names);
	return -1;
}

bool stacks_read_profile(char *name, size_t size)
{
	ssize_t len = read_text(AT_FDCWD, PROFILE, name, size);

	if (len < 0) {
		p_err("%s: %s", PROFILE, strerror(-len));
		return false;
	}
	name[strcspn(name, "\n")] = '\0';
	return true;
}

int stacks_write_table(const char *text)
{
	int fd = open(TABLE, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* Names of threads go to terminals and into JSON: only what is safe there. */
static void read_comm(int dir, struct stack_thread *t)
{
	char text[64], *c = t->comm;
	size_t i;

	if (read_text(dir, "comm", text, sizeof(text)) < 0)
		text[0] = '\0';
	for (i = 0; i < sizeof(t->comm) - 1 && text[i] && text[i] != '\n'; i++)
		*c++ = isascii(text[i]) && isprint(text[i]) ? text[i] : '?';
	*c = '\0';
}

static const struct {
	const char	*name;
	size_t		offset;
} thread_fields[] = {
#define FIELD(name)	{ #name ":", offsetof(struct stack_thread, name) }
	FIELD(populate_kb), FIELD(limit_kb), FIELD(mapped_kb), FIELD(high_water_bytes),
	FIELD(grows_ensure), FIELD(grows_fault), FIELD(grows_fault_deep),
	FIELD(grows_class), FIELD(trims_excess), FIELD(trims_cold),
#undef FIELD
};

/* "name: value" in lines; those that we do not know are skipped. */
static void parse_thread(const struct stacks *s, char *text, struct stack_thread *t)
{
	char *line, *value;
	unsigned int i;

	while ((line = strsep(&text, "\n"))) {
		value = strchr(line, ' ');
		if (!value)
			continue;
		*value++ = '\0';
		for (i = 0; i < s->nr && !strcmp(line, "class:"); i++) {
			if (!strcmp(value, s->class[i].name))
				t->class = i;
		}
		for (i = 0; i < ARRAY_SIZE(thread_fields); i++) {
			if (!strcmp(line, thread_fields[i].name))
				*(unsigned int *)((char *)t + thread_fields[i].offset) =
					strtoul(value, NULL, 10);
		}
	}
}

/* Return: 0, or -errno if the thread has gone or is not ours to see. */
static int read_thread(const struct stacks *s, int task_dir, const char *tid,
		       struct stack_thread *t)
{
	char text[1024];
	ssize_t len;
	int dir;

	dir = openat(task_dir, tid, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	len = read_text(dir, "stack_policy", text, sizeof(text));
	if (len > 0) {
		t->tid = atoi(tid);
		parse_thread(s, text, t);
		read_comm(dir, t);
	}
	close(dir);
	if (len < 0)
		return len;
	/* An idle or exiting thread has none to speak of. */
	return len ? 0 : -ESRCH;
}

static bool add_thread(struct stack_threads *threads, const struct stack_thread *t)
{
	if (threads->nr == threads->room) {
		size_t room = threads->room * 2 + 1024;
		void *more = reallocarray(threads->thread, room, sizeof(*t));

		if (!more) {
			p_err("no memory for %zu threads", room);
			return false;
		}
		threads->thread = more;
		threads->room = room;
	}
	threads->thread[threads->nr++] = *t;
	return true;
}

static bool read_process(const struct stacks *s, int proc, const char *pid,
			 struct stack_threads *threads)
{
	struct dirent *entry;
	char path[300];
	bool ok = true;
	DIR *dir;
	int fd;

	snprintf(path, sizeof(path), "%s/task", pid);
	fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		return true;	/* has exited */
	while (ok && (entry = readdir(dir))) {
		struct stack_thread t = { .pid = atoi(pid) };
		int ret;

		if (!isdigit(entry->d_name[0]))
			continue;
		ret = read_thread(s, fd, entry->d_name, &t);
		if (!ret)
			ok = add_thread(threads, &t);
		else if (ret == -EACCES || ret == -EPERM)
			threads->denied++;
	}
	closedir(dir);
	return ok;
}

bool threads_read(const struct stacks *s, pid_t pid, struct stack_threads *threads)
{
	struct dirent *entry;
	bool ok = true;
	char name[16];
	DIR *dir;

	*threads = (struct stack_threads){};
	dir = opendir("/proc");
	if (!dir) {
		p_err("/proc: %s", strerror(errno));
		return false;
	}
	if (pid) {
		snprintf(name, sizeof(name), "%d", pid);
		ok = read_process(s, dirfd(dir), name, threads);
	}
	while (!pid && ok && (entry = readdir(dir))) {
		if (isdigit(entry->d_name[0]))
			ok = read_process(s, dirfd(dir), entry->d_name, threads);
	}
	closedir(dir);
	if (!ok)
		threads_free(threads);
	return ok;
}

void threads_free(struct stack_threads *threads)
{
	free(threads->thread);
	threads->thread = NULL;
}
