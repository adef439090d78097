// SPDX-License-Identifier: GPL-2.0
/*
 * stackpolicy OBJECT COMMAND, in the manner of bpftool: options, help, errors.
 * Knows no kernel interface.
 */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "main.h"

#define OPT_BASE	256	/* val of enum option_id for getopt_long() */

json_writer_t *json;
const char *opt[NR_OPTIONS];

static bool debug;
static bool failed_in_json;

static const struct object * const objects[] = {
	&class_object, &thread_object, &memory_object, &trace_object, &ensure_object,
	&analyze_object, &metrics_object, &feature_object,
};

static const struct {
	const char *name, *arg, *about;
} options[] = {
	[OPT_CGROUP]	= { "cgroup", "PATH", "threads below this one" },
	[OPT_CLASS]	= { "class", "CLASS", "of this class; for analyze also POPULATE/LIMIT" },
	[OPT_COUNT]	= { "count", "N", "stop after N times" },
	[OPT_EDGES]	= { "edges", "FILE", "calls that were observed, from 'trace record'" },
	[OPT_ENTRY]	= { "entry", "NAME", "only this entry point, with its whole chain" },
	[OPT_FOLDED]	= { "folded", NULL, "stacks in one line each, for flame graph tools" },
	[OPT_INDIRECT]	= { "indirect", "HOW", "calls through pointers: type, or none" },
	[OPT_INTERVAL]	= { "interval", "SECONDS", "time between two looks" },
	[OPT_OUTPUT]	= { "output", "FILE", "write there, as a whole or not at all" },
	[OPT_PID]	= { "pid", "PID", "only threads of this process" },
	[OPT_PLOT]	= { "plot", "FILE", "write an SVG picture" },
	[OPT_RECURSE]	= { "recurse", "N", "follow up to N calls back into a cycle" },
	[OPT_SAVE]	= { "save", "FILE", "write it there, to be there after a reboot" },
	[OPT_SORT]	= { "sort", "KEY", "order by mapped, high, grows or pid" },
	[OPT_TOP]	= { "top", "N", "only the first N" },
	[OPT_WITHOUT]	= { "without", "NAMES", "do not follow calls to these functions" },
};

static const char global_options[] =
	"OPTIONS := { -j|--json | -p|--pretty | -d|--debug | -V|--version | -h|--help }";

void p_err(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (json) {
		/* One document: who has begun one says it on stderr only. */
		if (!failed_in_json) {
			jsonw_start_object(json);
			jsonw_name(json, "error");
			jsonw_vprintf_enquote(json, fmt, args);
			jsonw_end_object(json);
		}
		failed_in_json = true;
	} else {
		fprintf(stderr, "Error: ");
		vfprintf(stderr, fmt, args);
		fprintf(stderr, "\n");
	}
	va_end(args);
}

void p_info(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	fprintf(stderr, "\n");
	va_end(args);
}

static int print_libbpf(enum libbpf_print_level level, const char *fmt, va_list args)
{
	return debug ? vfprintf(stderr, fmt, args) : 0;
}

bool opt_number(enum option_id id, unsigned long otherwise, unsigned long min,
		unsigned long max, unsigned long *number)
{
	char *end;

	*number = otherwise;
	if (!opt[id])
		return true;
	errno = 0;
	*number = strtoul(opt[id], &end, 10);
	if (errno || *end || opt[id][0] < '0' || opt[id][0] > '9' ||
	    *number < min || *number > max) {
		p_err("--%s %s: a number from %lu to %lu is wanted", options[id].name,
		      opt[id], min, max);
		return false;
	}
	return true;
}

static void replace_free(struct replacement *r)
{
	free(r->path);
	free(r->tmp);
}

bool replace_open(struct replacement *r, const char *path)
{
	mode_t mask = umask(0);
	struct stat st;
	int fd;

	umask(mask);
	*r = (struct replacement){};
	if (!path) {
		r->file = stdout;
		return true;
	}
	if (!stat(path, &st) && !S_ISREG(st.st_mode)) {
		r->path = strdup(path);
		r->file = fopen(path, "w");
	} else {
		/* Of a symbolic link, what it leads to. */
		r->path = realpath(path, NULL) ?: strdup(path);
		if (!r->path || asprintf(&r->tmp, "%s.XXXXXX", r->path) < 0) {
			r->tmp = NULL;
			errno = ENOMEM;
		} else {
			fd = mkstemp(r->tmp);
			if (fd >= 0) {
				fchmod(fd, 0666 & ~mask);
				r->file = fdopen(fd, "w");
			}
			if (fd >= 0 && !r->file) {
				close(fd);
				unlink(r->tmp);
			}
		}
	}
	if (r->file)
		return true;
	p_err("%s: %s", path, strerror(errno));
	replace_free(r);
	return false;
}

bool replace_commit(struct replacement *r)
{
	bool bad;

	if (!r->path)
		return true;	/* main() looks at stdout */
	bad = ferror(r->file) || fflush(r->file) || (r->tmp && fsync(fileno(r->file)));
	bad |= fclose(r->file) != 0;
	bad = bad || (r->tmp && rename(r->tmp, r->path));
	if (bad) {
		p_err("%s: %s", r->path, strerror(errno));
		if (r->tmp)
			unlink(r->tmp);
	}
	replace_free(r);
	return !bad;
}

void replace_abort(struct replacement *r)
{
	if (!r->path)
		return;
	fclose(r->file);
	if (r->tmp)
		unlink(r->tmp);
	replace_free(r);
}

static void help_of(FILE *out, const struct object *object)
{
	const struct command *c;
	unsigned int i;

	for (c = object->commands; c->name; c++) {
		fprintf(out, "%s stackpolicy [OPTIONS] %s", c == object->commands ? "Usage:" :
			"      ", object->name);
		if (*c->name)
			fprintf(out, " %s", c->name);
		if (c->args)
			fprintf(out, " %s", c->args);
		for (i = 0; i < NR_OPTIONS; i++) {
			if (c->options & (1u << i))
				fprintf(out, " [--%s%s%s]", options[i].name,
					options[i].arg ? " " : "",
					options[i].arg ? options[i].arg : "");
		}
		fprintf(out, "\n");
	}
	fprintf(out, "       stackpolicy %s help\n\n", object->name);
	for (i = 0; i < NR_OPTIONS; i++) {
		for (c = object->commands; c->name && !(c->options & (1u << i)); c++)
			;
		if (c->name)
			fprintf(out, "       --%-10s%s\n", options[i].name, options[i].about);
	}
	fprintf(out, "       %s\n", global_options);
}

static void help(FILE *out)
{
	unsigned int i;

	fprintf(out, "Usage: stackpolicy [OPTIONS] OBJECT { COMMAND | help }\n\n");
	for (i = 0; i < ARRAY_SIZE(objects); i++)
		fprintf(out, "       %-9s %s\n", objects[i]->name, objects[i]->about);
	fprintf(out, "\n       %s\n", global_options);
}

/* A mistake in the command line: what, and where it is explained. */
__printf(2, 3) static int usage_error(const struct object *object, const char *fmt, ...)
{
	char text[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	p_err("%s; see 'stackpolicy%s%s help'", text, object ? " " : "",
	      object ? object->name : "");
	return USAGE;
}

static int run_command(const struct object *object, const struct command *c, int argc,
		       char **argv)
{
	unsigned int i;

	for (i = 0; i < NR_OPTIONS; i++) {
		if (opt[i] && !(c->options & (1u << i)))
			return usage_error(object, "'%s%s%s' does not take --%s", object->name,
					   *c->name ? " " : "", c->name, options[i].name);
	}
	if (argc < c->min_args)
		return usage_error(object, "'%s%s%s' needs %s", object->name,
				   *c->name ? " " : "", c->name, c->args);
	if (argc > c->max_args)
		return usage_error(object, "what is '%s'?", argv[c->max_args]);
	return c->run(argc, argv);
}

static int run_object(const struct object *object, int argc, char **argv)
{
	const struct command *c;

	if (argc && !strcmp(argv[0], "help")) {
		help_of(stdout, object);
		return DONE;
	}
	for (c = object->commands; c->name; c++) {
		/* The only command of an object has no name. */
		if (!*c->name)
			return run_command(object, c, argc, argv);
		if (argc && !strcmp(argv[0], c->name))
			return run_command(object, c, argc - 1, argv + 1);
	}
	if (!argc)
		return run_command(object, object->commands, 0, NULL);
	return usage_error(object, "'%s' has no command '%s'", object->name, argv[0]);
}

static int run(int argc, char **argv)
{
	unsigned int i;

	if (!argc)
		return usage_error(NULL, "an object is wanted");
	if (!strcmp(argv[0], "help")) {
		help(stdout);
		return DONE;
	}
	for (i = 0; i < ARRAY_SIZE(objects); i++) {
		if (!strcmp(argv[0], objects[i]->name))
			return run_object(objects[i], argc - 1, argv + 1);
	}
	return usage_error(NULL, "there is no object '%s'", argv[0]);
}

static void version(void)
{
	if (json) {
		jsonw_start_object(json);
		jsonw_string_field(json, "version", VERSION);
		jsonw_string_field(json, "libbpf_version", libbpf_version_string() + 1);
		jsonw_end_object(json);
	} else {
		printf("stackpolicy v%s\nusing libbpf %s\n", VERSION, libbpf_version_string());
	}
}

/* Return: -1 to go on, else how to exit. */
static int parse_options(int argc, char **argv)
{
	struct option table[NR_OPTIONS + 6] = {
		{ "json",	no_argument,	NULL, 'j' },
		{ "pretty",	no_argument,	NULL, 'p' },
		{ "debug",	no_argument,	NULL, 'd' },
		{ "version",	no_argument,	NULL, 'V' },
		{ "help",	no_argument,	NULL, 'h' },
	};
	bool want_json = false, pretty = false, want_version = false, want_help = false;
	int i, c;

	for (i = 0; i < NR_OPTIONS; i++)
		table[5 + i] = (struct option){ options[i].name, options[i].arg ?
			required_argument : no_argument, NULL, OPT_BASE + i };
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":jpdVh", table, NULL)) != -1) {
		if (c >= OPT_BASE && c < OPT_BASE + NR_OPTIONS) {
			opt[c - OPT_BASE] = optarg ? optarg : "";
			continue;
		}
		switch (c) {
		case 'p':
			pretty = true;
			want_json = true;
			break;
		case 'j':
			want_json = true;
			break;
		case 'd':
			debug = true;
			break;
		case 'V':
			want_version = true;
			break;
		case 'h':
			want_help = true;
			break;
		case ':':
			return usage_error(NULL, "'%s' needs a value", argv[optind - 1]);
		default:
			return usage_error(NULL, "what is '%s'?", argv[optind - 1]);
		}
	}
	if (want_help) {
		for (i = 0; optind < argc && i < (int)ARRAY_SIZE(objects); i++) {
			if (!strcmp(argv[optind], objects[i]->name)) {
				help_of(stdout, objects[i]);
				return DONE;
			}
		}
		help(stdout);
		return DONE;
	}
	if (want_json) {
		json = jsonw_new(stdout);
		if (!json) {
			p_err("no memory");
			return FAILED;
		}
		jsonw_pretty(json, pretty);
	}
	if (!want_version)
		return -1;
	version();
	return DONE;
}

int main(int argc, char **argv)
{
	int ret;

	libbpf_set_print(print_libbpf);
	ret = parse_options(argc, argv);
	if (ret < 0)
		ret = run(argc - optind, argv + optind);
	if (json)
		jsonw_destroy(&json);
	if (fflush(stdout) || ferror(stdout)) {
		fprintf(stderr, "Error: output: %s\n", strerror(errno));
		return FAILED;
	}
	return ret;
}
