// SPDX-License-Identifier: GPL-2.0
/*
 * Overflows of kernel stacks, for people: what stack_policy_record.c has kept is
 * grouped by site, printed from an interrupt soon after, and shown in debugfs.
 */
#define pr_fmt(fmt) "stack_policy: " fmt

#include <linux/debugfs.h>
#include <linux/init.h>
#include <linux/kstack.h>
#include <linux/ratelimit.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/utsname.h>
#include <trace/events/stack_policy.h>

#include "stack_policy.h"

#define NR_SITES	64
#define NR_MARKED	3	/* sizes of frames that are big, for the report */

/* Overflows with one and the same backtrace. */
struct site {
	unsigned long		count;		/* 0: free */
	unsigned long		deep;		/* of these */
	unsigned long		last;		/* jiffies */
	bool			printed;
	struct overflow		first;
};

/* A table of its own: stack depot takes 16 bytes for each 16 kB of memory. */
static struct site sites[NR_SITES];
static DEFINE_RAW_SPINLOCK(sites_lock);

/* Deep overflows that had no report of their own. */
static atomic_t nr_unreported;

/* Reports of all sites. */
static DEFINE_RATELIMIT_STATE(report_limit, DEFAULT_RATELIMIT_INTERVAL,
			      DEFAULT_RATELIMIT_BURST);

static bool same_frames(const struct kstack_frames *a, const struct kstack_frames *b)
{
	return a->nr == b->nr && !memcmp(a->ip, b->ip, a->nr * sizeof(a->ip[0]));
}

/* Is there less to know of @a than of @b: only events, or not seen for longer? */
static bool less_worth(const struct site *a, const struct site *b)
{
	if (!a->deep != !b->deep)
		return !a->deep;
	return time_before(a->last, b->last);
}

/* The site of @overflow; a new one takes the place of the one that is worth least. */
static struct site *find_site(const struct overflow *overflow)
{
	struct site *site, *oldest = sites;

	lockdep_assert_held(&sites_lock);
	for (site = sites; site < sites + NR_SITES; site++) {
		if (!site->count) {
			oldest = site;
			break;
		}
		if (same_frames(&site->first.frames, &overflow->frames))
			return site;
		if (less_worth(site, oldest))
			oldest = site;
	}
	oldest->count = 0;
	oldest->deep = 0;
	oldest->printed = false;
	oldest->first = *overflow;
	return oldest;
}

/* Return: true if it has to be printed, which only a deep one has. */
static bool count_at_site(const struct overflow *overflow)
{
	unsigned long flags;
	struct site *site;
	bool print;

	raw_spin_lock_irqsave(&sites_lock, flags);
	site = find_site(overflow);
	site->count++;
	if (overflow->deep && !site->deep)
		site->first = *overflow;
	site->deep += overflow->deep;
	site->last = jiffies;
	print = overflow->deep && !site->printed && __ratelimit(&report_limit);
	site->printed |= print;
	raw_spin_unlock_irqrestore(&sites_lock, flags);
	return print;
}

/* From which size on a frame is one of the biggest. */
static unsigned int mark_from(const struct kstack_frames *frames)
{
	unsigned int biggest[NR_MARKED] = {}, i, j;

	for (i = 0; i < frames->nr; i++) {
		unsigned int bytes = kstack_is_function(frames->ip[i]) ? frames->bytes[i] : 0;

		for (j = 0; j < NR_MARKED && bytes != biggest[j]; j++)
			if (bytes > biggest[j])
				swap(bytes, biggest[j]);
	}
	return max(biggest[NR_MARKED - 1], 1U);
}

static bool same_frame(const struct kstack_frames *frames, unsigned int i, unsigned int j)
{
	return frames->ip[i] == frames->ip[j] && frames->bytes[i] == frames->bytes[j];
}

/*
 * Recursion: how many frames come again behind themselves, and how @often in a row. Of
 * all periods from frame @i on, the one that saves most lines.
 */
static unsigned int find_period(const struct kstack_frames *frames, unsigned int i,
				unsigned int *often)
{
	unsigned int best = 1, period, n;

	*often = 1;
	for (period = 1; i + 2 * period <= frames->nr; period++) {
		for (n = i; n + period < frames->nr && same_frame(frames, n, n + period); n++)
			;
		n = (n - i) / period + 1;
		if ((n - 1) * period > (*often - 1) * best) {
			best = period;
			*often = n;
		}
	}
	return best;
}

/* What is no function, in words; NULL if it is one. */
static const char *no_function(const struct kstack_frames *frames, unsigned int i,
			       char *text, size_t size)
{
	switch (frames->ip[i]) {
	case KSTACK_NOT_UNWOUND:
		return "(cannot be unwound)";
	case KSTACK_LEFT_OUT:
		scnprintf(text, size, "(%u more frames)", frames->left_out);
		return text;
	case KSTACK_USER_REGS:
		return "(user registers)";
	default:
		return NULL;
	}
}

static void print_frame(const struct kstack_frames *frames, unsigned int i, unsigned int mark,
			const char *note)
{
	unsigned int bytes = frames->bytes[i];
	const char *text;
	char buf[32];

	text = no_function(frames, i, buf, sizeof(buf));
	if (text)
		pr_warn(" %6u %s\n", bytes, text);
	else
		pr_warn("%c%6u %pS%s\n", bytes >= mark ? '*' : ' ', bytes,
			(void *)frames->ip[i], note);
}

static void print_frames(const struct kstack_frames *frames)
{
	unsigned int i, n, period, often, mark = mark_from(frames);
	char note[40];

	for (i = 0; i < frames->nr; i += period * often) {
		period = find_period(frames, i, &often);
		for (n = 0; n < period; n++) {
			*note = '\0';
			if (often > 1 && period == 1)
				scnprintf(note, sizeof(note), " (%u times)", often);
			else if (often > 1 && n == period - 1)
				scnprintf(note, sizeof(note), " (these %u lines %u times)",
					  period, often);
			print_frame(frames, i + n, mark, note);
		}
	}
}

static void print_overflow(const struct overflow *o)
{
	unsigned int survived, missed;

	stack_policy_count_overflows(&survived, &missed);
	pr_warn("------------[ cut here ]------------\n");
	pr_warn("WARNING: %s[%d] (%s) ran out of stack in %pS\n", o->comm, o->pid,
		stack_policy_class_name(o->class), (void *)o->frames.ip[0]);
	pr_warn("grew from %u to %u of %u bytes; %u survived, %u without a report\n",
		o->from_bytes, o->to_bytes, o->limit_bytes, survived,
		missed + atomic_read(&nr_unreported));
	if (o->vector >= 0)
		pr_warn("interrupt vector 0x%x did not fit, raised again\n", o->vector);
	pr_warn("%s %s, bytes of each frame:\n", init_utsname()->release, print_tainted());
	print_frames(&o->frames);
	pr_warn("---[ end trace ]---\n");
	add_taint(TAINT_WARN, LOCKDEP_STILL_OK);
	check_panic_on_warn("stack_policy");
}

/* Of this CPU, in hard interrupt context, or of one that is dead. */
void stack_policy_report_overflows(unsigned int cpu)
{
	const struct overflow *o;

	while ((o = stack_policy_next_overflow(cpu))) {
		trace_stack_fault(o->pid, o->comm, o->class, o->from_bytes, o->to_bytes,
				  o->limit_bytes, o->vector, &o->frames);
		if (count_at_site(o))
			print_overflow(o);
		else if (o->deep)
			atomic_inc(&nr_unreported);
		stack_policy_overflow_done(cpu);
	}
}

/* debugfs stack_policy/sites */

static void *sites_start(struct seq_file *m, loff_t *pos)
{
	return *pos < NR_SITES ? &sites[*pos] : NULL;
}

static void *sites_next(struct seq_file *m, void *v, loff_t *pos)
{
	++*pos;
	return sites_start(m, pos);
}

static void sites_stop(struct seq_file *m, void *v)
{
}

/* A copy first: names of symbols take too long for the lock. */
static int sites_show(struct seq_file *m, void *v)
{
	struct site *site = kmalloc(sizeof(*site), GFP_KERNEL);
	const struct overflow *o;
	unsigned int i;

	if (!site)
		return -ENOMEM;
	scoped_guard(raw_spinlock_irqsave, &sites_lock)
		memcpy(site, v, sizeof(*site));
	o = &site->first;
	if (!site->count)
		goto free_copy;
	seq_printf(m, "count=%lu deep=%lu age_ms=%u comm=%s class=%s from=%u to=%u limit=%u vector=%d\n",
		   site->count, site->deep, jiffies_to_msecs(jiffies - site->last), o->comm,
		   stack_policy_class_name(o->class), o->from_bytes, o->to_bytes,
		   o->limit_bytes, o->vector);
	for (i = 0; i < o->frames.nr; i++) {
		char buf[32];
		const char *text = no_function(&o->frames, i, buf, sizeof(buf));

		if (text)
			seq_printf(m, "%7u %s\n", o->frames.bytes[i], text);
		else
			seq_printf(m, "%7u %pS\n", o->frames.bytes[i],
				   (void *)o->frames.ip[i]);
	}
free_copy:
	kfree(site);
	return 0;
}

static const struct seq_operations sites_ops = {
	.start	= sites_start,
	.next	= sites_next,
	.stop	= sites_stop,
	.show	= sites_show,
};

static int sites_open(struct inode *inode, struct file *file)
{
	return seq_open(file, &sites_ops);
}

/* Whatever is written: forget them, so that each can be printed again. */
static ssize_t sites_write(struct file *file, const char __user *text, size_t len,
			   loff_t *pos)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&sites_lock, flags);
	memset(sites, 0, sizeof(sites));
	raw_spin_unlock_irqrestore(&sites_lock, flags);
	return len;
}

static const struct file_operations sites_fops = {
	.open		= sites_open,
	.read		= seq_read,
	.write		= sites_write,
	.llseek		= seq_lseek,
	.release	= seq_release,
};

/* debugfs stack_policy/reserve */
static int reserve_show(struct seq_file *m, void *v)
{
	struct kstack_reserve_stats stats;
	int cpu;

	for_each_online_cpu(cpu) {
		kstack_reserve_read(cpu, &stats);
		seq_printf(m, "cpu=%d pages=%u low_water=%u taken=%lu refill_failed=%ld\n",
			   cpu, kstack_reserve_count(cpu), stats.low_water, stats.taken,
			   atomic_long_read(&stats.refill_failed));
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(reserve);

static int __init stack_policy_report_debugfs(void)
{
	struct dentry *dir = debugfs_create_dir("stack_policy", NULL);

	debugfs_create_file("sites", 0600, dir, NULL, &sites_fops);
	debugfs_create_file("reserve", 0400, dir, NULL, &reserve_fops);
	debugfs_create_file("trim", 0200, dir, NULL, &stack_policy_trim_fops);
	return 0;
}
late_initcall(stack_policy_report_debugfs);

#if IS_ENABLED(CONFIG_STACK_POLICY_KUNIT_TEST)
#include "stack_policy_report_test.c"
#endif
