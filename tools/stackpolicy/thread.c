// SPDX-License-Identifier: GPL-2.0
/* stackpolicy thread: every thread's stack, once or again and again. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "main.h"
#include "stacks.h"

/* Which threads, in which order, how many: --pid, --class, --sort, --top. */
struct selection {
	pid_t		pid;
	int		class;			/* -1: all */
	size_t		top;
	int		(*compare)(const void *a, const void *b);
};

/* Descending, then by thread. */
static int descending(const struct stack_thread *x, const struct stack_thread *y,
		      unsigned int n, unsigned int m)
{
	return n != m ? (n < m ? 1 : -1) : x->tid - y->tid;
}

static int compare_mapped(const void *a, const void *b)
{
	const struct stack_thread *x = a, *y = b;

	return descending(x, y, x->mapped_kb, y->mapped_kb);
}

static int compare_high(const void *a, const void *b)
{
	const struct stack_thread *x = a, *y = b;

	return descending(x, y, x->high_water_bytes, y->high_water_bytes);
}

static int compare_grows(const void *a, const void *b)
{
	const struct stack_thread *x = a, *y = b;

	return descending(x, y, thread_grows(x), thread_grows(y));
}

static int compare_pid(const void *a, const void *b)
{
	return descending(a, b, 0, 0);
}

static const struct {
	const char *name;
	int (*compare)(const void *a, const void *b);
} keys[] = {
	{ "high", compare_high },
	{ "mapped", compare_mapped },
	{ "grows", compare_grows },
	{ "pid", compare_pid },
};

/* Return: DONE, or how to exit. */
static int parse_selection(const struct stacks *s, struct selection *sel)
{
	unsigned long pid, top;
	unsigned int i;

	*sel = (struct selection){ .class = -1, .compare = keys[0].compare };
	if (!opt_number(OPT_PID, 0, 1, 1UL << 22, &pid) ||
	    !opt_number(OPT_TOP, SIZE_MAX, 1, 1UL << 30, &top))
		return USAGE;
	sel->pid = pid;
	sel->top = top;
	if (opt[OPT_CLASS]) {
		sel->class = stacks_find(s, opt[OPT_CLASS]);
		if (sel->class < 0)
			return FAILED;
	}
	for (i = 0; opt[OPT_SORT] && i < ARRAY_SIZE(keys); i++) {
		if (!strcmp(opt[OPT_SORT], keys[i].name)) {
			sel->compare = keys[i].compare;
			return DONE;
		}
	}
	if (!opt[OPT_SORT])
		return DONE;
	p_err("--sort %s: high, mapped, grows or pid is wanted", opt[OPT_SORT]);
	return USAGE;
}

/* Read, select and sort. */
static bool select_threads(const struct stacks *s, const struct selection *sel,
			   struct stack_threads *threads)
{
	size_t i, kept = 0;

	if (!threads_read(s, sel->pid, threads))
		return false;
	if (sel->pid && !threads->nr) {
		p_err("process %d: %s", sel->pid, strerror(threads->denied ? EACCES : ESRCH));
		threads_free(threads);
		return false;
	}
	for (i = 0; i < threads->nr; i++) {
		if (sel->class < 0 || threads->thread[i].class == (unsigned int)sel->class)
			threads->thread[kept++] = threads->thread[i];
	}
	threads->nr = kept;
	if (kept)
		qsort(threads->thread, kept, sizeof(*threads->thread), sel->compare);
	return true;
}

static void thread_json(const struct stacks *s, const struct stack_thread *t)
{
	jsonw_start_object(json);
	jsonw_int_field(json, "pid", t->pid);
	jsonw_int_field(json, "tid", t->tid);
	jsonw_string_field(json, "comm", t->comm);
	jsonw_string_field(json, "class", s->class[t->class].name);
	jsonw_uint_field(json, "populate_kb", t->populate_kb);
	jsonw_uint_field(json, "limit_kb", t->limit_kb);
	jsonw_uint_field(json, "mapped_kb", t->mapped_kb);
	jsonw_uint_field(json, "high_water_bytes", t->high_water_bytes);
	jsonw_uint_field(json, "grows_ensure", t->grows_ensure);
	jsonw_uint_field(json, "grows_fault", t->grows_fault);
	jsonw_uint_field(json, "grows_fault_deep", t->grows_fault_deep);
	jsonw_uint_field(json, "grows_class", t->grows_class);
	jsonw_uint_field(json, "trims_excess", t->trims_excess);
	jsonw_uint_field(json, "trims_cold", t->trims_cold);
	jsonw_end_object(json);
}

/* 80 columns, whatever the numbers. */
static void print_header(void)
{
	printf("%7s %7s %-11s %7s %5s %5s %5s %4s %5s %s\n", "PID", "TID", "CLASS",
	       "MAP/LIM", "HIGH", "GROWN", "OVERF", "DEEP", "TRIMS", "COMMAND");
}

static void print_thread(const struct stacks *s, const struct stack_thread *t)
{
	printf("%7d %7d %-11.11s %2u/%2ukB %5u %5u %5u %4u %5u %s\n", t->pid, t->tid,
	       s->class[t->class].name, t->mapped_kb, t->limit_kb, t->high_water_bytes,
	       t->grows_ensure + t->grows_class, t->grows_fault,
	       t->grows_fault_deep, t->trims_excess + t->trims_cold, t->comm);
}

static int thread_show(int argc, char **argv)
{
	struct stack_threads threads;
	struct selection sel;
	struct stacks s;
	size_t i;
	int ret;

	if (!stacks_read(&s))
		return FAILED;
	ret = parse_selection(&s, &sel);
	if (ret)
		return ret;
	if (!select_threads(&s, &sel, &threads))
		return FAILED;
	if (json)
		jsonw_start_array(json);
	else
		print_header();
	for (i = 0; i < threads.nr && i < sel.top; i++) {
		if (json)
			thread_json(&s, &threads.thread[i]);
		else
			print_thread(&s, &threads.thread[i]);
	}
	if (json)
		jsonw_end_array(json);
	if (threads.denied)
		p_info("Note: %zu threads of others are not shown", threads.denied);
	threads_free(&threads);
	return DONE;
}

static volatile sig_atomic_t stop;
static struct termios cooked;

static void on_signal(int sig)
{
	stop = 1;
}

/* Keys at once and unseen. */
static bool make_raw(void)
{
	struct termios raw;

	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &cooked))
		return false;
	raw = cooked;
	raw.c_lflag &= ~(ICANON | ECHO);
	return !tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

/* Wait, or until 'q' or a signal that is not in @mask: elsewhere they wait for this. */
static void wait_for_key(unsigned long seconds, bool keys, const sigset_t *mask)
{
	struct pollfd in = { .fd = keys ? STDIN_FILENO : -1, .events = POLLIN };
	struct timespec time = { .tv_sec = seconds };
	char c;

	if (ppoll(&in, 1, &time, mask) > 0 && (read(STDIN_FILENO, &c, 1) != 1 || c == 'q'))
		stop = 1;
}

/* One look. On a terminal it replaces the one before and fits the window. */
static void print_look(const struct stacks *s, const struct selection *sel,
		       const struct stack_threads *threads, bool terminal)
{
	struct winsize window = {};
	size_t i, rows = sel->top;
	unsigned long kb = 0;
	char now[16] = "";
	time_t t = time(NULL);

	for (i = 0; i < threads->nr; i++)
		kb += threads->thread[i].mapped_kb;
	strftime(now, sizeof(now), "%H:%M:%S", localtime(&t));
	if (terminal) {
		if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) && window.ws_row > 4 &&
		    rows > window.ws_row - 4U)
			rows = window.ws_row - 4;
		/* Home; what is longer than the window is cut off. */
		printf("\033[?7l\033[H\033[J");
	}
	printf("%s  %zu threads, %lu kB of stack; stock kernel: %zu kB%s\n\n", now,
	       threads->nr, kb, threads->nr * STOCK_KB, terminal ? "  (q: quit)" : "");
	print_header();
	for (i = 0; i < threads->nr && i < rows; i++)
		print_thread(s, &threads->thread[i]);
	printf("%s", terminal ? "\033[?7h" : "\n");
	fflush(stdout);
}

static int thread_watch(int argc, char **argv)
{
	bool terminal = isatty(STDOUT_FILENO), raw;
	struct sigaction action = { .sa_handler = on_signal };
	unsigned long interval, count;
	sigset_t ends, mask;
	struct stack_threads threads;
	struct selection sel;
	struct stacks s;
	int ret;

	if (json) {
		p_err("'thread watch' is for people; use 'thread show' for JSON");
		return USAGE;
	}
	if (!stacks_read(&s))
		return FAILED;
	ret = parse_selection(&s, &sel);
	if (ret)
		return ret;
	if (!opt_number(OPT_INTERVAL, 2, 1, 86400, &interval) ||
	    !opt_number(OPT_COUNT, 0, 1, 1UL << 30, &count))
		return USAGE;
	if (!opt[OPT_TOP])
		sel.top = terminal ? SIZE_MAX : 20;
	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigprocmask(SIG_BLOCK, &ends, &mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	raw = make_raw();
	while (!stop) {
		if (!select_threads(&s, &sel, &threads)) {
			ret = FAILED;
			break;
		}
		print_look(&s, &sel, &threads, terminal);
		threads_free(&threads);
		if (ferror(stdout) || (count && !--count))
			break;
		wait_for_key(interval, raw, &mask);
	}
	if (raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &cooked);
	return ret;
}

static const struct command commands[] = {
	{ "show", NULL, OPT(PID) | OPT(CLASS) | OPT(SORT) | OPT(TOP), 0, 0, thread_show },
	{ "watch", NULL, OPT(PID) | OPT(CLASS) | OPT(SORT) | OPT(TOP) | OPT(INTERVAL) | OPT(COUNT),
	  0, 0, thread_watch },
	{ }
};

const struct object thread_object = {
	"thread", "every thread's stack, and who went deepest", commands,
};
