/* SPDX-License-Identifier: GPL-2.0 */
/*
 * stackpolicy: what all commands share: options, errors, the choice of output.
 * A command returns one of the exit codes.
 */
#ifndef _STACKPOLICY_MAIN_H
#define _STACKPOLICY_MAIN_H

#include <stdbool.h>
#include <stdio.h>

#include "../bpf/bpftool/json_writer.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

enum exit_code {
	DONE,
	FAILED,
	USAGE,
};

/* The options that belong to a command; what each of them takes is in main.c. */
enum option_id {
	OPT_CGROUP,
	OPT_CLASS,
	OPT_COUNT,
	OPT_EDGES,
	OPT_ENTRY,
	OPT_FOLDED,
	OPT_INDIRECT,
	OPT_INTERVAL,
	OPT_OUTPUT,
	OPT_PID,
	OPT_PLOT,
	OPT_RECURSE,
	OPT_SAVE,
	OPT_SORT,
	OPT_TOP,
	OPT_WITHOUT,
	NR_OPTIONS,
};

#define OPT(name)	(1u << OPT_##name)

struct command {
	const char	*name;
	const char	*args;		/* for the help; options are added */
	unsigned int	options;	/* OPT() of those it takes */
	int		min_args, max_args;
	int		(*run)(int argc, char **argv);
};

struct object {
	const char		*name;
	const char		*about;
	const struct command	*commands;	/* the first is the default */
};

extern const struct object class_object, thread_object, memory_object, trace_object,
	ensure_object, analyze_object, metrics_object, feature_object;

/* Where JSON goes; NULL: plain text is wanted. */
extern json_writer_t *json;

/* What was given for an option, or NULL. */
extern const char *opt[NR_OPTIONS];

/* One line, to stderr or as {"error": ...}; the command fails. */
__printf(1, 2) void p_err(const char *fmt, ...);
/* Beside the result, to stderr; nothing has failed. */
__printf(1, 2) void p_info(const char *fmt, ...);

/*
 * The number given for @id, or @otherwise. Out of @min..@max: an error that says
 * so, and false.
 */
bool opt_number(enum option_id id, unsigned long otherwise, unsigned long min,
		unsigned long max, unsigned long *number);

/*
 * Write @path as a whole or not at all: a temporary file beside it, that takes
 * its place in replace_commit(). NULL is stdout; a device or a pipe is written to.
 * Both complain for themselves; replace_abort() leaves what was there.
 */
struct replacement {
	FILE		*file;
	char		*path, *tmp;
};

bool replace_open(struct replacement *r, const char *path);
bool replace_commit(struct replacement *r);
void replace_abort(struct replacement *r);

#endif /* _STACKPOLICY_MAIN_H */
