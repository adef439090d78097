// SPDX-License-Identifier: GPL-2.0
/* stackpolicy class: the table of classes, shown and changed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "assign.h"
#include "main.h"
#include "stacks.h"

#define SAVED_BY	"# Kernel stacks by class; written by 'stackpolicy class set --save'.\n"

/* The counters of a class in the order of struct stack_policy_stats. */
static void stats_json(const struct stack_policy_stats *stats)
{
	static const struct {
		const char *name;
		size_t offset, nr;
	} fields[] = {
#define ONE(name)	{ #name, offsetof(struct stack_policy_stats, name), 1 }
#define ALL(name)	{ #name, offsetof(struct stack_policy_stats, name), 32 }
		ONE(threads), ONE(mapped_kb), ONE(grows_ensure), ONE(grows_fault),
		ONE(grows_class), ONE(failed_nomem), ONE(failed_limit), ALL(exit_depth_kb),
		ONE(uncharged_kb), ONE(trims_excess), ONE(trims_cold), ONE(retained_kb),
		ONE(reclaimed_kb), ONE(restored_kb), ONE(replaced_kb), ONE(late_starts),
		ALL(depth_kb), ALL(high_water_kb), ONE(grows_fault_deep), ALL(late_us),
		ONE(depths_age_ms),
#undef ONE
#undef ALL
	};
	unsigned int i, n;

	_Static_assert(STACK_POLICY_DEPTHS == 32 && STACK_POLICY_DELAYS == 32, "ALL");
	jsonw_name(json, "stats");
	jsonw_start_object(json);
	for (i = 0; i < ARRAY_SIZE(fields); i++) {
		const __u64 *value = (const void *)stats + fields[i].offset;

		jsonw_name(json, fields[i].name);
		if (fields[i].nr > 1)
			jsonw_start_array(json);
		for (n = 0; n < fields[i].nr; n++)
			jsonw_lluint(json, value[n]);
		if (fields[i].nr > 1)
			jsonw_end_array(json);
	}
	jsonw_end_object(json);
}

static const char * const sleepers[] = {
	[STACK_SLEEPERS_BY_SIZE] = "by-size",
	[STACK_SLEEPERS_TRIM]	= "trim",
	[STACK_SLEEPERS_KEEP]	= "keep",
};

/* What becomes of them, said or not. */
static const char *sleepers_name(const struct stack_policy_entry *row)
{
	unsigned int what = row->sleepers;

	if (what == STACK_SLEEPERS_BY_SIZE)
		what = row->populate_kb < row->limit_kb ? STACK_SLEEPERS_TRIM : STACK_SLEEPERS_KEEP;
	return what < ARRAY_SIZE(sleepers) ? sleepers[what] : "?";
}

static void class_json(const struct stacks *s, const struct stack_class_info *class)
{
	jsonw_start_object(json);
	jsonw_string_field(json, "class", class->name);
	jsonw_uint_field(json, "populate_kb", class->entry.populate_kb);
	jsonw_uint_field(json, "limit_kb", class->entry.limit_kb);
	jsonw_string_field(json, "sleepers", sleepers_name(&class->entry));
	if (s->has_stats)
		stats_json(&class->stats);
	jsonw_end_object(json);
}

static void class_plain(const struct stacks *s, const struct stack_class_info *class)
{
	const struct stack_policy_stats *stats = &class->stats;

	printf("%-12s %7u %6u %8s", class->name, class->entry.populate_kb, class->entry.limit_kb,
	       sleepers_name(&class->entry));
	if (s->has_stats)
		printf(" %8llu %9llu %7llu %9llu %6llu %8llu", stats->threads,
		       stats->mapped_kb, stats->grows_ensure + stats->grows_class,
		       stats->grows_fault, stats->grows_fault_deep,
		       stats->failed_nomem + stats->failed_limit);
	printf("\n");
}

static int class_show(int argc, char **argv)
{
	int i, only = -1;
	struct stacks s;

	if (!stacks_read(&s))
		return FAILED;
	if (argc) {
		only = stacks_find(&s, argv[0]);
		if (only < 0)
			return FAILED;
	}
	if (json)
		jsonw_start_array(json);
	else
		printf("%-12s %7s %6s %8s%s\n", "CLASS", "POP.KB", "LIM.KB", "SLEEPERS",
		       s.has_stats ? "  THREADS MAPPED.KB   GROWN OVERFLOWS   DEEP  REFUSED" : "");
	for (i = 0; i < (int)s.nr; i++) {
		if (only >= 0 && i != only)
			continue;
		if (json)
			class_json(&s, &s.class[i]);
		else
			class_plain(&s, &s.class[i]);
	}
	if (json)
		jsonw_end_array(json);
	if (!s.has_stats)
		p_info("Note: the counters are for root (CAP_SYS_ADMIN)");
	return DONE;
}

static bool parse_sleepers(const char *value, struct stack_policy_entry *row)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sleepers); i++) {
		if (!strcmp(value, sleepers[i])) {
			row->sleepers = i;
			return true;
		}
	}
	p_err("sleepers=%s: trim, keep or by-size", value);
	return false;
}

/* "populate=16", "limit=32" or "sleepers=trim" into @row. */
static bool parse_field(const char *arg, struct stack_policy_entry *row)
{
	static const char * const names[] = { "populate", "limit" };
	const char *value = strchr(arg, '=');
	unsigned int i;
	char *end;

	if (value && !strncmp(arg, "sleepers=", value + 1 - arg))
		return parse_sleepers(value + 1, row);
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		size_t len = strlen(names[i]);
		unsigned long kb;

		if (!value || (size_t)(value - arg) != len || strncmp(arg, names[i], len))
			continue;
		errno = 0;
		kb = strtoul(value + 1, &end, 10);
		if (errno || *end || value[1] < '0' || value[1] > '9' || kb > SPAN_KB || !kb) {
			p_err("%s: from %ld to %d kB", arg, sysconf(_SC_PAGESIZE) / 1024, SPAN_KB);
			return false;
		}
		if (i == 0)
			row->populate_kb = kb;
		else
			row->limit_kb = kb;
		return true;
	}
	p_err("what is '%s'? populate=KB, limit=KB or sleepers=WHAT is wanted", arg);
	return false;
}

/* As the kernel will check it, but with a reason. */
static bool row_valid(const char *class, const struct stack_policy_entry *row)
{
	unsigned int page_kb = sysconf(_SC_PAGESIZE) / 1024;

	if (row->populate_kb % page_kb)
		p_err("populate=%u is not a multiple of the page size, %u kB", row->populate_kb,
		      page_kb);
	else if (row->limit_kb % page_kb)
		p_err("limit=%u is not a multiple of the page size, %u kB", row->limit_kb, page_kb);
	else if (row->populate_kb > row->limit_kb)
		p_err("populate=%u is more than limit=%u", row->populate_kb, row->limit_kb);
	else if (!strcmp(class, "kvm-vcpu") && row->populate_kb < row->limit_kb)
		p_err("kvm-vcpu: populate=%u is less than limit=%u; a vCPU thread cannot grow",
		      row->populate_kb, row->limit_kb);
	else if (!strcmp(class, "irq") && row->populate_kb < SPAN_KB)
		p_err("irq: interrupt stacks have %d kB for good", SPAN_KB);
	else if (!strcmp(class, "irq") && row->sleepers == STACK_SLEEPERS_TRIM)
		p_err("irq: interrupt stacks do not sleep");
	else
		return true;
	return false;
}

static bool update(unsigned int class, const struct stack_policy_entry *row)
{
	int fd = stacks_open_map("stack_policy"), ret = 0;

	if (fd == -ENOENT) {
		p_err("this kernel has no BPF map 'stack_policy'; see 'stackpolicy feature probe'");
		return false;
	}
	if (fd < 0 || bpf_map_update_elem(fd, &class, row, BPF_EXIST))
		ret = fd < 0 ? -fd : errno;
	if (ret == EINVAL)
		p_err("the kernel refuses populate=%u limit=%u", row->populate_kb, row->limit_kb);
	else if (ret == EPERM && fd >= 0)
		p_err("the BPF map is frozen; sysctl kernel.stack_policy still works");
	else if (ret)
		p_err("BPF map 'stack_policy': %s%s", strerror(ret), ret == EPERM ?
		      "; CAP_SYS_ADMIN is needed" : "");
	if (fd >= 0)
		close(fd);
	return !ret;
}

/* A file that is there is overwritten only if it is one of ours. */
static bool may_overwrite(const char *path)
{
	char line[sizeof(SAVED_BY)] = "";
	struct stat st;
	FILE *file;

	if (stat(path, &st) && errno == ENOENT)
		return true;
	if (!stat(path, &st) && !S_ISREG(st.st_mode)) {
		p_err("%s is not a regular file", path);
		return false;
	}
	file = fopen(path, "r");
	if (!file) {
		p_err("%s: %s", path, strerror(errno));
		return false;
	}
	if (!fgets(line, sizeof(line), file))
		*line = '\0';
	fclose(file);
	if (!*line || !strcmp(line, SAVED_BY))
		return true;
	p_err("%s exists and was not written by 'stackpolicy class set --save'", path);
	return false;
}

/* The whole table, as of several calls with the same file each must last. */
static void write_fragment(FILE *file, const struct stacks *s)
{
	unsigned int i;

	fputs(SAVED_BY "kernel.stack_policy =", file);
	for (i = 0; i < s->nr; i++) {
		const struct stack_policy_entry *row = &s->class[i].entry;

		fprintf(file, " %s=%u/%u", s->class[i].name, row->populate_kb, row->limit_kb);
		if (row->sleepers != STACK_SLEEPERS_BY_SIZE)
			fprintf(file, "/%s", sleepers_name(row));
	}
	fputc('\n', file);
}

static int class_set(int argc, char **argv)
{
	struct stack_policy_entry *row;
	struct replacement saved = {};
	struct stacks s;
	int class, i;

	if (!stacks_read(&s))
		return FAILED;
	class = stacks_find(&s, argv[0]);
	if (class < 0)
		return FAILED;
	/* What is not named stays as it is. */
	row = &s.class[class].entry;
	for (i = 1; i < argc; i++) {
		if (!parse_field(argv[i], row))
			return USAGE;
	}
	if (!row_valid(s.class[class].name, row))
		return USAGE;
	if (opt[OPT_SAVE]) {
		if (!may_overwrite(opt[OPT_SAVE]) || !replace_open(&saved, opt[OPT_SAVE]))
			return FAILED;
		write_fragment(saved.file, &s);
	}
	if (!update(class, row)) {
		if (opt[OPT_SAVE])
			replace_abort(&saved);
		return FAILED;
	}
	if (opt[OPT_SAVE] && !replace_commit(&saved)) {
		p_info("Note: the kernel has the new sizes all the same");
		return FAILED;
	}
	if (json)
		jsonw_null(json);
	return DONE;
}

/* Through the sysctl: it knows the tables that have names, and is all or nothing. */
static int take_table(const char *name)
{
	/* It takes rows as well, and these are for 'set'. */
	int ret = strpbrk(name, "= \t\n,") ? -EINVAL : stacks_write_table(name);

	if (ret == -EINVAL)
		p_err("no profile '%s'; profiles: default conservative static", name);
	else if (ret)
		p_err("kernel.stack_policy: %s", strerror(-ret));
	else if (json)
		jsonw_null(json);
	return ret ? FAILED : DONE;
}

static int class_reset(int argc, char **argv)
{
	return stacks_there() ? take_table("default") : FAILED;
}

static int class_profile(int argc, char **argv)
{
	char name[32];

	if (!stacks_there())
		return FAILED;
	if (argc)
		return take_table(argv[0]);
	if (!stacks_read_profile(name, sizeof(name)))
		return FAILED;
	if (json)
		jsonw_string(json, name);
	else
		printf("%s\n", name);
	return DONE;
}

static const struct command commands[] = {
	{ "show", "[NAME]", 0, 0, 1, class_show },
	{ "set", "NAME [populate=KB] [limit=KB] [sleepers=WHAT]", OPT(SAVE), 2, 4, class_set },
	{ "profile", "[PROFILE]", 0, 0, 1, class_profile },
	{ "reset", NULL, 0, 0, 0, class_reset },
	{ "assign", "NAME", OPT(CGROUP), 1, 1, class_assign },
	{ "assigned", NULL, 0, 0, 0, class_assigned },
	{ }
};

const struct object class_object = {
	"class", "how much stack which kind of thread gets, and what became of it", commands,
};
