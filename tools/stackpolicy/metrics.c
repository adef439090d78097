// SPDX-License-Identifier: GPL-2.0
/*
 * stackpolicy metrics: the counters in Prometheus' text format, for node_exporter's
 * textfile collector. Base units and suffixes as its conventions want them.
 */
#include "main.h"
#include "stacks.h"

#define KB	1024ULL

struct metric {
	const char	*name, *type, *label, *value, *help;
	size_t		offset;
	unsigned int	factor;
};

#define METRIC(name, type, label, value, help, field, factor)			\
	{ name, type, label, value, help, offsetof(struct stack_policy_stats, field), factor }

/* Rows of one name stand together. */
static const struct metric metrics[] = {
	METRIC("threads", "gauge", NULL, NULL, "Threads of the class; irq: stacks.", threads, 1),
	METRIC("mapped_bytes", "gauge", NULL, NULL, "Memory mapped in their stacks.",
	       mapped_kb, KB),
	METRIC("retained_bytes", "gauge", NULL, NULL, "Stack memory unmapped and not freed yet.",
	       retained_kb, KB),
	METRIC("uncharged_bytes", "gauge", NULL, NULL,
	       "Stack memory that no cgroup is charged for yet.",
	       uncharged_kb, KB),
	METRIC("grows_total", "counter", "cause", "ensure",
	       "Growths of stacks by cause; fault: overflows survived.",
	       grows_ensure, 1),
	METRIC("grows_total", "counter", "cause", "fault", NULL, grows_fault, 1),
	METRIC("grows_total", "counter", "cause", "class", NULL, grows_class, 1),
	METRIC("deep_overflows_total", "counter", NULL, NULL,
	       "Overflows to more than kernel.stack_policy_warn_kb.",
	       grows_fault_deep, 1),
	METRIC("failures_total", "counter", "reason", "memory",
	       "Stacks and growths refused by reason.",
	       failed_nomem, 1),
	METRIC("failures_total", "counter", "reason", "limit", NULL, failed_limit, 1),
	METRIC("trims_total", "counter", "reason", "excess", "Stacks cut back by reason.",
	       trims_excess, 1),
	METRIC("trims_total", "counter", "reason", "cold", NULL, trims_cold, 1),
	METRIC("reclaimed_bytes_total", "counter", NULL, NULL, "Stack memory freed after trimming.",
	       reclaimed_kb, KB),
	METRIC("returned_bytes_total", "counter", "from", "own",
	       "Stack memory given back at wake-up by origin.",
	       restored_kb, KB),
	METRIC("returned_bytes_total", "counter", "from", "pool", NULL, replaced_kb, KB),
};

static void head(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP stack_policy_%s %s\n", name, help);
	fprintf(out, "# TYPE stack_policy_%s %s\n", name, type);
}

static void print_metric(FILE *out, const struct stacks *s, const struct metric *m)
{
	unsigned int i;

	if (m->help)
		head(out, m->name, m->type, m->help);
	for (i = 0; i < s->nr; i++) {
		__u64 n = *(const __u64 *)((const char *)&s->class[i].stats + m->offset);

		fprintf(out, "stack_policy_%s{class=\"%s\"", m->name, s->class[i].name);
		if (m->label)
			fprintf(out, ",%s=\"%s\"", m->label, m->value);
		fprintf(out, "} %llu\n", n * m->factor);
	}
}

static void print_sizes(FILE *out, const struct stacks *s)
{
	unsigned int i;

	head(out, "populate_bytes", "gauge", "Memory of a new thread's stack.");
	for (i = 0; i < s->nr; i++)
		fprintf(out, "stack_policy_populate_bytes{class=\"%s\"} %llu\n", s->class[i].name,
			s->class[i].entry.populate_kb * KB);
	head(out, "limit_bytes", "gauge", "How far a stack may grow.");
	for (i = 0; i < s->nr; i++)
		fprintf(out, "stack_policy_limit_bytes{class=\"%s\"} %llu\n", s->class[i].name,
			s->class[i].entry.limit_kb * KB);
}

/* Up to what the kernel counts in @bin, in the unit of the metric. */
static double kilobytes(unsigned int bin)
{
	return (bin + 1) * KB;
}

static double power_of_2_microseconds(unsigned int bin)
{
	return (1ULL << bin) / 1e6;
}

/*
 * @field of each class's counters as a histogram. The kernel counts in bins, so
 * the sum is not known, and none is given.
 */
static void print_histogram(FILE *out, const struct stacks *s, const char *name,
			    const char *help, size_t offset, unsigned int nr_bins,
			    double (*up_to)(unsigned int bin))
{
	unsigned int i, bin;

	head(out, name, "histogram", help);
	for (i = 0; i < s->nr; i++) {
		const __u64 *bins = (const void *)&s->class[i].stats + offset;
		const char *class = s->class[i].name;
		__u64 n = 0;

		for (bin = 0; bin < nr_bins; bin++) {
			n += bins[bin];
			fprintf(out, "stack_policy_%s_bucket{class=\"%s\",le=\"%.10g\"} %llu\n",
				name, class, up_to(bin), n);
		}
		fprintf(out, "stack_policy_%s_bucket{class=\"%s\",le=\"+Inf\"} %llu\n", name,
			class, n);
		fprintf(out, "stack_policy_%s_count{class=\"%s\"} %llu\n", name, class, n);
	}
}

static int metrics_show(int argc, char **argv)
{
	struct replacement r;
	struct stacks s;
	unsigned int i;

	if (json) {
		p_err("metrics are Prometheus' text; 'class show' has the counters in JSON");
		return USAGE;
	}
	if (!stacks_read(&s))
		return FAILED;
	if (!s.has_stats) {
		p_err("the counters are for root (CAP_SYS_ADMIN)");
		return FAILED;
	}
	if (!replace_open(&r, opt[OPT_OUTPUT]))
		return FAILED;
	print_sizes(r.file, &s);
	for (i = 0; i < ARRAY_SIZE(metrics); i++)
		print_metric(r.file, &s, &metrics[i]);
	print_histogram(r.file, &s, "exit_depth_bytes", "Exits of threads by deepest use.",
			offsetof(struct stack_policy_stats, exit_depth_kb), STACK_POLICY_DEPTHS,
			kilobytes);
	print_histogram(r.file, &s, "late_start_seconds",
			"Wake-ups of sleepers that waited for memory by how long.",
			offsetof(struct stack_policy_stats, late_us), STACK_POLICY_DELAYS,
			power_of_2_microseconds);
	return replace_commit(&r) ? DONE : FAILED;
}

static const struct command commands[] = {
	{ "show", NULL, OPT(OUTPUT), 0, 0, metrics_show },
	{ }
};

const struct object metrics_object = {
	"metrics", "the counters for node_exporter's textfile collector", commands,
};
