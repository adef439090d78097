// SPDX-License-Identifier: GPL-2.0
/* stackpolicy memory: what stacks cost, what a stock kernel's would, how deep they are. */
#include <string.h>
#include <unistd.h>

#include "main.h"
#include "plot.h"
#include "stacks.h"

#define BAR	40

/* Sums that the table, JSON and pictures share. */
struct memory {
	unsigned long long	threads, mapped_kb, retained_kb, kernel_stack_kb;
	unsigned long long	reserve_kb, pool_kb;	/* not in mapped_kb */
	bool			has_reserve;
};

/* A number behind @key in the lines of @path, summed up. */
static bool sum_of(const char *path, const char *key, unsigned long long *sum)
{
	char line[256], *at;
	FILE *file = fopen(path, "r");

	*sum = 0;
	if (!file)
		return false;
	while (fgets(line, sizeof(line), file)) {
		unsigned long long n;

		at = strstr(line, key);
		if (at && sscanf(at + strlen(key), "%llu", &n) == 1)
			*sum += n;
	}
	fclose(file);
	return true;
}

static void read_memory(const struct stacks *s, struct memory *m)
{
	unsigned int i;

	*m = (struct memory){};
	for (i = 0; i < s->nr; i++) {
		m->threads += s->class[i].stats.threads;
		m->mapped_kb += s->class[i].stats.mapped_kb;
		m->retained_kb += s->class[i].stats.retained_kb;
	}
	sum_of("/proc/meminfo", "KernelStack:", &m->kernel_stack_kb);
	m->has_reserve = sum_of("/sys/kernel/debug/stack_policy/reserve", " pages=",
				&m->reserve_kb);
	m->reserve_kb *= sysconf(_SC_PAGESIZE) / 1024;
	sum_of("/sys/kernel/debug/stack_policy/pool", "pages=", &m->pool_kb);
	m->pool_kb *= sysconf(_SC_PAGESIZE) / 1024;
}

static void sums_json(unsigned long long threads, unsigned long long mapped_kb,
		      unsigned long long retained_kb)
{
	jsonw_lluint_field(json, "threads", threads);
	jsonw_lluint_field(json, "mapped_kb", mapped_kb);
	jsonw_lluint_field(json, "retained_kb", retained_kb);
	jsonw_lluint_field(json, "stock_kb", threads * STOCK_KB);
	jsonw_int_field(json, "saved_kb", (long long)(threads * STOCK_KB) -
			(long long)(mapped_kb + retained_kb));
}

static void histogram_json(const char *name, const __u64 *bins)
{
	unsigned int i;

	jsonw_name(json, name);
	jsonw_start_array(json);
	for (i = 0; i < STACK_POLICY_DEPTHS; i++)
		jsonw_lluint(json, bins[i]);
	jsonw_end_array(json);
}

static void memory_json(const struct stacks *s, const struct memory *m)
{
	unsigned int i;

	jsonw_start_object(json);
	jsonw_name(json, "classes");
	jsonw_start_array(json);
	for (i = 0; i < s->nr; i++) {
		const struct stack_policy_stats *stats = &s->class[i].stats;

		jsonw_start_object(json);
		jsonw_string_field(json, "class", s->class[i].name);
		sums_json(stats->threads, stats->mapped_kb, stats->retained_kb);
		histogram_json("depth_kb", stats->depth_kb);
		histogram_json("high_water_kb", stats->high_water_kb);
		jsonw_end_object(json);
	}
	jsonw_end_array(json);
	jsonw_name(json, "total");
	jsonw_start_object(json);
	sums_json(m->threads, m->mapped_kb, m->retained_kb);
	jsonw_end_object(json);
	if (m->has_reserve) {
		jsonw_lluint_field(json, "reserve_kb", m->reserve_kb);
		jsonw_lluint_field(json, "pool_kb", m->pool_kb);
	}
	jsonw_lluint_field(json, "kernel_stack_kb", m->kernel_stack_kb);
	jsonw_end_object(json);
}

static void row(const char *name, unsigned long long threads, unsigned long long mapped_kb,
		unsigned long long retained_kb)
{
	long long stock_kb = threads * STOCK_KB, saved_kb = stock_kb - mapped_kb - retained_kb;

	printf("%-12s %8llu %10llu %11llu %10lld %9lld", name, threads, mapped_kb, retained_kb,
	       stock_kb, saved_kb);
	if (stock_kb)
		printf(" %4lld%%", 100 * saved_kb / stock_kb);
	printf("\n");
}

static unsigned int used_bins(const struct stack_policy_stats *stats)
{
	unsigned int n = STACK_POLICY_DEPTHS;

	while (n && !stats->depth_kb[n - 1] && !stats->high_water_kb[n - 1])
		n--;
	return n;
}

static void bars(const char *title, const __u64 *bins, unsigned int nr)
{
	unsigned long long sum = 0;
	unsigned int i;

	for (i = 0; i < nr; i++)
		sum += bins[i];
	if (!sum)
		return;
	printf("  %s\n", title);
	for (i = 0; i < nr; i++) {
		/* Few are not none. */
		int length = (bins[i] * BAR + sum - 1) / sum;

		printf("  %5u kB %8llu %5.1f%%%s%.*s\n", i + 1, bins[i], 100.0 * bins[i] / sum,
		       length ? " " : "", length, "########################################");
	}
}

/* How long sleepers that were woken had to wait for their stack. */
static void late_starts(const struct stack_policy_stats *stats)
{
	unsigned int i;

	if (!stats->late_starts)
		return;
	printf("  woken and started late, by less than ...\n");
	for (i = 0; i < STACK_POLICY_DELAYS; i++) {
		if (stats->late_us[i])
			printf("  %10llu us %8llu\n", 1ULL << i,
			       (unsigned long long)stats->late_us[i]);
	}
}

static void memory_plain(const struct stacks *s, const struct memory *m)
{
	unsigned int i, nr;

	printf("%-12s %8s %10s %11s %10s %9s\n", "CLASS", "THREADS", "MAPPED.KB",
	       "RETAINED.KB", "STOCK.KB", "SAVED.KB");
	for (i = 0; i < s->nr; i++) {
		const struct stack_policy_stats *stats = &s->class[i].stats;

		row(s->class[i].name, stats->threads, stats->mapped_kb, stats->retained_kb);
	}
	row("all", m->threads, m->mapped_kb, m->retained_kb);
	printf("\nSTOCK.KB: the same threads with %d kB each\n", STOCK_KB);
	printf("KernelStack in /proc/meminfo, which is without irq: %llu kB\n",
	       m->kernel_stack_kb);
	if (m->has_reserve)
		printf("In neither: the CPUs' reserve, %llu kB; pool for wake-ups, %llu kB\n",
		       m->reserve_kb, m->pool_kb);
	for (i = 0; i < s->nr; i++) {
		nr = used_bins(&s->class[i].stats);
		if (!nr)
			continue;
		printf("\n%s: stacks by use, up to ...\n", s->class[i].name);
		bars("when last switched out", s->class[i].stats.depth_kb, nr);
		bars("at most, so far", s->class[i].stats.high_water_kb, nr);
		late_starts(&s->class[i].stats);
	}
}

static bool plot(const struct stacks *s, const char *path)
{
	static const char * const names[] = { "when last switched out", "at most, so far" };
	struct plot_panel panels[MAX_CLASSES];
	unsigned int i, nr = 0, bins = 1;
	struct replacement r;

	for (i = 0; i < s->nr; i++) {
		unsigned int used = used_bins(&s->class[i].stats);

		if (!used)
			continue;
		if (used > bins)
			bins = used;
		panels[nr++] = (struct plot_panel){ s->class[i].name,
			{ s->class[i].stats.depth_kb, s->class[i].stats.high_water_kb } };
	}
	if (!replace_open(&r, path))
		return false;
	plot_panels(r.file, "Threads by kernel stack used", "kB", names, panels, nr, bins);
	return replace_commit(&r);
}

static int memory_show(int argc, char **argv)
{
	struct memory m;
	struct stacks s;

	if (!stacks_read(&s))
		return FAILED;
	if (!s.has_stats) {
		p_err("the counters are for root (CAP_SYS_ADMIN)");
		return FAILED;
	}
	if (opt[OPT_PLOT] && !plot(&s, opt[OPT_PLOT]))
		return FAILED;
	read_memory(&s, &m);
	if (json)
		memory_json(&s, &m);
	else
		memory_plain(&s, &m);
	return DONE;
}

static const struct command commands[] = {
	{ "show", NULL, OPT(PLOT), 0, 0, memory_show },
	{ }
};

const struct object memory_object = {
	"memory", "what stacks cost, beside a stock kernel's, and how deep they are", commands,
};
