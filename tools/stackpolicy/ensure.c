// SPDX-License-Identifier: GPL-2.0
/*
 * stackpolicy ensure: have the kernel ask for stack at the entry of a function. A BPF program
 * of four instructions calls bpf_stack_ensure() there; its link is pinned in the BPF file
 * system, and stays when this program ends.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>

#include "ensure.h"
#include "main.h"
#include "programs.h"
#include "stacks.h"

#define PINS		"ensure"
#define KFUNC		"bpf_stack_ensure"
#define SAVED_FOLDER	"/etc/stackpolicy"
#define SAVED		SAVED_FOLDER "/ensure"
#define MAX_BYTES	(SPAN_KB * 1024 - 1)

/* A function as the kernel's type information knows it. */
struct function {
	__u32	id;
	int	btf_fd;		/* of its module, 0: the kernel itself */
};

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
			btf = btf__load_from_kernel_by_id_split(id, programs_btf());
			if (!libbpf_get_error(btf)) {
				found = find_in(btf, name);
				/* What is below is the kernel's own. */
				if (found > 0 && (__u32)found < btf__type_cnt(programs_btf()))
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
	id = programs_btf() ? find_in(programs_btf(), name) : -ENOENT;
	if (id > 0) {
		f->id = id;
		return true;
	}
	return programs_btf() && find_in_modules(name, f);
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
	return !geteuid() && programs_btf() && traceable();
}

/* Return: false after an error. */
static bool available(void)
{
	return stacks_there() && programs_available(KFUNC);
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

/* @log: what the kernel says about it, or NULL. */
static int load(const struct function *f, unsigned long bytes, char *log, size_t size)
{
	struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_1, .imm = bytes },
		{ .code = BPF_JMP | BPF_CALL, .src_reg = BPF_PSEUDO_KFUNC_CALL,
		  .imm = find_in(programs_btf(), KFUNC) },
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
static bool add(int folder, const char *name, unsigned long bytes)
{
	char path[PROGRAMS_PATH_MAX];
	int program = -1, link = -1;
	struct function f;
	bool ok = false;

	if (!faccessat(folder, name, F_OK, 0)) {
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
	} else {
		programs_path(path, folder, name);
		ok = !bpf_obj_pin(link, path);
		if (!ok)
			p_err("%s: %s", name, strerror(errno));
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
static unsigned long pinned_bytes(int folder, const char *name)
{
	__u32 id = programs_id(folder, name);
	int program = id ? bpf_prog_get_fd_by_id(id) : -1;
	unsigned long bytes = program < 0 ? 0 : bytes_of(program);

	if (!bytes)
		p_err("%s: what is pinned there is not of stackpolicy", name);
	if (program >= 0)
		close(program);
	return bytes;
}

static bool list_one(int folder, const char *name, void *data)
{
	unsigned long bytes = pinned_bytes(folder, name);

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

/* All of them, of which there may be none. Return: false after an error. */
static bool walk(programs_each_fn each, void *data)
{
	int folder = programs_open(PINS, false);
	bool ok;

	if (folder < 0)
		return folder == PROGRAMS_NONE;
	ok = programs_walk(folder, each, data);
	close(folder);
	return ok;
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
	ok = walk(list_one, NULL);
	if (json)
		jsonw_end_array(json);
	return ok ? DONE : FAILED;
}

static int ensure_add(int argc, char **argv)
{
	unsigned long bytes;
	int folder;
	bool ok;

	if (!parse(argv[0], argv[1], &bytes))
		return USAGE;
	folder = available() ? programs_open(PINS, true) : -1;
	if (folder < 0)
		return FAILED;
	ok = add(folder, argv[0], bytes);
	close(folder);
	return ok ? DONE : FAILED;
}

static bool remove_one(int folder, const char *name, void *data)
{
	if (folder >= 0 && !unlinkat(folder, name, 0))
		return true;
	p_err("%s: %s", name, folder == PROGRAMS_NONE || errno == ENOENT ?
	      "nobody asks for stack there" : strerror(errno));
	return false;
}

static int ensure_remove(int argc, char **argv)
{
	int folder;
	bool ok;

	if (!is_name(argv[0])) {
		p_err("'%s' is no name of a function", argv[0]);
		return USAGE;
	}
	folder = available() ? programs_open(PINS, false) : -1;
	if (folder == -1)
		return FAILED;
	ok = remove_one(folder, argv[0], NULL);
	if (folder >= 0)
		close(folder);
	return ok ? DONE : FAILED;
}

static int ensure_flush(int argc, char **argv)
{
	return available() && walk(remove_one, NULL) ? DONE : FAILED;
}

static bool save_one(int folder, const char *name, void *data)
{
	unsigned long bytes = pinned_bytes(folder, name);

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
	if (walk(save_one, file.file))
		return replace_commit(&file) ? DONE : FAILED;
	replace_abort(&file);
	return FAILED;
}

/* In the place of what may be there. Return: false after an error. */
static bool set(int folder, const char *name, unsigned long bytes)
{
	if (!faccessat(folder, name, F_OK, 0)) {
		if (pinned_bytes(folder, name) == bytes)
			return true;
		if (!remove_one(folder, name, NULL))
			return false;
	}
	return add(folder, name, bytes);
}

/* Those that can be, with a word about each that cannot. */
static int ensure_restore(int argc, char **argv)
{
	const char *path = argc ? argv[0] : SAVED;
	char line[256], name[200], number[32], rest;
	unsigned int at = 0;
	bool ok = true;
	FILE *file;
	int folder;

	if (!available())
		return FAILED;
	file = strcmp(path, "-") ? fopen(path, "re") : stdin;
	if (!file) {
		p_err("%s: %s", path, strerror(errno));
		return FAILED;
	}
	folder = programs_open(PINS, true);
	while (folder >= 0 && fgets(line, sizeof(line), file)) {
		unsigned long bytes;
		int found;

		at++;
		found = sscanf(line, "%199s %31s %c", name, number, &rest);
		if (found < 1 || *name == '#')
			continue;
		if (found != 2) {
			p_err("%s, line %u: FUNCTION BYTES is wanted", path, at);
			ok = false;
		} else if (!parse(name, number, &bytes) || !set(folder, name, bytes)) {
			ok = false;
		}
	}
	if (ferror(file)) {
		p_err("%s: %s", path, strerror(errno));
		ok = false;
	}
	if (folder >= 0)
		close(folder);
	if (file != stdin)
		fclose(file);
	return ok && folder >= 0 ? DONE : FAILED;
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
