// SPDX-License-Identifier: GPL-2.0
/*
 * stackpolicy ensure: have the kernel ask for stack at the entry of a function. A BPF program
 * of four instructions calls bpf_stack_ensure() there; its link is pinned in the BPF file
 * system, and stays when this program ends.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>

#include "ensure.h"
#include "main.h"
#include "stacks.h"

#define BPFFS		"/sys/fs/bpf"
#define OURS		BPFFS "/stackpolicy"
#define PINS		OURS "/ensure"
#define KFUNC		"bpf_stack_ensure"
#define SAVED_FOLDER	"/etc/stackpolicy"
#define SAVED		SAVED_FOLDER "/ensure"
#define MAX_BYTES	(SPAN_KB * 1024 - 1)

/* A function as the kernel's type information knows it. */
struct function {
	__u32	id;
	int	btf_fd;		/* of its module, 0: the kernel itself */
};

static struct btf *kernel_btf(void)
{
	static struct btf *btf;

	if (!btf)
		btf = btf__load_vmlinux_btf();
	return libbpf_get_error(btf) ? NULL : btf;
}

static int find_in(const struct btf *btf, const char *name)
{
	return btf__find_by_name_kind(btf, name, BTF_KIND_FUNC);
}

/* In whichever module has it. Return: false if none does. */
static bool find_in_modules(const char *name, struct function *f)
{
	struct bpf_btf_info info;
	__u32 id = 0, len;
	int fd, found;

	while (!bpf_btf_get_next_id(id, &id)) {
		char module[MODULE_MAX] = "";
		struct btf *btf;

		fd = bpf_btf_get_fd_by_id(id);
		if (fd < 0)
			continue;
		info = (struct bpf_btf_info){ .name = (unsigned long)module,
					      .name_len = sizeof(module) };
		len = sizeof(info);
		found = -ENOENT;
		if (!bpf_obj_get_info_by_fd(fd, &info, &len) && info.kernel_btf &&
		    strcmp(module, "vmlinux")) {
			btf = btf__load_from_kernel_by_id_split(id, kernel_btf());
			if (!libbpf_get_error(btf)) {
				found = find_in(btf, name);
				/* What is below is the kernel's own. */
				if (found > 0 && (__u32)found < btf__type_cnt(kernel_btf()))
					found = -ENOENT;
				btf__free(btf);
			}
		}
		if (found > 0) {
			f->id = found;
			f->btf_fd = fd;
			return true;
		}
		close(fd);
	}
	return false;
}

static bool find_function(const char *name, struct function *f)
{
	int id;

	*f = (struct function){};
	id = kernel_btf() ? find_in(kernel_btf(), name) : -ENOENT;
	if (id > 0) {
		f->id = id;
		return true;
	}
	return kernel_btf() && find_in_modules(name, f);
}

static void release(struct function *f)
{
	if (f->btf_fd > 0)
		close(f->btf_fd);
}

/* Functions with a place for a tracer: "name" or "name [module]" in each line. */
static const char *traceable(void)
{
	static char *text;
	size_t room = 0;
	FILE *file;

	if (text)
		return text;
	file = fopen("/sys/kernel/tracing/available_filter_functions", "re");
	/* As a whole: there is no 0 in it. */
	if (file && getdelim(&text, &room, '\0', file) < 0) {
		free(text);
		text = NULL;
	}
	if (file)
		fclose(file);
	return text;
}

bool ensure_can_add(const char *name)
{
	const char *at = traceable();
	size_t len = strlen(name);
	struct function f;

	for (; at; at = strchr(at, '\n'), at += !!at) {
		if (!strncmp(at, name, len) && (at[len] == '\n' || at[len] == ' '))
			break;
		if (!*at)
			return false;
	}
	if (!at || !find_function(name, &f))
		return false;
	release(&f);
	return true;
}

bool ensure_knows_functions(void)
{
	return !geteuid() && kernel_btf() && traceable();
}

/* Return: false after an error. */
static bool available(void)
{
	struct statfs fs;

	if (!stacks_there())
		return false;
	if (geteuid()) {
		p_err("this is for root");
		return false;
	}
	if (statfs(BPFFS, &fs) || fs.f_type != BPF_FS_MAGIC) {
		p_err("no BPF file system: mount -t bpf bpf " BPFFS);
		return false;
	}
	if (!kernel_btf()) {
		p_err("this kernel has no type information (CONFIG_DEBUG_INFO_BTF)");
		return false;
	}
	if (find_in(kernel_btf(), KFUNC) > 0)
		return true;
	p_err("this kernel has no " KFUNC "()");
	return false;
}

static bool is_name(const char *name)
{
	const char *c;

	for (c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && *c != '_')
			return false;
	return *name && strlen(name) < FUNCTION_MAX;
}

/* Return: false after an error. */
static bool parse(const char *name, const char *arg, unsigned long *bytes)
{
	char *end;

	if (!is_name(name)) {
		p_err("'%s' is no name of a function", name);
		return false;
	}
	errno = 0;
	*bytes = strtoul(arg, &end, 10);
	if (!errno && !*end && isdigit((unsigned char)*arg) && *bytes && *bytes <= MAX_BYTES)
		return true;
	p_err("'%s': a number of bytes from 1 to %d is wanted", arg, MAX_BYTES);
	return false;
}

static bool make_folders(void)
{
	if ((mkdir(OURS, 0700) && errno != EEXIST) || (mkdir(PINS, 0700) && errno != EEXIST)) {
		p_err(PINS ": %s", strerror(errno));
		return false;
	}
	return true;
}

/* @log: what the kernel says about it, or NULL. */
static int load(const struct function *f, unsigned long bytes, char *log, size_t size)
{
	struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_1, .imm = bytes },
		{ .code = BPF_JMP | BPF_CALL, .src_reg = BPF_PSEUDO_KFUNC_CALL,
		  .imm = find_in(kernel_btf(), KFUNC) },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	struct bpf_prog_load_opts opts = {
		.sz = sizeof(opts),
		.expected_attach_type = BPF_TRACE_FENTRY,
		.attach_btf_id = f->id,
		.attach_btf_obj_fd = f->btf_fd,
		.log_level = !!log,
		.log_buf = log,
		.log_size = size,
	};

	return bpf_prog_load(BPF_PROG_TYPE_TRACING, "stack_ensure", "GPL", code,
			     ARRAY_SIZE(code), &opts);
}

/* Why not? The first line of what the kernel says, if it says anything. */
static void complain(const char *name, const struct function *f, unsigned long bytes, int err)
{
	char log[4096] = "";
	int program = load(f, bytes, log, sizeof(log));

	if (program >= 0)
		close(program);
	log[strcspn(log, "\n")] = '\0';
	p_err("%s: cannot be traced: %s%s%s", name, strerror(err),
	      program < 0 && *log ? ": " : "", program < 0 ? log : "");
}

/* Return: false after an error. */
static bool add(const char *name, unsigned long bytes)
{
	char path[sizeof(PINS) + FUNCTION_MAX + 1];
	int program = -1, link = -1;
	struct function f;
	bool ok = false;

	snprintf(path, sizeof(path), PINS "/%s", name);
	if (!access(path, F_OK)) {
		p_err("%s: there is one already; remove it first", name);
		return false;
	}
	if (!find_function(name, &f)) {
		p_err("%s: neither the kernel nor a module has such a function to trace", name);
		return false;
	}
	program = load(&f, bytes, NULL, 0);
	if (program >= 0)
		link = bpf_link_create(program, 0, BPF_TRACE_FENTRY, NULL);
	if (program < 0 || link < 0) {
		complain(name, &f, bytes, errno);
	} else if (make_folders()) {
		ok = !bpf_obj_pin(link, path);
		if (!ok)
			p_err("%s: %s", path, strerror(errno));
	}
	if (link >= 0)
		close(link);
	if (program >= 0)
		close(program);
	release(&f);
	return ok;
}

/* What a program asks for, from its code; 0 if it is none of ours. */
static unsigned long bytes_of(int program)
{
	struct bpf_insn code[16] = {};
	struct bpf_prog_info info = { .xlated_prog_insns = (unsigned long)code,
				      .xlated_prog_len = sizeof(code) };
	__u32 len = sizeof(info), i;

	if (bpf_obj_get_info_by_fd(program, &info, &len))
		return 0;
	for (i = 0; i < ARRAY_SIZE(code); i++)
		if (code[i].code == (BPF_ALU64 | BPF_MOV | BPF_K) && code[i].dst_reg == BPF_REG_1)
			return code[i].imm;
	return 0;
}

/* Of the pin of that name; 0 after an error. */
static unsigned long pinned_bytes(const char *name)
{
	char path[sizeof(PINS) + NAME_MAX + 1];
	struct bpf_link_info info = {};
	__u32 len = sizeof(info);
	unsigned long bytes = 0;
	int link, program = -1;

	snprintf(path, sizeof(path), PINS "/%s", name);
	link = bpf_obj_get(path);
	if (link >= 0 && !bpf_obj_get_info_by_fd(link, &info, &len))
		program = bpf_prog_get_fd_by_id(info.prog_id);
	if (program >= 0)
		bytes = bytes_of(program);
	if (!bytes)
		p_err("%s: %s", path, link < 0 ? strerror(errno) : "is not of stackpolicy");
	if (program >= 0)
		close(program);
	if (link >= 0)
		close(link);
	return bytes;
}

static int is_pin(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

typedef bool (*each_pin_fn)(const char *name, void *data);

/* @each of those that are there. Return: false after an error. */
static bool walk_pins(each_pin_fn each, void *data)
{
	struct dirent **names;
	int i, nr = scandir(PINS, &names, is_pin, alphasort);
	bool ok = true;

	if (nr < 0) {
		if (errno == ENOENT)
			return true;
		p_err(PINS ": %s", strerror(errno));
		return false;
	}
	for (i = 0; i < nr; i++) {
		ok &= each(names[i]->d_name, data);
		free(names[i]);
	}
	free(names);
	return ok;
}

static bool list_one(const char *name, void *data)
{
	unsigned long bytes = pinned_bytes(name);

	if (!bytes)
		return false;
	if (json) {
		jsonw_start_object(json);
		jsonw_string_field(json, "function", name);
		jsonw_uint_field(json, "bytes", bytes);
		jsonw_end_object(json);
	} else {
		printf("%-40s %6lu\n", name, bytes);
	}
	return true;
}

static int ensure_list(int argc, char **argv)
{
	bool ok;

	if (!available())
		return FAILED;
	if (json)
		jsonw_start_array(json);
	else
		printf("%-40s %6s\n", "FUNCTION", "BYTES");
	ok = walk_pins(list_one, NULL);
	if (json)
		jsonw_end_array(json);
	return ok ? DONE : FAILED;
}

static int ensure_add(int argc, char **argv)
{
	unsigned long bytes;

	if (!parse(argv[0], argv[1], &bytes))
		return USAGE;
	return available() && add(argv[0], bytes) ? DONE : FAILED;
}

static bool remove_one(const char *name, void *data)
{
	char path[sizeof(PINS) + NAME_MAX + 1];

	snprintf(path, sizeof(path), PINS "/%s", name);
	if (!unlink(path))
		return true;
	p_err("%s: %s", name, errno == ENOENT ? "nobody asks for stack there" : strerror(errno));
	return false;
}

static int ensure_remove(int argc, char **argv)
{
	if (!is_name(argv[0])) {
		p_err("'%s' is no name of a function", argv[0]);
		return USAGE;
	}
	return available() && remove_one(argv[0], NULL) ? DONE : FAILED;
}

static int ensure_flush(int argc, char **argv)
{
	return available() && walk_pins(remove_one, NULL) ? DONE : FAILED;
}

static bool save_one(const char *name, void *data)
{
	unsigned long bytes = pinned_bytes(name);

	return bytes && fprintf(data, "%s %lu\n", name, bytes) > 0;
}

void ensure_write_header(FILE *file)
{
	fprintf(file, "# Written by stackpolicy: a function, and the bytes of stack to ask for at "
		"its entry.\n");
}

static int ensure_save(int argc, char **argv)
{
	struct replacement file;

	if (!argc && mkdir(SAVED_FOLDER, 0755) && errno != EEXIST) {
		p_err(SAVED_FOLDER ": %s", strerror(errno));
		return FAILED;
	}
	if (!available() || !replace_open(&file, argc ? argv[0] : SAVED))
		return FAILED;
	ensure_write_header(file.file);
	if (walk_pins(save_one, file.file))
		return replace_commit(&file) ? DONE : FAILED;
	replace_abort(&file);
	return FAILED;
}

/* In the place of what may be there. Return: false after an error. */
static bool set(const char *name, unsigned long bytes)
{
	char path[sizeof(PINS) + FUNCTION_MAX + 1];

	snprintf(path, sizeof(path), PINS "/%s", name);
	if (!access(path, F_OK)) {
		if (pinned_bytes(name) == bytes)
			return true;
		if (!remove_one(name, NULL))
			return false;
	}
	return add(name, bytes);
}

/* Those that can be, with a word about each that cannot. */
static int ensure_restore(int argc, char **argv)
{
	const char *path = argc ? argv[0] : SAVED;
	char line[256], name[200], number[32], rest;
	unsigned int at = 0;
	bool ok = true;
	FILE *file;

	if (!available())
		return FAILED;
	file = strcmp(path, "-") ? fopen(path, "re") : stdin;
	if (!file) {
		p_err("%s: %s", path, strerror(errno));
		return FAILED;
	}
	while (fgets(line, sizeof(line), file)) {
		unsigned long bytes;
		int found;

		at++;
		found = sscanf(line, "%199s %31s %c", name, number, &rest);
		if (found < 1 || *name == '#')
			continue;
		if (found != 2) {
			p_err("%s, line %u: FUNCTION BYTES is wanted", path, at);
			ok = false;
		} else if (!parse(name, number, &bytes) || !set(name, bytes)) {
			ok = false;
		}
	}
	if (ferror(file)) {
		p_err("%s: %s", path, strerror(errno));
		ok = false;
	}
	if (file != stdin)
		fclose(file);
	return ok ? DONE : FAILED;
}

static const struct command commands[] = {
	{ "list", NULL, 0, 0, 0, ensure_list },
	{ "add", "FUNCTION BYTES", 0, 2, 2, ensure_add },
	{ "remove", "FUNCTION", 0, 1, 1, ensure_remove },
	{ "flush", NULL, 0, 0, 0, ensure_flush },
	{ "suggest", "[FILE]", OPT(SAVE), 0, 1, ensure_suggest },
	{ "save", "[FILE]", 0, 0, 1, ensure_save },
	{ "restore", "[FILE]", 0, 0, 1, ensure_restore },
	{ }
};

const struct object ensure_object = {
	"ensure", "functions at whose entry stack is asked for", commands,
};
