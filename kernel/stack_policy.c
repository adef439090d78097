// SPDX-License-Identifier: GPL-2.0
/*
 * Kernel stacks sized by what a thread is: the classes, their table, how a
 * thread gets its class, and what user space sees of it.
 */
#define pr_fmt(fmt) "stack_policy: " fmt

#include <linux/capability.h>
#include <linux/ctype.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/kstack.h>
#include <linux/kthread.h>
#include <linux/percpu.h>
#include <linux/sched/task.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/stack_policy.h>
#include <linux/string.h>
#include <linux/sysctl.h>
#include <linux/task_work.h>

#define CREATE_TRACE_POINTS
#include <trace/events/stack_policy.h>

#include "stack_policy.h"

#define RESERVE_KB	(THREAD_SIZE / 1024)
#define PAGE_KB		(PAGE_SIZE / 1024)
#define STOCK_KB	(STACK_POLICY_TYPICAL / 1024)
#define TABLE_TEXT_MAX	256

static const char * const class_names[] = {
	[STACK_CLASS_TASK]		= "task",
	[STACK_CLASS_KTHREAD]		= "kthread",
	[STACK_CLASS_KTHREAD_BIG]	= "kthread-big",
	[STACK_CLASS_KVM_VCPU]		= "kvm-vcpu",
	[STACK_CLASS_USER_WORKER]	= "user-worker",
	[STACK_CLASS_IRQ]		= "irq",
	[STACK_CLASS_TASK_BIG]		= "task-big",
};
static_assert(ARRAY_SIZE(class_names) == STACK_CLASS_MAX);

struct stack_policy_table {
	struct stack_policy_entry row[STACK_CLASS_MAX];
};

static const struct stack_policy_table default_table = { {
	[STACK_CLASS_TASK]		= { 12, RESERVE_KB },
	[STACK_CLASS_KTHREAD]		= { 12, RESERVE_KB },
	[STACK_CLASS_KTHREAD_BIG]	= { RESERVE_KB, RESERVE_KB },
	[STACK_CLASS_KVM_VCPU]		= { RESERVE_KB, RESERVE_KB },
	[STACK_CLASS_USER_WORKER]	= { 12, RESERVE_KB },
	[STACK_CLASS_IRQ]		= { RESERVE_KB, RESERVE_KB },
	[STACK_CLASS_TASK_BIG]		= { RESERVE_KB, RESERVE_KB },
} };

/* From the start what a stock kernel gives: nothing that lives there needs to grow. */
static const struct stack_policy_table conservative_table = { {
	[STACK_CLASS_TASK]		= { STOCK_KB, RESERVE_KB },
	[STACK_CLASS_KTHREAD]		= { STOCK_KB, RESERVE_KB },
	[STACK_CLASS_KTHREAD_BIG]	= { RESERVE_KB, RESERVE_KB },
	[STACK_CLASS_KVM_VCPU]		= { RESERVE_KB, RESERVE_KB },
	[STACK_CLASS_USER_WORKER]	= { STOCK_KB, RESERVE_KB },
	[STACK_CLASS_IRQ]		= { RESERVE_KB, RESERVE_KB },
	[STACK_CLASS_TASK_BIG]		= { RESERVE_KB, RESERVE_KB },
} };

/* And no more than that, and nothing is taken. A tag is a promise all the same. */
static const struct stack_policy_table static_table = { {
	[STACK_CLASS_TASK]		= { STOCK_KB, STOCK_KB },
	[STACK_CLASS_KTHREAD]		= { STOCK_KB, STOCK_KB },
	[STACK_CLASS_KTHREAD_BIG]	= { RESERVE_KB, RESERVE_KB },
	[STACK_CLASS_KVM_VCPU]		= { STOCK_KB, STOCK_KB },
	[STACK_CLASS_USER_WORKER]	= { STOCK_KB, STOCK_KB },
	[STACK_CLASS_IRQ]		= { RESERVE_KB, RESERVE_KB },
	[STACK_CLASS_TASK_BIG]		= { RESERVE_KB, RESERVE_KB },
} };

/* Tables with a name. */
static const struct {
	const char			*name;
	const struct stack_policy_table	*table;
} profiles[] = {
	{ "default",		&default_table },
	{ "conservative",	&conservative_table },
	{ "static",		&static_table },
};

static const char * const sleepers_names[] = {
	[STACK_SLEEPERS_BY_SIZE] = "",	/* not said */
	[STACK_SLEEPERS_TRIM]	= "trim",
	[STACK_SLEEPERS_KEEP]	= "keep",
};

static const struct stack_policy_entry full_row = { RESERVE_KB, RESERVE_KB };

/* The table in force. Rows are written whole, and read so in the kernel: eight bytes. */
static struct stack_policy_table table = default_table;
/* Serializes writers of the table. */
static DEFINE_SPINLOCK(table_lock);
static_assert(sizeof(struct stack_policy_entry) == sizeof(u64));

/* Counters of each class. Written where stacks change, summed when read. */
static DEFINE_PER_CPU(struct kstack_stats, stats[STACK_CLASS_MAX]);
static_assert(STACK_POLICY_DEPTHS == KSTACK_DEPTHS);

/* Why stacks cannot grow by fault here, and every class is fully populated. */
static const char *always_full __ro_after_init;

/* kernel.stack_policy_overflow */
static bool overflow_panics __read_mostly;

/* kernel.stack_policy_warn_kb: up to what a stock stack has, an overflow is an event. */
static unsigned int warn_kb __read_mostly = STOCK_KB;

const char *stack_policy_class_name(enum stack_class class)
{
	return class_names[class];
}

/* Nothing can grow without the reserve, nor before there is one. */
bool stack_policy_always_full(void)
{
	return always_full || !kstack_ready();
}

static struct stack_policy_entry read_row(enum stack_class class)
{
	return READ_ONCE(table.row[class]);
}

/* What a thread of @class gets on this machine. */
static struct stack_policy_entry row_here(enum stack_class class)
{
	return stack_policy_always_full() ? full_row : read_row(class);
}

static bool trims_sleepers(const struct stack_policy_entry *row)
{
	if (row->sleepers == STACK_SLEEPERS_BY_SIZE)
		return row->populate_kb < row->limit_kb;
	return row->sleepers == STACK_SLEEPERS_TRIM;
}

static struct kstack_size kstack_size(struct stack_policy_entry row)
{
	return (struct kstack_size){
		.populate	= row.populate_kb * 1024,
		.limit		= row.limit_kb * 1024,
		.trim_cold	= trims_sleepers(&row),
	};
}

static bool row_valid(enum stack_class class, const struct stack_policy_entry *row)
{
	if (!row->populate_kb || row->populate_kb > row->limit_kb ||
	    row->limit_kb > RESERVE_KB || row->populate_kb % PAGE_KB ||
	    row->limit_kb % PAGE_KB || row->sleepers > STACK_SLEEPERS_KEEP)
		return false;
	switch (class) {
	case STACK_CLASS_KVM_VCPU:
		/* A growth by fault would lose the guest's CR2 just before VM entry. */
		return row->populate_kb == row->limit_kb;
	case STACK_CLASS_IRQ:
		/* As it is: who writes the whole table back writes this as well. */
		return row->populate_kb == RESERVE_KB && !trims_sleepers(row);
	default:
		return true;
	}
}

/* One way to say it: rows that mean the same are equal. */
static struct stack_policy_entry normal_row(struct stack_policy_entry row)
{
	bool trims = trims_sleepers(&row);

	row.sleepers = STACK_SLEEPERS_BY_SIZE;
	if (trims_sleepers(&row) != trims)
		row.sleepers = trims ? STACK_SLEEPERS_TRIM : STACK_SLEEPERS_KEEP;
	return row;
}

/* "12/32", "12/32/keep" or "16/16/trim", nothing else. */
static int parse_row(char *text, enum stack_class class, struct stack_policy_entry *row)
{
	char *populate = strsep(&text, "/"), *limit = strsep(&text, "/");
	int sleepers = STACK_SLEEPERS_BY_SIZE;

	if (!limit || !isdigit(populate[0]) || !isdigit(limit[0]) ||
	    kstrtou32(populate, 10, &row->populate_kb) ||
	    kstrtou16(limit, 10, &row->limit_kb))
		return -EINVAL;
	if (text) {
		sleepers = match_string(sleepers_names, ARRAY_SIZE(sleepers_names), text);
		if (sleepers <= STACK_SLEEPERS_BY_SIZE)
			return -EINVAL;
	}
	row->sleepers = sleepers;
	if (!row_valid(class, row))
		return -EINVAL;
	*row = normal_row(*row);
	return 0;
}

static const struct stack_policy_table *find_profile(const char *name)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(profiles); i++) {
		if (!strcmp(profiles[i].name, name))
			return profiles[i].table;
	}
	return NULL;
}

/*
 * "CLASS=POPULATE/LIMIT[/SLEEPERS] ..." or the name of a profile into @new, which comes in
 * with the table in force. Destroys @text. Return: 0, or -EINVAL and @new is garbage.
 */
static int parse_table(char *text, struct stack_policy_table *new)
{
	const struct stack_policy_table *profile;
	unsigned int words = 0;
	char *word, *value;
	int class;

	while ((word = strsep(&text, " \t\n,"))) {
		if (!*word)
			continue;
		words++;
		profile = find_profile(word);
		if (profile) {
			*new = *profile;
			continue;
		}
		value = strchr(word, '=');
		if (!value)
			return -EINVAL;
		*value++ = '\0';
		class = match_string(class_names, STACK_CLASS_MAX, word);
		if (class < 0 || parse_row(value, class, &new->row[class]))
			return -EINVAL;
	}
	return words ? 0 : -EINVAL;
}

static void format_table(char *text, size_t size)
{
	struct stack_policy_table now;
	size_t len = 0;
	int class;

	spin_lock(&table_lock);
	now = table;
	spin_unlock(&table_lock);
	for (class = 0; class < STACK_CLASS_MAX; class++) {
		struct stack_policy_entry row = now.row[class];

		len += scnprintf(text + len, size - len, "%s%s=%u/%u%s%s",
				 class ? " " : "", class_names[class],
				 row.populate_kb, row.limit_kb, row.sleepers ? "/" : "",
				 row.sleepers ? sleepers_names[row.sleepers] : "");
	}
}

/* The profile that the table in force is equal to. */
static const char *profile_name(void)
{
	const char *name = "custom";
	unsigned int i;

	spin_lock(&table_lock);
	for (i = 0; i < ARRAY_SIZE(profiles); i++) {
		if (!memcmp(&table, profiles[i].table, sizeof(table)))
			name = profiles[i].name;
	}
	spin_unlock(&table_lock);
	return name;
}

/* All or nothing. Destroys @text. */
static int update_table(char *text)
{
	struct stack_policy_table new;
	int class, ret;

	spin_lock(&table_lock);
	new = table;
	ret = parse_table(text, &new);
	for (class = 0; class < STACK_CLASS_MAX && !ret; class++)
		WRITE_ONCE(table.row[class], new.row[class]);
	spin_unlock(&table_lock);
	return ret;
}

/* The second door to the table, for the BPF map. */
int stack_policy_set_row(enum stack_class class, const struct stack_policy_entry *row)
{
	if (!row_valid(class, row))
		return -EINVAL;
	spin_lock(&table_lock);
	WRITE_ONCE(table.row[class], normal_row(*row));
	spin_unlock(&table_lock);
	return 0;
}

const struct stack_policy_entry *stack_policy_row(enum stack_class class)
{
	return &table.row[class];
}

/* Interrupt stacks are no threads': nothing is counted, all of it is there. */
static void sum_irq_stacks(struct stack_policy_stats *sum)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu) {
		unsigned int used = stack_policy_irq_used(cpu);

		sum->threads++;
		sum->mapped_kb += RESERVE_KB;
		if (used)
			sum->high_water_kb[(used - 1) / 1024]++;
	}
}

/* Not a snapshot: other CPUs go on counting. */
void stack_policy_sum_stats(enum stack_class class, struct stack_policy_stats *sum)
{
	long threads = 0, pages = 0, retained = 0, uncharged = 0;
	int cpu, i;

	*sum = (struct stack_policy_stats){};
	for_each_possible_cpu(cpu) {
		const struct kstack_stats *s = per_cpu_ptr(&stats[class], cpu);

		threads			+= READ_ONCE(s->stacks);
		pages			+= READ_ONCE(s->pages);
		uncharged		+= READ_ONCE(s->pages) - READ_ONCE(s->charged);
		sum->grows_ensure	+= READ_ONCE(s->grows[KSTACK_ENSURE]);
		sum->grows_fault	+= READ_ONCE(s->grows[KSTACK_FAULT]) +
					   READ_ONCE(s->grows[KSTACK_FAULT_DEEP]);
		sum->grows_fault_deep	+= READ_ONCE(s->grows[KSTACK_FAULT_DEEP]);
		sum->grows_class	+= READ_ONCE(s->grows[KSTACK_CLASS]);
		sum->failed_nomem	+= READ_ONCE(s->failed_nomem);
		sum->failed_limit	+= READ_ONCE(s->failed_limit);
		for (i = 0; i < KSTACK_DEPTHS; i++)
			sum->exit_depth_kb[i] += READ_ONCE(s->depth[i]);

		uncharged		+= READ_ONCE(s->retained);
		sum->trims_excess	+= READ_ONCE(s->trims[KSTACK_EXCESS]);
		sum->trims_cold		+= READ_ONCE(s->trims[KSTACK_COLD]);
		retained		+= READ_ONCE(s->retained);
		sum->reclaimed_kb	+= READ_ONCE(s->reclaimed) * PAGE_KB;
		sum->restored_kb	+= READ_ONCE(s->restored) * PAGE_KB;
		sum->replaced_kb	+= READ_ONCE(s->replaced) * PAGE_KB;
		sum->late_starts	+= READ_ONCE(s->late_starts);
		for (i = 0; i < KSTACK_DELAYS; i++)
			sum->late_us[i]	+= READ_ONCE(s->late[i]);
	}
	stack_policy_sum_depths(class, sum);
	/*
	 * A stack may have moved between the counters, and between the CPUs that
	 * count it: seen to go and not to come.
	 */
	sum->threads = max(threads, 0L);
	sum->mapped_kb = max(pages, 0L) * PAGE_KB;
	sum->retained_kb = max(retained, 0L) * PAGE_KB;
	sum->uncharged_kb = max(uncharged, 0L) * PAGE_KB;
	if (class == STACK_CLASS_IRQ)
		sum_irq_stacks(sum);
}

static enum stack_class classify(const struct kernel_clone_args *args)
{
	if (args->kthread)
		return current->stack_class_fork ?: STACK_CLASS_KTHREAD;
	if (args->io_thread || args->user_worker)
		return STACK_CLASS_USER_WORKER;
	return STACK_CLASS_TASK;
}

static void join_wanted_class(struct callback_head *head);

int stack_policy_alloc(struct task_struct *tsk, int node,
		       const struct kernel_clone_args *args)
{
	enum stack_class class = classify(args);
	struct stack_policy_entry row = row_here(class);

	/* It may be in any state. */
	if (args->idle)
		row = full_row;
	tsk->stack_class = class;
	tsk->stack_class_wanted = class;
	tsk->stack_class_queued = false;
	init_task_work(&tsk->stack_class_work, join_wanted_class);
	tsk->stack_class_fork = 0;
	return kstack_alloc(tsk, node, kstack_size(row), &stats[class]);
}

/*
 * Before there is a reserve threads are fully populated. Give @task, which may be one of
 * these, what its class gets. Not where that is said to be full: the worker that fills the
 * reserve is such a thread, and may not need it, whatever stack_policy= has made of that row.
 *
 * Return: false if it has to be tried again.
 */
bool stack_policy_settle(struct task_struct *task)
{
	struct stack_policy_entry row = read_row(task->stack_class);
	struct stack_policy_entry builtin = default_table.row[task->stack_class];

	if (builtin.populate_kb == RESERVE_KB ||
	    READ_ONCE(task->kstack->populate) < THREAD_SIZE)
		return true;
	if (!kstack_resize(task, kstack_size(row)))
		return false;
	stack_policy_watch(task->kstack, task->nvcsw);
	return true;
}

void stack_policy_account_exit(struct task_struct *tsk)
{
	kstack_account_exit(tsk->kstack);
}

void stack_policy_free(struct task_struct *tsk)
{
	kstack_free(tsk->kstack);
	tsk->kstack = NULL;
	tsk->stack = NULL;
	tsk->stack_vm_area = NULL;
}

void stack_policy_kthread_flags(unsigned int flags)
{
	current->stack_class_fork =
		flags & KTHREAD_BIG_STACK ? STACK_CLASS_KTHREAD_BIG : 0;
}

struct task_struct *kthread_create_flags_on_node(int (*threadfn)(void *data),
						 void *data, unsigned int flags,
						 int node,
						 const char namefmt[], ...)
{
	struct task_struct *task;
	va_list args;
	char *name;

	if (flags & ~KTHREAD_BIG_STACK)
		return ERR_PTR(-EINVAL);

	va_start(args, namefmt);
	name = kvasprintf(GFP_KERNEL, namefmt, args);
	va_end(args);
	if (!name)
		return ERR_PTR(-ENOMEM);

	stack_policy_kthread_flags(flags);
	task = kthread_create_on_node(threadfn, data, node, "%s", name);
	stack_policy_kthread_flags(0);
	kfree(name);
	return task;
}
EXPORT_SYMBOL_GPL(kthread_create_flags_on_node);

static int join_class(enum stack_class class, gfp_t gfp)
{
	struct stack_policy_entry row = row_here(class);
	u8 old = current->stack_class;
	int ret;

	might_sleep();
	if (old == class)
		return 0;
	ret = kstack_populate_current(kstack_size(row), gfp, &stats[class]);
	if (ret)
		return ret;
	current->stack_class = class;
	trace_stack_class_change(old, class, kstack_mapped(current->kstack));
	return 0;
}

int stack_policy_set_class(enum stack_class class)
{
	return join_class(class, THREADINFO_GFP);
}
EXPORT_SYMBOL_GPL(stack_policy_set_class);

/* One that a user thread can be told to be in: what the thread is does not depend on it. */
static bool can_be_wanted(enum stack_class class)
{
	return class == STACK_CLASS_TASK || class == STACK_CLASS_TASK_BIG;
}

/* task_work: current is on its way to user mode, or exits. It can do without. */
static void join_wanted_class(struct callback_head *head)
{
	u8 wanted;

	/* First: what is wanted from here on is queued again. */
	xchg(&current->stack_class_queued, false);
	/* It may have become a vCPU's meanwhile. */
	if (current->flags & PF_EXITING || !can_be_wanted(current->stack_class))
		return;
	wanted = READ_ONCE(current->stack_class_wanted);
	/* Nobody is killed for it, and it is not tried again. */
	if (join_class(wanted, THREADINFO_GFP | __GFP_NORETRY | __GFP_NOWARN))
		cmpxchg(&current->stack_class_wanted, wanted, current->stack_class);
	else if (kstack_mapped(current->kstack) > current->kstack->populate)
		kstack_trim_soon(current->kstack);
}

/*
 * Have @task join @class by itself, on its way to user mode: there it can allocate the
 * memory, and is charged for it. A new thread comes by there before anything else. Any
 * context.
 */
int stack_policy_want_class(struct task_struct *task, enum stack_class class)
{
	if (!can_be_wanted(class))
		return -EINVAL;
	if (task->flags & PF_KTHREAD || !can_be_wanted(READ_ONCE(task->stack_class)))
		return -EOPNOTSUPP;
	WRITE_ONCE(task->stack_class_wanted, class);
	if (xchg(&task->stack_class_queued, true))
		return 0;
	if (task_work_add(task, &task->stack_class_work, TWA_NONE)) {
		WRITE_ONCE(task->stack_class_queued, false);
		return -ESRCH;
	}
	set_tsk_thread_flag(task, TIF_NOTIFY_RESUME);
	return 0;
}

int stack_policy_ensure(size_t bytes, gfp_t gfp)
{
	unsigned long sp = current_stack_pointer;
	struct kstack *ks = current->kstack;
	unsigned long from, to;
	int ret;

	if (!on_thread_stack())
		return bytes <= stack_policy_remaining() ? 0 : -EOVERFLOW;
	if (!ks)
		return -EOVERFLOW;
	from = kstack_mapped(ks);
	/* Past the end of the span is past every limit. */
	to = bytes < sp ? (sp - bytes) & PAGE_MASK : 0;
	ret = kstack_grow(ks, to, gfp, KSTACK_ENSURE);
	trace_stack_grow(current->stack_class, bytes, from, kstack_mapped(ks), ret,
			 _RET_IP_);
	return ret;
}
EXPORT_SYMBOL_GPL(stack_policy_ensure);

unsigned long stack_policy_limit(const struct task_struct *tsk)
{
	return tsk->kstack ? READ_ONCE(tsk->kstack->limit) : THREAD_SIZE;
}

/* A thread that has joined a class of a smaller limit may have been deeper before. */
unsigned long stack_policy_not_used(const struct task_struct *tsk)
{
	unsigned long limit = stack_policy_limit(tsk);

	return limit - min(limit, kstack_high_water(tsk->kstack));
}

void *stack_policy_find_page(const struct page *page)
{
	return current->kstack ? kstack_find_page(current->kstack, page) : NULL;
}

void stack_policy_record_trim(const struct kstack *ks, enum kstack_trim what,
			      unsigned int pages)
{
	trace_stack_trim(ks->task->pid, READ_ONCE(ks->task->stack_class), what,
			 pages * PAGE_SIZE, kstack_mapped(ks));
}

void stack_policy_record_reclaim(unsigned long stacks, unsigned long pages)
{
	trace_stack_reclaim(stacks, pages * PAGE_SIZE);
}

void stack_policy_record_late(const struct kstack *ks, u64 usecs)
{
	trace_stack_late(ks->task->pid, READ_ONCE(ks->task->stack_class), usecs,
			 ks->task->comm);
}

/* Does a stack that overflows to @bytes need more than a stock kernel gives? */
bool stack_policy_is_deep(unsigned long bytes)
{
	return bytes > READ_ONCE(warn_kb) * 1024UL;
}

/* A deep one. */
bool stack_policy_may_survive(void)
{
	return !READ_ONCE(overflow_panics);
}

/* What user space sees. */

int stack_policy_proc_show(struct seq_file *m, struct pid_namespace *ns,
			   struct pid *pid, struct task_struct *tsk)
{
	unsigned long high;
	struct kstack *ks;

	if (!try_get_task_stack(tsk))
		return -ESRCH;
	ks = tsk->kstack;
	if (!ks) {
		put_task_stack(tsk);
		return -ESRCH;
	}
	seq_printf(m, "class: %s\n", class_names[READ_ONCE(tsk->stack_class)]);
	seq_printf(m, "populate_kb: %u\n", READ_ONCE(ks->populate) / 1024);
	seq_printf(m, "limit_kb: %u\n", READ_ONCE(ks->limit) / 1024);
	seq_printf(m, "mapped_kb: %lu\n", kstack_mapped(ks) / 1024);
	/* To the byte it would tell what randomize_kstack_offset has added. */
	high = kstack_high_water(ks);
	if (!file_ns_capable(m->file, &init_user_ns, CAP_SYS_ADMIN))
		high = round_up(high, 1024);
	seq_printf(m, "high_water_bytes: %lu\n", high);
	seq_printf(m, "grows_ensure: %u\n", READ_ONCE(ks->grows[KSTACK_ENSURE]));
	seq_printf(m, "grows_fault: %u\n", kstack_faults(ks));
	seq_printf(m, "grows_fault_deep: %u\n", READ_ONCE(ks->grows[KSTACK_FAULT_DEEP]));
	seq_printf(m, "grows_class: %u\n", READ_ONCE(ks->grows[KSTACK_CLASS]));
	seq_printf(m, "trims_excess: %u\n", READ_ONCE(ks->trims[KSTACK_EXCESS]));
	seq_printf(m, "trims_cold: %u\n", READ_ONCE(ks->trims[KSTACK_COLD]));
	seq_printf(m, "late_starts: %u\n", READ_ONCE(ks->late_starts));
	put_task_stack(tsk);
	return 0;
}

static int table_handler(const struct ctl_table *ctl, int write, void *buffer,
			 size_t *lenp, loff_t *ppos)
{
	char text[TABLE_TEXT_MAX] = "";
	struct ctl_table tmp = { .data = text, .maxlen = sizeof(text) };
	int ret;

	if (!write) {
		format_table(text, sizeof(text));
		return proc_dostring(&tmp, write, buffer, lenp, ppos);
	}
	/*
	 * All of it or nothing: a longer text, a later part of one, or what
	 * proc_dostring() makes of several lines would be half a table.
	 */
	if (*lenp >= sizeof(text) || *ppos || memchr(buffer, '\0', *lenp))
		return -EINVAL;
	memcpy(text, buffer, *lenp);
	ret = update_table(text);
	if (!ret)
		*ppos += *lenp;
	return ret;
}

static int profile_handler(const struct ctl_table *ctl, int write, void *buffer,
			   size_t *lenp, loff_t *ppos)
{
	char text[16];
	struct ctl_table tmp = { .data = text, .maxlen = sizeof(text) };

	strscpy(text, profile_name());
	return proc_dostring(&tmp, write, buffer, lenp, ppos);
}

static int overflow_handler(const struct ctl_table *ctl, int write, void *buffer,
			    size_t *lenp, loff_t *ppos)
{
	static const char * const actions[] = { "survive", "panic" };
	char text[16] = "";
	struct ctl_table tmp = { .data = text, .maxlen = sizeof(text) };
	int ret;

	if (!write) {
		strscpy(text, actions[READ_ONCE(overflow_panics)]);
		return proc_dostring(&tmp, write, buffer, lenp, ppos);
	}
	if (*lenp >= sizeof(text) || *ppos || memchr(buffer, '\0', *lenp))
		return -EINVAL;
	memcpy(text, buffer, *lenp);
	ret = sysfs_match_string(actions, text);
	if (ret < 0)
		return ret;
	WRITE_ONCE(overflow_panics, ret);
	*ppos += *lenp;
	return 0;
}

static const unsigned int warn_kb_max = RESERVE_KB;

static struct ctl_table stack_policy_sysctls[] = {
	{
		.procname	= "stack_policy",
		.mode		= 0644,
		.proc_handler	= table_handler,
	},
	{
		.procname	= "stack_policy_profile",
		.mode		= 0444,
		.proc_handler	= profile_handler,
	},
	{
		.procname	= "stack_policy_overflow",
		.mode		= 0644,
		.proc_handler	= overflow_handler,
	},
	{
		.procname	= "stack_policy_warn_kb",
		.data		= &warn_kb,
		.maxlen		= sizeof(warn_kb),
		.mode		= 0644,
		.proc_handler	= proc_douintvec_minmax,
		.extra1		= SYSCTL_ZERO,
		.extra2		= (void *)&warn_kb_max,
	},
};

static int __init stack_policy_boot_table(char *text)
{
	char buf[TABLE_TEXT_MAX];

	if (strscpy(buf, text) < 0 || update_table(buf))
		pr_warn("boot parameter \"%s\" is not valid, ignored\n", text);
	return 1;
}
__setup("stack_policy=", stack_policy_boot_table);

/* Before the first fork. */
void __init stack_policy_init(void)
{
	if (IS_ENABLED(CONFIG_PREEMPT_RT))
		always_full = "PREEMPT_RT refills the reserve in a thread, which may be late";
	else
		always_full = arch_stack_policy_cannot_grow();
	kstack_init();
	/* The first task has the stack that it was linked with. */
	current->stack_low = (unsigned long)task_stack_page(current);
}

static int __init stack_policy_late_init(void)
{
	register_sysctl_init("kernel", stack_policy_sysctls);
	if (always_full)
		pr_info("all stacks are fully populated: %s\n", always_full);
	return 0;
}
early_initcall(stack_policy_late_init);

#if IS_ENABLED(CONFIG_STACK_POLICY_KUNIT_TEST)
#include "stack_policy_test.c"
#endif
