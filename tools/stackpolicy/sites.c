// SPDX-License-Identifier: GPL-2.0
/*
 * What the kernel remembers of overflows, in debugfs, as events: each site is the first one
 * there, as often as there were some, and as deep as the deepest.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "events.h"
#include "main.h"

#define SITES	"/sys/kernel/debug/stack_policy/sites"

/* "count=3 ... comm=any name class=task from=12288 to=16384 limit=32768 ... most=20480 ..." */
static bool parse_site(struct events *e, const char *line)
{
	const char *comm = strstr(line, " comm="), *rest = NULL, *c;
	struct event *event = events_add(e);

	/* A name may have in it what looks like the next field. */
	for (c = comm; c && (c = strstr(c, " class=")); c++)
		rest = c;
	if (!event || !rest || sscanf(line, "count=%lu ", &event->times) != 1 ||
	    sscanf(rest, " class=%31s from=%u to=%*u limit=%u vector=%*d most=%u", event->class,
		   &event->from, &event->limit, &event->to) != 4)
		return false;
	event->fault = true;
	comm += strlen(" comm=");
	snprintf(event->comm, sizeof(event->comm), "%.*s", (int)(rest - comm), comm);
	return true;
}

/* "    528 use_stack+0x2c/0x80 [module]", or words in brackets where there is no function. */
static bool parse_frame(struct events *e, const char *line)
{
	char function[FUNCTION_MAX] = "", module[MODULE_MAX] = "";
	struct event_frame *frame;
	unsigned int bytes, offset = 0, left_out = 0;
	int at = 0;

	if (!e->nr || sscanf(line, "%u %n", &bytes, &at) != 1 || !at)
		return false;
	line += at;
	if (*line != '(' && sscanf(line, "%127[^+ ]+0x%x/%*x [%63[^] ]]", function, &offset,
				   module) < 2)
		*function = '\0';	/* an address that no symbol is known for */
	frame = event_add_frame(e, &e->event[e->nr - 1], function, module);
	if (!frame)
		return false;
	frame->bytes = bytes;
	frame->offset = offset;
	if (sscanf(line, "(%u more frames)", &left_out) == 1) {
		frame->kind = FRAME_LEFT_OUT;
		frame->left_out = left_out;
	} else if (!strcmp(line, "(user registers)")) {
		frame->kind = FRAME_USER_REGS;
	}
	return true;
}

bool events_read_sites(struct events *e)
{
	FILE *file = fopen(SITES, "re");
	char line[512];
	bool ok = true;

	*e = (struct events){};
	if (!file) {
		p_err(SITES ": %s%s", strerror(errno),
		      errno == ENOENT ? "; mount -t debugfs debugfs /sys/kernel/debug" : "");
		return false;
	}
	while (ok && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		events_make_printable(line);
		if (!strncmp(line, "waiting=", 8))
			continue;
		ok = strncmp(line, "count=", 6) ? parse_frame(e, line) : parse_site(e, line);
		if (!ok)
			p_err(SITES ": what is '%.60s'?", line);
	}
	if (ok && ferror(file)) {
		p_err(SITES ": %s", strerror(errno));
		ok = false;
	}
	fclose(file);
	if (!ok)
		events_free(e);
	return ok;
}
