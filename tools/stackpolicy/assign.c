// SPDX-License-Identifier: GPL-2.0
/*
 * stackpolicy class assign: threads of a cgroup are of class task-big. A BPF program looks at
 * each new thread, and at what is moved between cgroups; it calls bpf_stack_set_class() for
 * those that are below the cgroup. The same program visits the threads that are there.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <mntent.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/filter.h>

#include "assign.h"
#include "main.h"
#include "programs.h"
#include "stacks.h"

#define PINS		"class"
#define KFUNC		"bpf_stack_set_class"
#define BIG		"task-big"
#define SMALL		"task"
#define ROOT_ID		1
#define MAX_LEVEL	128
#define PIN_MAX		32
#define ITERATOR	2	/* of the places */
#define DETACH_SECS	60	/* until a program is not called any more: an RCU grace period */
#define CALL_KFUNC(id)	BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_KFUNC_CALL, 0, id)
#define FILEID_KERNFS	0xfe	/* of linux/exportfs.h: a handle that is the id */

/* As the kernel knows it: its id, and those of what it is in, the root last. */
struct group {
	__u64		id[MAX_LEVEL];
	unsigned int	level;	/* below the root, which has 0 */
};

/* Where the program is called, and where it finds the thread in what it is given. */
static const struct place {
	const char		*pin;	/* NULL: run once, for all threads */
	const char		*name;
	__u32			kind;
	enum bpf_attach_type	type;
	int			task;
} places[] = {
	{ "new", "btf_trace_task_newtask", BTF_KIND_TYPEDEF, BPF_TRACE_RAW_TP, 0 },
	{ "moved", "btf_trace_cgroup_attach_task", BTF_KIND_TYPEDEF, BPF_TRACE_RAW_TP, 16 },
	{ NULL, "bpf_iter_task", BTF_KIND_FUNC, BPF_TRACE_ITER, 8 },
};

/* The offset of a member, or -1. */
static int offset_in(__u32 type, const char *name)
{
	const struct btf *btf = programs_btf();
	const struct btf_type *t = btf__type_by_id(btf, type);
	const struct btf_member *m;
	int i, inside;

	if (!btf_is_composite(t))
		return -1;
	for (i = 0, m = btf_members(t); i < btf_vlen(t); i++, m++) {
		const char *member = btf__name_by_offset(btf, m->name_off);
		int offset = btf_member_bit_offset(t, i) / 8;

		if (!strcmp(member, name))
			return offset;
		inside = *member ? -1 : offset_in(m->type, name);
		if (inside >= 0)
			return offset + inside;
	}
	return -1;
}

static bool find_member(const char *structure, const char *member, int *offset)
{
	int type = btf__find_by_name_kind(programs_btf(), structure, BTF_KIND_STRUCT);

	*offset = type > 0 ? offset_in(type, member) : -1;
	if (*offset >= 0)
		return true;
	p_err("this kernel has no %s.%s", structure, member);
	return false;
}

static bool find_kfunc(const char *name, int *id)
{
	*id = btf__find_by_name_kind(programs_btf(), name, BTF_KIND_FUNC);
	if (*id > 0)
		return true;
	p_err("this kernel has no %s()", name);
	return false;
}

/* Return: an fd, or -1 after an error. */
static int load(const struct place *place, const struct group *group, unsigned int class)
{
	int cgroups, dfl_cgrp, kn, id, ancestor, release, set_class, program, target;
	struct bpf_prog_load_opts opts = {
		.sz = sizeof(opts),
		.expected_attach_type = place->type,
	};

	target = btf__find_by_name_kind(programs_btf(), place->name, place->kind);
	if (target < 0) {
		p_err("this kernel has no %s", place->name);
		return -1;
	}
	if (!find_member("task_struct", "cgroups", &cgroups) ||
	    !find_member("css_set", "dfl_cgrp", &dfl_cgrp) ||
	    !find_member("cgroup", "kn", &kn) || !find_member("kernfs_node", "id", &id) ||
	    !find_kfunc("bpf_cgroup_ancestor", &ancestor) ||
	    !find_kfunc("bpf_cgroup_release", &release) || !find_kfunc(KFUNC, &set_class))
		return -1;

	struct bpf_insn code[] = {
		BPF_LDX_MEM(BPF_DW, BPF_REG_6, BPF_REG_1, place->task),
		BPF_JMP_IMM(BPF_JEQ, BPF_REG_6, 0, 15),
		/* Of the cgroup that the thread is in, the one that is so far below the root. */
		BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_6, cgroups),
		BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_1, dfl_cgrp),
		BPF_MOV64_IMM(BPF_REG_2, group->level),
		CALL_KFUNC(ancestor),
		BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, 10),
		/* Is it this one? */
		BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_0, kn),
		BPF_LDX_MEM(BPF_DW, BPF_REG_7, BPF_REG_1, id),
		BPF_MOV64_REG(BPF_REG_1, BPF_REG_0),
		CALL_KFUNC(release),
		BPF_LD_IMM64(BPF_REG_2, group->id[0]),
		BPF_JMP_REG(BPF_JNE, BPF_REG_7, BPF_REG_2, 3),
		BPF_MOV64_REG(BPF_REG_1, BPF_REG_6),
		BPF_MOV64_IMM(BPF_REG_2, class),
		CALL_KFUNC(set_class),
		BPF_MOV64_IMM(BPF_REG_0, 0),
		BPF_EXIT_INSN(),
	};

	opts.attach_btf_id = target;
	program = bpf_prog_load(BPF_PROG_TYPE_TRACING, "stack_class", "GPL", code,
				ARRAY_SIZE(code), &opts);
	if (program < 0)
		p_err("the kernel refuses the program for %s: %s", place->name, strerror(errno));
	return program;
}

/* Return: an fd, or -1 after an error. */
static int attach(const struct place *place, const struct group *group, unsigned int class)
{
	int program = load(place, group, class), link;

	if (program < 0)
		return -1;
	link = bpf_link_create(program, 0, place->type, NULL);
	if (link < 0)
		p_err("%s: %s", place->name, strerror(errno));
	close(program);
	return link;
}

/* "ID-new" of the cgroup. */
static void pin_name(char *name, __u64 id, const struct place *place)
{
	sprintf(name, "%llu-%s", id, place->pin);
}

/* Return: false after an error. */
static bool pin(int folder, const struct place *place, const struct group *group,
		unsigned int class)
{
	char path[PROGRAMS_PATH_MAX], name[PIN_MAX];
	int link;
	bool ok;

	pin_name(name, group->id[0], place);
	if (!faccessat(folder, name, F_OK, 0))
		return true;
	link = attach(place, group, class);
	if (link < 0)
		return false;
	programs_path(path, folder, name);
	/* Somebody else may have done the same meanwhile. */
	ok = !bpf_obj_pin(link, path) || errno == EEXIST;
	if (!ok)
		p_err("%s: %s", name, strerror(errno));
	close(link);
	return ok;
}

/* Until it is not called any more, as it would go on with new threads. */
static void wait_until_gone(__u32 program)
{
	int i, fd;

	for (i = 0; program && i < DETACH_SECS * 100; i++) {
		fd = bpf_prog_get_fd_by_id(program);
		if (fd < 0)
			return;
		close(fd);
		usleep(10000);
	}
}

static void unpin(int folder, __u64 id)
{
	__u32 programs[ARRAY_SIZE(places)] = {};
	char name[PIN_MAX];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(places); i++) {
		if (!places[i].pin)
			continue;
		pin_name(name, id, &places[i]);
		programs[i] = programs_id(folder, name);
		unlinkat(folder, name, 0);
	}
	for (i = 0; i < ARRAY_SIZE(places); i++)
		wait_until_gone(programs[i]);
}

/*
 * All threads that we see: it is told of each when the iterator is read. Return: false after
 * an error.
 */
static bool visit(const struct place *place, const struct group *group, unsigned int class)
{
	int link = attach(place, group, class), iterator = -1;
	ssize_t len = -1;
	char text[64];

	if (link >= 0) {
		iterator = bpf_iter_create(link);
		/* After many threads without a word it wants to be asked again. */
		do {
			len = iterator < 0 ? -1 : read(iterator, text, sizeof(text));
		} while (len > 0 || (iterator >= 0 && len < 0 && errno == EAGAIN));
		if (len < 0)
			p_err("%s: %s", place->name, strerror(errno));
		if (iterator >= 0)
			close(iterator);
		close(link);
	}
	return !len;
}

/* The cgroup that @fd is, which is closed. Return: false after an error. */
static bool find_group(int fd, const char *path, struct group *group)
{
	struct statfs fs;
	struct stat st;
	int up;

	if (fd < 0) {
		p_err("%s: %s", path, strerror(errno));
		return false;
	}
	if (fstatfs(fd, &fs) || fs.f_type != CGROUP2_SUPER_MAGIC) {
		p_err("%s is not in a cgroup2 file system", path);
		close(fd);
		return false;
	}
	*group = (struct group){};
	/* The number of a folder is the id of its cgroup. */
	while (!fstat(fd, &st)) {
		group->id[group->level] = st.st_ino;
		if (st.st_ino == ROOT_ID)
			break;
		if (++group->level == MAX_LEVEL) {
			p_err("%s is more than %d cgroups deep", path, MAX_LEVEL - 1);
			close(fd);
			return false;
		}
		up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		close(fd);
		fd = up;
		if (fd < 0 || fstatfs(fd, &fs) || fs.f_type != CGROUP2_SUPER_MAGIC) {
			p_err("%s: the root of the cgroups cannot be seen from here", path);
			if (fd >= 0)
				close(fd);
			return false;
		}
	}
	close(fd);
	return true;
}

static int open_cgroup2(void)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct statfs fs;
	struct mntent *m;
	int fd = -1;

	while (mounts && fd < 0 && (m = getmntent(mounts))) {
		if (strcmp(m->mnt_type, "cgroup2"))
			continue;
		fd = open(m->mnt_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		/* There may be another one on top. */
		if (fd >= 0 && (fstatfs(fd, &fs) || fs.f_type != CGROUP2_SUPER_MAGIC)) {
			close(fd);
			fd = -1;
		}
	}
	if (mounts)
		endmntent(mounts);
	return fd;
}

/* The folder of a cgroup. Return: an fd, -ESTALE if the cgroup is gone, or another -errno. */
static int open_group(__u64 id)
{
	struct {
		struct file_handle	handle;
		__u64			id;
	} kernfs = {
		.handle = { .handle_bytes = sizeof(__u64), .handle_type = FILEID_KERNFS },
	};
	int mount = open_cgroup2(), fd;

	if (mount < 0)
		return -ENOENT;
	memcpy(kernfs.handle.f_handle, &id, sizeof(id));
	fd = open_by_handle_at(mount, &kernfs.handle, O_PATH | O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	close(mount);
	return fd;
}

/* Its path, or words where there is none. */
static void group_path(__u64 id, char *path, size_t size)
{
	int fd = open_group(id);
	ssize_t len = -1;
	char link[64];

	if (fd >= 0) {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		len = readlink(link, path, size - 1);
		close(fd);
	}
	if (len < 0) {
		snprintf(path, size, fd == -ESTALE ? "(removed)" : "(not to be seen from here)");
		return;
	}
	path[len] = '\0';
	/* It may be a name of anybody's. */
	for (; *path; path++)
		if (!isascii((unsigned char)*path) || !isprint((unsigned char)*path))
			*path = '?';
}

/* The cgroup of a pin; 0 if it is none of ours. *@what: "new" or "moved". */
static __u64 parse_pin(const char *name, const char **what)
{
	char *end;
	__u64 id = strtoull(name, &end, 10);

	*what = end + 1;
	return *end == '-' ? id : 0;
}

static bool forget_if_gone(int folder, const char *name, void *data)
{
	const char *what;
	__u64 id = parse_pin(name, &what);
	int fd = id ? open_group(id) : -1;

	if (fd == -ESTALE)
		unpin(folder, id);
	if (fd >= 0)
		close(fd);
	return true;
}

/* Has something that @group is in been assigned? Then an error says so. */
static bool is_inside_assigned(int folder, const struct group *group)
{
	char name[PIN_MAX], path[PATH_MAX];
	unsigned int i;

	for (i = 1; i <= group->level; i++) {
		pin_name(name, group->id[i], &places[0]);
		if (faccessat(folder, name, F_OK, 0))
			continue;
		group_path(group->id[i], path, sizeof(path));
		p_err("%s is in %s, whose threads are of class " BIG, opt[OPT_CGROUP], path);
		return true;
	}
	return false;
}

/* A cgroup inside of what has been given back keeps its class. */
static bool visit_assigned(int folder, const char *name, void *data)
{
	const unsigned int *class = data;
	struct group group;
	const char *what;
	__u64 id = parse_pin(name, &what);
	int fd;

	if (!id || strcmp(what, places[0].pin))
		return true;
	fd = open_group(id);
	if (fd == -ESTALE)
		return true;
	return find_group(fd, name, &group) && visit(&places[ITERATOR], &group, *class);
}

/* Return: false after an error, and nothing is assigned that was not. */
static bool assign(int folder, const struct group *group, unsigned int class)
{
	char name[PIN_MAX];
	bool was_there;

	pin_name(name, group->id[0], &places[0]);
	was_there = !faccessat(folder, name, F_OK, 0);
	/* First those that come, so that none is missed. */
	if (pin(folder, &places[0], group, class) && pin(folder, &places[1], group, class) &&
	    visit(&places[ITERATOR], group, class))
		return true;
	if (!was_there)
		unpin(folder, group->id[0]);
	return false;
}

static bool give_back(int folder, const struct group *group, unsigned int small, unsigned int big)
{
	if (is_inside_assigned(folder, group))
		return false;
	unpin(folder, group->id[0]);
	return visit(&places[ITERATOR], group, small) &&
	       programs_walk(folder, visit_assigned, &big);
}

int class_assign(int argc, char **argv)
{
	int class, big, small, folder;
	struct group group;
	struct stacks s;
	bool ok;

	if (!opt[OPT_CGROUP]) {
		p_err("--cgroup PATH is wanted");
		return USAGE;
	}
	if (!stacks_read(&s))
		return FAILED;
	class = stacks_find(&s, argv[0]);
	if (class < 0)
		return FAILED;
	if (strcmp(argv[0], BIG) && strcmp(argv[0], SMALL)) {
		p_err("%s: what is in that class is so by itself; " BIG " or " SMALL " is wanted",
		      argv[0]);
		return USAGE;
	}
	big = stacks_find(&s, BIG);
	small = stacks_find(&s, SMALL);
	if (big < 0 || small < 0 || !programs_available(KFUNC) ||
	    !find_group(open(opt[OPT_CGROUP], O_PATH | O_DIRECTORY | O_CLOEXEC), opt[OPT_CGROUP],
			&group))
		return FAILED;
	folder = programs_open(PINS, true);
	if (folder < 0)
		return FAILED;
	ok = programs_walk(folder, forget_if_gone, NULL) &&
	     (class == big ? assign(folder, &group, big) : give_back(folder, &group, small, big));
	close(folder);
	if (ok && json)
		jsonw_null(json);
	return ok ? DONE : FAILED;
}

static bool show_one(int folder, const char *name, void *data)
{
	char path[PATH_MAX];
	const char *what;
	__u64 id = parse_pin(name, &what);

	if (!id || strcmp(what, places[0].pin))
		return true;
	group_path(id, path, sizeof(path));
	if (json) {
		jsonw_start_object(json);
		jsonw_string_field(json, "class", BIG);
		jsonw_string_field(json, "cgroup", path);
		jsonw_uint_field(json, "cgroup_id", id);
		jsonw_end_object(json);
	} else {
		printf("%-12s %s\n", BIG, path);
	}
	return true;
}

int class_assigned(int argc, char **argv)
{
	bool ok = true;
	int folder;

	if (!stacks_there() || !programs_available(KFUNC))
		return FAILED;
	folder = programs_open(PINS, false);
	if (folder == -1)
		return FAILED;
	if (json)
		jsonw_start_array(json);
	else
		printf("%-12s %s\n", "CLASS", "CGROUP");
	if (folder >= 0) {
		ok = programs_walk(folder, show_one, NULL);
		close(folder);
	}
	if (json)
		jsonw_end_array(json);
	return ok ? DONE : FAILED;
}
