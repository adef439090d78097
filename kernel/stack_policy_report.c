// SPDX-License-Identifier: GPL-2.0
/*
 * Overflows of kernel stacks, for people: what stack_policy_record.c has kept is
 * grouped by site, printed from an interrupt soon after, and shown in debugfs.
 */
#define pr_fmt(fmt) "stack_policy: " fmt

#include <linux/bitmap.h>
#include <linux/debugfs.h>
#include <linux/filter.h>
#include <linux/hash.h>
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/kallsyms.h>
#include <linux/kstack.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/utsname.h>
#include <linux/workqueue.h>
#include <trace/events/stack_policy.h>

#include "stack_policy.h"

#define NR_SITES	32
#define NR_MARKED	3	/* sizes of frames that are big, for the report */
#define CAUSE_BITS	8

/* So many reports in so much time; of these, for causes that had one before. */
#define REPORT_INTERVAL	(5 * HZ)
#define REPORT_BURST	10
#define REPORT_AGAIN	5

/* The bytes that each function has on a stack, whatever the order of its frames. */
struct stack_use {
	unsigned int		nr;
	unsigned int		sum;
	bool			torn;		/* there is more, of functions not known */
	unsigned long		function[KSTACK_FRAMES];	/* ascending */
	u16			bytes[KSTACK_FRAMES];
};

/* All BPF programs: they are called by each other as their writer likes. */
#define BPF_PROGRAMS	1UL

/*
 * Overflows whose stack was used by the same functions: at whatever depth of a recursion
 * the page ended, and in whatever leaf.
 */
struct site {
	unsigned long		count;		/* 0: free */
	unsigned long		deep;		/* of these */
	unsigned long		last;		/* jiffies */
	unsigned int		most;		/* bytes, the deepest was given */
	bool			printed;
	struct stack_use	use;		/* of the next one */
	struct overflow		first;		/* the first deep one if there is any */
};

/* A table of its own: stack depot takes 16 bytes for each 16 kB of memory. */
struct site_table {
	raw_spinlock_t		lock;
	struct site		site[NR_SITES];
	unsigned long		forgotten;	/* deep sites that lost their place unprinted */
	DECLARE_BITMAP(causes, 1 << CAUSE_BITS);	/* that were printed, by hash */
	unsigned long		began;		/* jiffies, of the interval */
	unsigned int		printed;	/* reports in it */
};

static struct site_table sites = { .lock = __RAW_SPIN_LOCK_UNLOCKED(sites.lock) };

/* Deep overflows that had no report of their own. */
static atomic_t nr_unreported;

/* Prints what had to wait, once it may. */
static void report_late(struct work_struct *work);
static DECLARE_DELAYED_WORK(late_work, report_late);

/* Where the function of a frame begins: for all places in it the same. */
static unsigned long function_at(const struct kstack_frames *frames, unsigned int i)
{
	/* The call; after one that does not return there may be another function. */
	unsigned long ip = frames->ip[i] - !!i, size, offset;

	if (is_bpf_text_address(ip))
		return BPF_PROGRAMS;
	return kallsyms_lookup_size_offset(ip, &size, &offset) ? ip - offset : ip;
}

static void add_use(struct stack_use *use, unsigned long function, unsigned int bytes)
{
	unsigned int i;

	for (i = use->nr; i && use->function[i - 1] > function; i--)
		;
	use->sum += bytes;
	if (i && use->function[i - 1] == function) {
		use->bytes[i - 1] += bytes;
		return;
	}
	memmove(&use->function[i + 1], &use->function[i],
		(use->nr - i) * sizeof(use->function[0]));
	memmove(&use->bytes[i + 1], &use->bytes[i], (use->nr - i) * sizeof(use->bytes[0]));
	use->function[i] = function;
	use->bytes[i] = bytes;
	use->nr++;
}

/* @use comes in empty. */
static void find_use(struct stack_use *use, const struct kstack_frames *frames)
{
	unsigned int i;

	for (i = 0; i < frames->nr; i++) {
		if (frames->ip[i] == KSTACK_NOT_UNWOUND)
			use->torn = true;
		/* One whose bytes are not known tells something all the same. */
		if (kstack_is_function(frames->ip[i]))
			add_use(use, function_at(frames, i), max(frames->bytes[i], 1));
	}
}

/* The function that has most of the stack: what a person would call the cause. */
static unsigned int cause_of(const struct stack_use *use)
{
	unsigned int i, cause = 0;

	for (i = 1; i < use->nr; i++)
		if (use->bytes[i] > use->bytes[cause])
			cause = i;
	return cause;
}

/*
 * Is it the same place? If three quarters of the stack of the one that has less of it are
 * of functions that have as much in the other.
 */
static bool same_use(const struct stack_use *a, const struct stack_use *b)
{
	unsigned int i = 0, j = 0, shared = 0;

	if (a->torn != b->torn)
		return false;
	while (i < a->nr && j < b->nr) {
		if (a->function[i] == b->function[j])
			shared += min(a->bytes[i++], b->bytes[j++]);
		else if (a->function[i] < b->function[j])
			i++;
		else
			j++;
	}
	return shared * 4 >= min(a->sum, b->sum) * 3;
}

static bool waits(const struct site *site)
{
	return site->deep && !site->printed;
}

/* Is there less to know of @a than of @b? Events first, then what was printed, then age. */
static bool less_worth(const struct site *a, const struct site *b)
{
	if (!a->deep != !b->deep)
		return !a->deep;
	if (waits(a) != waits(b))
		return waits(b);
	return time_before(a->last, b->last);
}

/* The site of @overflow; a new one takes the place of the one that is worth least. */
static struct site *find_site(struct site_table *t, const struct overflow *overflow,
			      const struct stack_use *use)
{
	struct site *site, *oldest = t->site;

	lockdep_assert_held(&t->lock);
	for (site = t->site; site < t->site + NR_SITES; site++) {
		if (!site->count) {
			oldest = site;
			break;
		}
		if (same_use(&site->use, use))
			return site;
		if (less_worth(site, oldest))
			oldest = site;
	}
	t->forgotten += waits(oldest);
	memset(oldest, 0, offsetof(struct site, use));
	oldest->use = *use;
	oldest->first = *overflow;
	return oldest;
}

static void count_at_site(struct site_table *t, const struct overflow *overflow)
{
	struct stack_use use = {};
	unsigned long flags;
	struct site *site;

	/* Symbols take too long for the lock. */
	find_use(&use, &overflow->frames);
	raw_spin_lock_irqsave(&t->lock, flags);
	site = find_site(t, overflow, &use);
	if (overflow->deep && !site->deep) {
		site->use = use;
		site->first = *overflow;
	}
	site->count++;
	site->deep += overflow->deep;
	site->most = max(site->most, overflow->to_bytes);
	site->last = jiffies;
	raw_spin_unlock_irqrestore(&t->lock, flags);
}

static unsigned int cause_bit(const struct site *site)
{
	return hash_long(site->use.function[cause_of(&site->use)], CAUSE_BITS);
}

/* Had this cause no report, at another site perhaps? */
static bool is_new(const struct site_table *t, const struct site *site)
{
	return !test_bit(cause_bit(site), t->causes);
}

/* The one of those that wait that has to be printed first, or NULL. */
static struct site *first_waiting(struct site_table *t, unsigned int *waiting)
{
	struct site *site, *first = NULL;

	*waiting = 0;
	for (site = t->site; site < t->site + NR_SITES; site++) {
		if (!waits(site))
			continue;
		++*waiting;
		if (!first || (is_new(t, site) && !is_new(t, first)))
			first = site;
	}
	return first;
}

static bool may_print(struct site_table *t, bool new)
{
	if (!t->printed || time_after(jiffies, t->began + REPORT_INTERVAL)) {
		t->began = jiffies;
		t->printed = 0;
	}
	if (t->printed >= (new ? REPORT_BURST : REPORT_AGAIN))
		return false;
	t->printed++;
	return true;
}

/* What is to be printed of a site. */
struct report {
	struct overflow		overflow;
	unsigned long		cause;		/* function */
	unsigned int		cause_bytes;
	unsigned int		waiting;	/* other sites */
};

static void take_report(struct site_table *t, struct site *site, struct report *report)
{
	unsigned int cause = cause_of(&site->use);

	site->printed = true;
	set_bit(cause_bit(site), t->causes);
	report->overflow = site->first;
	report->cause = site->use.function[cause];
	report->cause_bytes = site->use.bytes[cause];
	report->waiting--;
}

/* Return: true if @report is to be printed now; without, @report->waiting have to wait. */
static bool next_report(struct site_table *t, struct report *report)
{
	unsigned long flags;
	struct site *site;
	bool print;

	raw_spin_lock_irqsave(&t->lock, flags);
	site = first_waiting(t, &report->waiting);
	print = site && may_print(t, is_new(t, site));
	if (print)
		take_report(t, site, report);
	raw_spin_unlock_irqrestore(&t->lock, flags);
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

static void print_report(const struct report *report)
{
	const struct overflow *o = &report->overflow;
	unsigned int survived, missed;

	stack_policy_count_overflows(&survived, &missed);
	pr_warn("------------[ cut here ]------------\n");
	pr_warn("WARNING: %s[%d] (%s) ran out of stack in %pS\n", o->comm, o->pid,
		stack_policy_class_name(o->class), (void *)o->frames.ip[0]);
	pr_warn("grew from %u to %u of %u bytes; %u survived, %u without a report, %u sites wait for theirs\n",
		o->from_bytes, o->to_bytes, o->limit_bytes, survived,
		missed + atomic_read(&nr_unreported), report->waiting);
	if (o->vector >= 0)
		pr_warn("interrupt vector 0x%x did not fit, raised again\n", o->vector);
	if (report->cause == BPF_PROGRAMS)
		pr_warn("BPF programs have most of the frames below, %u bytes\n",
			report->cause_bytes);
	else
		pr_warn("%ps has most of the frames below, %u bytes\n", (void *)report->cause,
			report->cause_bytes);
	pr_warn("%s %s, bytes of each frame:\n", init_utsname()->release, print_tainted());
	print_frames(&o->frames);
	pr_warn("---[ end trace ]---\n");
	add_taint(TAINT_WARN, LOCKDEP_STILL_OK);
	check_panic_on_warn("stack_policy");
}

/* As many as may be now; the others when there may be more. */
static void print_reports(void)
{
	struct report report;

	while (next_report(&sites, &report)) {
		atomic_dec(&nr_unreported);
		print_report(&report);
	}
	if (report.waiting)
		queue_delayed_work(system_unbound_wq, &late_work, REPORT_INTERVAL);
}

static void report_late(struct work_struct *work)
{
	print_reports();
}

/* Of this CPU, in hard interrupt context, or of one that is dead. */
void stack_policy_report_overflows(unsigned int cpu)
{
	const struct overflow *o;

	while ((o = stack_policy_next_overflow(cpu))) {
		trace_stack_fault(o->pid, o->comm, o->class, o->from_bytes, o->to_bytes,
				  o->limit_bytes, o->vector, &o->frames);
		if (o->deep)
			atomic_inc(&nr_unreported);
		count_at_site(&sites, o);
		stack_policy_overflow_done(cpu);
		print_reports();
	}
}

/* debugfs stack_policy/sites */

static void *sites_start(struct seq_file *m, loff_t *pos)
{
	if (!*pos)
		return SEQ_START_TOKEN;
	return *pos <= NR_SITES ? &sites.site[*pos - 1] : NULL;
}

static void *sites_next(struct seq_file *m, void *v, loff_t *pos)
{
	++*pos;
	return sites_start(m, pos);
}

static void sites_stop(struct seq_file *m, void *v)
{
}

static int summary_show(struct seq_file *m)
{
	unsigned int waiting, survived, missed;
	unsigned long forgotten;

	scoped_guard(raw_spinlock_irqsave, &sites.lock) {
		first_waiting(&sites, &waiting);
		forgotten = sites.forgotten;
	}
	stack_policy_count_overflows(&survived, &missed);
	seq_printf(m, "waiting=%u forgotten=%lu without_trace=%u\n", waiting, forgotten,
		   missed);
	return 0;
}

/* A copy first: names of symbols take too long for the lock. */
static int sites_show(struct seq_file *m, void *v)
{
	const struct overflow *o;
	struct site *site;
	unsigned int i;

	if (v == SEQ_START_TOKEN)
		return summary_show(m);
	site = kmalloc(sizeof(*site), GFP_KERNEL);
	if (!site)
		return -ENOMEM;
	scoped_guard(raw_spinlock_irqsave, &sites.lock)
		memcpy(site, v, sizeof(*site));
	o = &site->first;
	if (!site->count)
		goto free_copy;
	seq_printf(m, "count=%lu deep=%lu age_ms=%u comm=%s class=%s from=%u to=%u limit=%u vector=%d most=%u report=%s\n",
		   site->count, site->deep, jiffies_to_msecs(jiffies - site->last), o->comm,
		   stack_policy_class_name(o->class), o->from_bytes, o->to_bytes,
		   o->limit_bytes, o->vector, site->most,
		   waits(site) ? "waits" : site->printed ? "printed" : "none");
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

	raw_spin_lock_irqsave(&sites.lock, flags);
	memset(sites.site, 0, sizeof(sites.site));
	bitmap_zero(sites.causes, 1 << CAUSE_BITS);
	sites.forgotten = 0;
	raw_spin_unlock_irqrestore(&sites.lock, flags);
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

/* debugfs stack_policy/pool */
static int pool_show(struct seq_file *m, void *v)
{
	struct kstack_pool_stats stats;

	kstack_pool_read(&stats);
	seq_printf(m, "pages=%u owed=%lu waiting=%u\n", stats.pages, stats.owed, stats.waiting);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(pool);

static int __init stack_policy_report_debugfs(void)
{
	struct dentry *dir = debugfs_create_dir("stack_policy", NULL);

	debugfs_create_file("sites", 0600, dir, NULL, &sites_fops);
	debugfs_create_file("reserve", 0400, dir, NULL, &reserve_fops);
	debugfs_create_file("pool", 0400, dir, NULL, &pool_fops);
	debugfs_create_file("trim", 0200, dir, NULL, &stack_policy_trim_fops);
	return 0;
}
late_initcall(stack_policy_report_debugfs);

#if IS_ENABLED(CONFIG_STACK_POLICY_KUNIT_TEST)
#include "stack_policy_report_test.c"
#endif
