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

struct kernel_symbol {
	unsigned long long	address;
	char			*name;
	char			*module;	/* NULL: the kernel itself */
};

struct recorder {
	char			instance[256];	/* folder in tracefs, empty: none yet */
	int			pipe;
	struct events		e;
	struct kernel_symbol	*symbols;
	size_t			nr_symbols;
	/* Of each CPU: the event that waits for its stack trace, plus one. */
	unsigned int		waiting[MAX_CPUS];
	unsigned int		cpu;		/* whose stack trace is being read */
	bool			failed;
};

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	stop = 1;
}

/* Symbols */

static int by_address(const void *a, const void *b)
{
	const struct kernel_symbol *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

/* Modules included. Return: false after an error. */
static bool read_symbols(struct recorder *r)
{
	FILE *file = fopen("/proc/kallsyms", "r");
	char line[512], name[256], module[64], type;
	unsigned long long address;
	size_t room = 0;

	while (file && fgets(line, sizeof(line), file)) {
		int found = sscanf(line, "%llx %c %255s [%63[^]]", &address, &type, name, module);

		if (found < 3 || !address || !strchr("tTwW", type))
			continue;
		if (r->nr_symbols == room) {
			void *more;

			room = room * 2 + 65536;
			more = reallocarray(r->symbols, room, sizeof(*r->symbols));
			if (!more)
				break;
			r->symbols = more;
		}
		r->symbols[r->nr_symbols++] = (struct kernel_symbol){ address, strdup(name),
			found == 4 ? strdup(module) : NULL };
	}
	if (file)
		fclose(file);
	if (!r->nr_symbols) {
		p_err("/proc/kallsyms has no addresses: sysctl kernel.kptr_restrict=1 or 0");
		return false;
	}
	qsort(r->symbols, r->nr_symbols, sizeof(*r->symbols), by_address);
	return true;
}

static void name_frame(const struct recorder *r, struct event_frame *f, unsigned long long address)
{
	size_t low = 0, high = r->nr_symbols;
	const struct kernel_symbol *s;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (r->symbols[middle].address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low || !address || address - r->symbols[low - 1].address > 1 << 24)
		return;
	s = &r->symbols[low - 1];
	f->offset = address - s->address;
	snprintf(f->function, sizeof(f->function), "%s", s->name);
	snprintf(f->module, sizeof(f->module), "%s", s->module ? s->module : "");
}

/* What trace_pipe prints */

/* The name of a thread that has overflowed, if it still lives. */
static void read_comm(struct event *event)
{
	char path[64], *c;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/comm", event->pid);
	file = fopen(path, "r");
	if (file) {
		if (fgets(event->comm, sizeof(event->comm), file))
			event->comm[strcspn(event->comm, "\n")] = '\0';
		fclose(file);
	}
	for (c = event->comm; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
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

static void parse_fault(struct recorder *r, const char *fields)
{
	unsigned long long ip[EVENT_FRAMES], bytes[EVENT_FRAMES];
	struct event *event = events_add(&r->e);
	unsigned int i, nr, nr_bytes;
	int vector;

	if (!event) {
		r->failed = true;
		return;
	}
	event->fault = true;
	if (sscanf(fields, "pid=%d class=%31s from=%u to=%u limit=%u vector=%d", &event->pid,
		   event->class, &event->from, &event->to, &event->limit, &vector) != 6) {
		r->e.nr--;
		return;
	}
	read_comm(event);
	nr = parse_array(after(fields, " frames="), ip);
	nr_bytes = parse_array(after(fields, " bytes="), bytes);
	for (i = 0; i < nr; i++) {
		struct event_frame *f = event_add_frame(event);

		if (!f)
			break;
		if (i < nr_bytes)
			f->bytes = bytes[i];
		name_frame(r, f, ip[i]);
	}
}

/* "func+0x1/0x20 [module]" */
static void parse_function(struct event_frame *f, const char *text)
{
	char where[FUNCTION_MAX + 40], *plus;

	if (sscanf(text, "%167s [%63[^]]", where, f->module) < 1)
		return;
	plus = strrchr(where, '+');
	if (!plus || plus - where >= FUNCTION_MAX)
		return;
	memcpy(f->function, where, plus - where);
	f->offset = strtoul(plus + 1, NULL, 16);
}

static void parse_grow(struct recorder *r, const char *line, const char *header,
		       const char *fields, unsigned int cpu)
{
	struct event *event = events_add(&r->e);
	unsigned long bytes;
	const char *dash;

	if (!event) {
		r->failed = true;
		return;
	}
	if (sscanf(fields, "class=%31s bytes=%lu from=%u to=%u ret=%d", event->class, &bytes,
		   &event->from, &event->to, &event->ret) != 5) {
		r->e.nr--;
		return;
	}
	/* "            comm-123     [000] ..." */
	for (dash = header ?: line; dash > line && *dash != '-'; dash--)
		;
	event->pid = atoi(dash + (*dash == '-'));
	read_comm(event);
	if (cpu < MAX_CPUS)
		r->waiting[cpu] = r->e.nr;
}

/* " => func+0x1/0x20" belongs to the growth before it on the same CPU. */
static void parse_trace_line(struct recorder *r, const char *function)
{
	struct event *event;
	struct event_frame *f;

	if (!r->waiting[r->cpu])
		return;
	event = &r->e.event[r->waiting[r->cpu] - 1];
	f = event_add_frame(event);
	if (!f)
		return;
	parse_function(f, function);
	/* From who asked on: not the tracer, nor what asking takes. */
	if (!strcmp(f->function, "stack_policy_ensure"))
		event->nr_frames = 0;
}

/* The last one: what stands before it is the name of a thread, which may be anything. */
static const char *find_event(const char *line, const char *name)
{
	const char *found = NULL, *at = line;

	while ((at = strstr(at, name))) {
		at += strlen(name);
		found = at;
	}
	return found;
}

/* The "[000]" before an event: the last one, as the thread's name may have one. */
static const char *find_header(const char *line, const char *event)
{
	while (event && event > line && *event != '[')
		event--;
	return event && *event == '[' ? event : NULL;
}

static const char *later(const char *a, const char *b)
{
	return !a || (b && b > a) ? b : a;
}

static void parse_line(struct recorder *r, const char *line)
{
	const char *fault = find_event(line, ": stack_fault: ");
	const char *grow = find_event(line, ": stack_grow: ");
	const char *trace = find_event(line, ": <stack trace>");
	const char *last = later(later(fault, grow), trace);
	const char *header = find_header(line, last);
	unsigned int cpu = header ? strtoul(header + 1, NULL, 10) : 0;
	unsigned long lost;

	if (!strncmp(line, " => ", 4)) {
		parse_trace_line(r, line + 4);
		return;
	}
	if (sscanf(line, "CPU:%u [LOST %lu EVENTS]", &cpu, &lost) == 2)
		r->e.lost += lost;
	else if (last && last == fault)
		parse_fault(r, fault);
	else if (last && last == grow)
		parse_grow(r, line, header, grow, cpu);
	else if (last && cpu < MAX_CPUS)
		r->cpu = cpu;
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
	snprintf(pipe, sizeof(pipe), "%s/trace_pipe", r->instance);
	r->pipe = open(pipe, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (r->pipe < 0) {
		p_err("%s: %s", pipe, strerror(errno));
		return false;
	}
	return write_file(r, "options/sym-offset", "1") &&
		write_file(r, "events/stack_policy/stack_grow/trigger", "stacktrace") &&
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

/* All that is there now. */
static void read_pipe(struct recorder *r)
{
	static char text[2 * LINE_MAX_BYTES];
	static size_t have;
	ssize_t len;

	while ((len = read(r->pipe, text + have, LINE_MAX_BYTES)) > 0) {
		char *line = text, *end;

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
	}
}

static void record(struct recorder *r, unsigned long seconds)
{
	struct pollfd in = { .fd = r->pipe, .events = POLLIN };
	time_t end = time(NULL) + seconds;

	while (!stop && !r->failed && (!seconds || time(NULL) < end)) {
		/* Data may be there without waking who polls: look anyway. */
		poll(&in, 1, 200);
		read_pipe(r);
	}
	/* An overflow is told by an interrupt soon after. */
	usleep(50000);
	read_pipe(r);
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
	struct sigaction action = { .sa_handler = on_signal };
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
	if (!stacks_there() || !replace_open(&file, opt[OPT_OUTPUT]))
		return FAILED;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	ok = start(&r) && read_symbols(&r);
	if (ok)
		record(&r, seconds);
	finish(&r);
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
	tell(&r.e);
	return DONE;
}
