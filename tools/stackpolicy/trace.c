// SPDX-License-Identifier: GPL-2.0
/*
 * stackpolicy trace record: what the tracepoints stack_fault and stack_grow tell,
 * with names of functions, into a file. Traces in an instance of its own, so that
 * nobody else's tracing is disturbed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "events.h"
#include "main.h"
#include "stacks.h"
#include "trace.h"

#define LINE_MAX_BYTES	16384		/* a fault with all its frames */
#define MAX_CPUS	8192
#define MAX_FUNCTION	65536		/* bytes: farther than that is another one's */

struct kernel_symbol {
	unsigned long long	address;
	char			*name;
	char			*module;	/* NULL: the kernel itself */
	size_t			number;		/* in /proc/kallsyms */
};

struct recorder {
	char			instance[256];	/* folder in tracefs, empty: none yet */
	int			pipe;
	struct events		e;
	struct kernel_symbol	*symbols;
	size_t			nr_symbols;
	unsigned long long	modules;	/* hash_modules() of then */
	/* Of each CPU: the event that waits for its stack trace, plus one. */
	size_t			waiting[MAX_CPUS];
	size_t			traced;		/* whose stack trace is being read, plus one */
	bool			full, failed;
};

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	stop = 1;
}

/* Whatever would end us must leave no instance behind; but nohup stays nohup. */
static void catch_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE };
	struct sigaction action = { .sa_handler = on_signal }, old;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(signals); i++) {
		sigaction(signals[i], &action, &old);
		if (signals[i] == SIGHUP && old.sa_handler == SIG_IGN)
			sigaction(signals[i], &old, NULL);
	}
}

/* Symbols */

/* Of several names for one address the kernel, too, takes the first. */
static int by_address(const void *a, const void *b)
{
	const struct kernel_symbol *x = a, *y = b;

	if (x->address != y->address)
		return x->address < y->address ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

static bool add_symbol(struct recorder *r, size_t *room, unsigned long long address,
		       const char *name, const char *module)
{
	struct kernel_symbol s = { address, strdup(name), module ? strdup(module) : NULL,
				   r->nr_symbols };

	if (r->nr_symbols == *room) {
		struct kernel_symbol *more;

		more = reallocarray(r->symbols, *room * 2 + 65536, sizeof(*more));
		if (more) {
			r->symbols = more;
			*room = *room * 2 + 65536;
		}
	}
	if (!s.name || (module && !s.module) || r->nr_symbols == *room) {
		free(s.name);
		free(s.module);
		p_err("no memory");
		return false;
	}
	r->symbols[r->nr_symbols++] = s;
	return true;
}

static void free_symbols(struct recorder *r)
{
	size_t i;

	for (i = 0; i < r->nr_symbols; i++) {
		free(r->symbols[i].name);
		free(r->symbols[i].module);
	}
	free(r->symbols);
	r->symbols = NULL;
	r->nr_symbols = 0;
}

/* Modules included. Return: false after an error. */
static bool read_symbols(struct recorder *r)
{
	FILE *file = fopen("/proc/kallsyms", "r");
	char line[512], name[256], module[64], type;
	unsigned long long address;
	bool ok = true;
	size_t room = 0;

	free_symbols(r);
	while (ok && file && fgets(line, sizeof(line), file)) {
		int found = sscanf(line, "%llx %c %255s [%63[^]]", &address, &type, name, module);

		if (found >= 3 && address && strchr("tTwW", type))
			ok = add_symbol(r, &room, address, name, found == 4 ? module : NULL);
	}
	if (file)
		fclose(file);
	if (ok && !r->nr_symbols) {
		p_err("/proc/kallsyms has no addresses: sysctl kernel.kptr_restrict=1 or 0");
		return false;
	}
	if (ok)
		qsort(r->symbols, r->nr_symbols, sizeof(*r->symbols), by_address);
	return ok;
}

/* Changes with the modules that are loaded, and where. */
static unsigned long long hash_modules(void)
{
	FILE *file = fopen("/proc/modules", "r");
	unsigned long long address, hash = 0;
	char line[4096], name[64], *c;

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%63s %*s %*s %*s %*s %llx", name, &address) != 2)
			continue;
		hash = hash * 31 + address;
		for (c = name; *c; c++)
			hash = hash * 31 + *c;
	}
	if (file)
		fclose(file);
	return hash;
}

/* Names for what is about to be read; in a long recording modules come and go. */
static bool refresh_symbols(struct recorder *r)
{
	unsigned long long modules = hash_modules();

	if (r->nr_symbols && modules == r->modules)
		return true;
	r->modules = modules;
	return read_symbols(r);
}

/* The last symbol not above @address, the first of its aliases; NULL: not known. */
static const struct kernel_symbol *find_symbol(const struct recorder *r,
					       unsigned long long address)
{
	size_t low = 0, high = r->nr_symbols;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (r->symbols[middle].address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low || address - r->symbols[low - 1].address > MAX_FUNCTION)
		return NULL;
	for (low--; low && r->symbols[low - 1].address == r->symbols[low].address; low--)
		;
	return &r->symbols[low];
}

/*
 * A frame with its name. After a call that does not return, @address may be that of
 * the next function: where it was @called from is one byte before.
 */
static struct event_frame *add_frame(struct recorder *r, struct event *event,
				     unsigned long long address, bool called)
{
	const struct kernel_symbol *s = address < FRAME_FUNCTION ? NULL :
		find_symbol(r, address - called);
	char function[FUNCTION_MAX] = "", module[MODULE_MAX] = "";
	struct event_frame *f;

	if (s) {
		snprintf(function, sizeof(function), "%s", s->name);
		snprintf(module, sizeof(module), "%s", s->module ? s->module : "");
	}
	f = event_add_frame(&r->e, event, function, module);
	if (f && s)
		f->offset = address - s->address;
	return f;
}

/* What trace_pipe prints */

/*
 * "            comm-123     [001] .....    12.345678: stack_grow: fields"; between
 * pid and CPU there may be a "(tgid)". The name of a thread can be anything, this
 * too, and can have line ends; but it has 15 bytes at most, less than any event.
 */
struct trace_line {
	enum { NOTHING, FAULT, GROW, STACK_TRACE }	what;
	int						pid;
	unsigned int					cpu;
	struct event					event;
	const char					*rest;	/* of the fields */
};

/* From the end of "comm-123     [001" on backwards. */
static bool parse_header(struct trace_line *l, const char *line, const char *end)
{
	const char *at = memrchr(line, '[', end - line);

	if (!at)
		return false;
	l->cpu = strtoul(at + 1, NULL, 10);
	while (at > line && at[-1] == ' ')
		at--;
	if (at > line && at[-1] == ')')
		at = memrchr(line, '(', at - line) ?: line;
	at = memrchr(line, '-', at - line);
	if (!at || l->cpu >= MAX_CPUS)
		return false;
	l->pid = atoi(at + 1);
	return true;
}

static bool parse_fault(struct trace_line *l, const char *fields)
{
	struct event *e = &l->event;
	int vector, end = 0;

	if (sscanf(fields, "pid=%d class=%31s from=%u to=%u limit=%u vector=%d ip=%n", &e->pid,
		   e->class, &e->from, &e->to, &e->limit, &vector, &end) != 6)
		return false;
	e->fault = true;
	l->what = FAULT;
	l->rest = fields + end;
	return end;
}

static bool parse_grow(struct trace_line *l, const char *fields)
{
	struct event *e = &l->event;
	unsigned long bytes;
	int end = 0;

	if (sscanf(fields, "class=%31s bytes=%lu from=%u to=%u ret=%d caller=%n", e->class, &bytes,
		   &e->from, &e->to, &e->ret, &end) != 5)
		return false;
	e->pid = l->pid;
	l->what = GROW;
	l->rest = fields + end;
	return end;
}

/* Is it an event of that name, of ours? */
static bool parse_event(struct trace_line *l, const char *line, const char *name,
			bool (*parse)(struct trace_line *l, const char *fields))
{
	const char *at = line, *comm;
	char *c;

	for (; (at = strstr(at, name)); at++) {
		memset(l, 0, sizeof(*l));
		if (!parse_header(l, line, at) || !parse(l, at + strlen(name)))
			continue;
		comm = strstr(l->rest, " comm=");
		if (!comm)
			continue;
		snprintf(l->event.comm, sizeof(l->event.comm), "%s", comm + 6);
		for (c = l->event.comm; *c; c++)
			if (*c < ' ' || *c > '~')
				*c = '?';
		return true;
	}
	return false;
}

static struct trace_line parse_trace_line(const char *line)
{
	static const char stack_trace[] = ": <stack trace>";
	const char *end = line + strlen(line) - strlen(stack_trace);
	struct trace_line l;

	if (parse_event(&l, line, ": stack_fault: ", parse_fault) ||
	    parse_event(&l, line, ": stack_grow: ", parse_grow))
		return l;
	memset(&l, 0, sizeof(l));
	if (end > line && !strcmp(end, stack_trace) && parse_header(&l, line, end))
		l.what = STACK_TRACE;
	return l;
}

/* "{0x1,0x2}" into numbers. Return: how many. */
static unsigned int parse_array(const char *text, unsigned long long *numbers)
{
	unsigned int nr = 0;
	char *end;

	while (text && nr < EVENT_FRAMES && (*text == '{' || *text == ',')) {
		numbers[nr] = strtoull(text + 1, &end, 16);
		if (end == text + 1)
			break;
		nr++;
		text = end;
	}
	return nr;
}

static const char *after(const char *line, const char *word)
{
	const char *at = strstr(line, word);

	return at ? at + strlen(word) : NULL;
}

static void add_event(struct recorder *r, const struct trace_line *l)
{
	unsigned long long ip[EVENT_FRAMES], bytes[EVENT_FRAMES];
	struct event *event = events_add(&r->e);
	unsigned int i, nr, nr_bytes;
	const char *left_out;

	if (!event) {
		r->failed = true;
		return;
	}
	*event = l->event;
	event->number = r->e.nr - 1;
	if (l->what == GROW) {
		r->waiting[l->cpu] = r->e.nr;
		return;
	}
	nr = parse_array(after(l->rest, " frames="), ip);
	nr_bytes = parse_array(after(l->rest, " bytes="), bytes);
	left_out = after(l->rest, " left_out=");
	for (i = 0; i < nr; i++) {
		struct event_frame *f = add_frame(r, event, ip[i], i);

		r->failed |= !f;
		if (!f)
			continue;
		if (ip[i] < FRAME_FUNCTION)
			f->kind = ip[i];
		if (f->kind == FRAME_LEFT_OUT && left_out)
			f->left_out = atoi(left_out);
		if (i < nr_bytes)
			f->bytes = bytes[i];
	}
}

/* " => function+0x1/0x20 [module] <ffffffff81000000>" */
static void parse_caller(struct recorder *r, const char *line)
{
	struct event *event = &r->e.event[r->traced - 1];
	const char *at = strrchr(line, '<');
	struct event_frame *f;

	/* Deeper than any chain: without its outermost functions. */
	if (event->nr_frames == EVENT_FRAMES)
		return;
	f = add_frame(r, event, at ? strtoull(at + 1, NULL, 16) : 0, true);
	r->failed |= !f;
	/* From who asked on: not the tracer, nor what asking takes. */
	if (f && !strcmp(f->function, "stack_policy_ensure"))
		event->nr_frames = 0;
}

/* What is lost may be the stack trace of an event, or the event of a stack trace. */
static bool parse_lost(struct recorder *r, const char *line)
{
	unsigned long lost = 1;
	unsigned int cpu;
	int end = 0;

	/* The kernel does not always know how many. */
	if ((sscanf(line, "CPU:%u [LOST EVENTS]%n", &cpu, &end) != 1 || !end) &&
	    (sscanf(line, "CPU:%u [LOST %lu EVENTS]%n", &cpu, &lost, &end) != 2 || !end))
		return false;
	if (line[end])
		return false;
	r->e.lost += lost;
	if (cpu < MAX_CPUS)
		r->waiting[cpu] = 0;
	return true;
}

static void parse_line(struct recorder *r, const char *line)
{
	struct trace_line l = parse_trace_line(line);

	if (l.what == NOTHING && !strncmp(line, " => ", 4)) {
		if (r->traced)
			parse_caller(r, line);
		return;
	}
	r->traced = 0;
	if (l.what == NOTHING) {
		parse_lost(r, line);
	} else if (l.what == STACK_TRACE) {
		r->traced = r->waiting[l.cpu];
		r->waiting[l.cpu] = 0;
	} else if (events_full(&r->e)) {
		r->full = true;
		r->e.lost++;
	} else {
		add_event(r, &l);
	}
}

/* tracefs */

static bool write_file(const struct recorder *r, const char *name, const char *text)
{
	char path[512];
	int fd, ret = 0;

	snprintf(path, sizeof(path), "%s/%s", r->instance, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		ret = errno;
	if (fd >= 0)
		close(fd);
	if (ret)
		p_err("%s: %s", path, strerror(ret));
	return !ret;
}

static bool start(struct recorder *r)
{
	static const char * const tracefs[] = {
		"/sys/kernel/tracing", "/sys/kernel/debug/tracing",
	};
	/* A new instance has those of the first one. Read when the pipe is opened. */
	static const char * const options[] = {
		"context-info", "sym-addr", "nolatency-format", "noraw", "nohex", "nobin",
		"nofields",
	};
	char path[128], pipe[512];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(tracefs); i++) {
		snprintf(path, sizeof(path), "%s/instances", tracefs[i]);
		if (!access(path, F_OK))
			break;
	}
	if (i == ARRAY_SIZE(tracefs)) {
		p_err("%s", geteuid() ? "recording is for root" :
		      "no tracefs: mount -t tracefs tracefs /sys/kernel/tracing");
		return false;
	}
	snprintf(r->instance, sizeof(r->instance), "%s/stackpolicy-%d", path, getpid());
	if (mkdir(r->instance, 0700)) {
		p_err("%s: %s", r->instance, strerror(errno));
		r->instance[0] = '\0';
		return false;
	}
	for (i = 0; i < ARRAY_SIZE(options); i++)
		if (!write_file(r, "trace_options", options[i]))
			return false;
	snprintf(pipe, sizeof(pipe), "%s/trace_pipe", r->instance);
	r->pipe = open(pipe, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (r->pipe < 0) {
		p_err("%s: %s", pipe, strerror(errno));
		return false;
	}
	return write_file(r, "events/stack_policy/stack_grow/trigger", "stacktrace") &&
		write_file(r, "events/stack_policy/stack_grow/enable", "1") &&
		write_file(r, "events/stack_policy/stack_fault/enable", "1");
}

/* It goes whatever has happened; the trigger would keep it. */
static void finish(struct recorder *r)
{
	if (r->pipe >= 0)
		close(r->pipe);
	if (!r->instance[0])
		return;
	write_file(r, "events/stack_policy/stack_grow/trigger", "!stacktrace");
	if (rmdir(r->instance))
		p_info("Note: %s is left: %s", r->instance, strerror(errno));
}

/* Some of what is there now. Return: was there anything? */
static bool read_pipe(struct recorder *r)
{
	static char text[2 * LINE_MAX_BYTES];
	static size_t have;
	char *line = text, *end;
	ssize_t len;

	len = read(r->pipe, text + have, LINE_MAX_BYTES);
	if (len <= 0)
		return false;
	if (!refresh_symbols(r)) {
		r->failed = true;
		return false;
	}
	have += len;
	text[have] = '\0';
	while ((end = strchr(line, '\n'))) {
		*end = '\0';
		parse_line(r, line);
		line = end + 1;
	}
	have -= line - text;
	memmove(text, line, have);
	/* Longer than any line of ours. */
	if (have >= LINE_MAX_BYTES)
		have = 0;
	return true;
}

static unsigned long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000UL + now.tv_nsec / 1000000;
}

static void record(struct recorder *r, unsigned long seconds)
{
	struct pollfd in = { .fd = r->pipe, .events = POLLIN };
	unsigned long end = now_ms() + seconds * 1000;

	while (!stop && !r->failed && (!seconds || now_ms() < end)) {
		/* Data may be there without waking who polls: look anyway. */
		if (!read_pipe(r))
			poll(&in, 1, 200);
	}
	/* An overflow is told by an interrupt soon after. */
	usleep(50000);
	if (!write_file(r, "tracing_on", "0"))
		r->failed = true;
	while (!r->failed && read_pipe(r))
		;
}

static void read_build_id(struct events *e)
{
	unsigned char notes[4096], *at = notes;
	FILE *file = fopen("/sys/kernel/notes", "r");
	size_t left = file ? fread(notes, 1, sizeof(notes), file) : 0, i;

	if (file)
		fclose(file);
	while (left >= 16) {
		unsigned int word[3];
		size_t size;

		memcpy(word, at, sizeof(word));
		size = sizeof(word) + ((word[0] + 3ULL) & ~3ULL) + ((word[1] + 3ULL) & ~3ULL);
		if (word[0] > left || word[1] > left || size > left)
			return;
		if (word[2] == 3 && word[0] == 4 && !memcmp(at + 12, "GNU", 4)) {
			for (i = 0; i < word[1] && i < 20; i++)
				sprintf(e->build_id + 2 * i, "%02x", at[16 + i]);
			return;
		}
		at += size;
		left -= size;
	}
}

static void tell(const struct events *e)
{
	if (!json) {
		p_info("%zu events recorded, %lu lost", e->nr, e->lost);
		return;
	}
	jsonw_start_object(json);
	jsonw_uint_field(json, "events", e->nr);
	jsonw_uint_field(json, "lost", e->lost);
	jsonw_string_field(json, "file", opt[OPT_OUTPUT]);
	jsonw_end_object(json);
}

static bool parse_seconds(const char *arg, unsigned long *seconds)
{
	char *end;

	errno = 0;
	*seconds = strtoul(arg, &end, 10);
	if (!errno && !*end && *arg >= '0' && *arg <= '9' && *seconds && *seconds <= 86400)
		return true;
	p_err("'%s': a number of seconds from 1 to 86400 is wanted", arg);
	return false;
}

int trace_record(int argc, char **argv)
{
	static struct recorder r = { .pipe = -1 };
	struct replacement file;
	unsigned long seconds = 0;
	struct utsname uts;
	bool ok;

	if (argc && !parse_seconds(argv[0], &seconds))
		return USAGE;
	if (!opt[OPT_OUTPUT]) {
		p_err("--output FILE is wanted; see 'stackpolicy trace help'");
		return USAGE;
	}
	catch_signals();
	if (!stacks_there() || !replace_open(&file, opt[OPT_OUTPUT]))
		return FAILED;
	ok = start(&r) && refresh_symbols(&r);
	if (ok)
		record(&r, seconds);
	finish(&r);
	free_symbols(&r);
	if (!ok || r.failed) {
		replace_abort(&file);
		return FAILED;
	}
	uname(&uts);
	snprintf(r.e.release, sizeof(r.e.release), "%.63s", uts.release);
	read_build_id(&r.e);
	events_write(file.file, &r.e);
	if (!replace_commit(&file))
		return FAILED;
	if (r.full)
		p_info("Note: a recording has no room for more; what came then counts as lost");
	tell(&r.e);
	return DONE;
}
