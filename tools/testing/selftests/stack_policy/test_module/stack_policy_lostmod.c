// SPDX-License-Identifier: GPL-2.0
/*
 * Where a CPU takes no interrupt any more, what an interrupt is to make up for
 * gets lost. Go there: debugfs "stack_policy_lost/deep" and "strand" take the name
 * of a kernel function, which the next CPU to call it finds a probe in, once.
 * Reading gives how often that has been. "deep" overflows the stack there;
 * "strand" leaves somebody else's irq_work on the CPU's list.
 */
#define pr_fmt(fmt) "stack_policy_lostmod: " fmt

#include <linux/atomic.h>
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/irq_work.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/ptrace.h>
#include <linux/sched/task_stack.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#define FRAME_WORDS	40
#define DEEP		(THREAD_SIZE - 8192)	/* bytes of stack, from its top */

struct lost {
	struct kprobe	probe;
	char		symbol[64];
	atomic_t	armed;
	unsigned int	hits;
	bool		registered;
};

static struct dentry *dir;
/* Of the writer. */
static DEFINE_MUTEX(lock);

static void stranded_fn(struct irq_work *work)
{
}
static DEFINE_IRQ_WORK(stranded, stranded_fn);

static noinline unsigned long recurse(unsigned long frame)
{
	volatile unsigned long pattern[FRAME_WORDS];
	unsigned long top = (unsigned long)task_stack_page(current) + THREAD_SIZE;
	unsigned int i;

	for (i = 0; i < FRAME_WORDS; i++)
		pattern[i] = frame;
	return top - current_stack_pointer < DEEP ? recurse(frame + 1) + pattern[frame % 8] : 0;
}

static bool armed_here(struct lost *lost, const struct pt_regs *regs)
{
	/* With interrupts on is not where they get lost. */
	return !(regs->flags & X86_EFLAGS_IF) && atomic_cmpxchg(&lost->armed, 1, 0);
}

static int go_deep(struct kprobe *probe, struct pt_regs *regs)
{
	struct lost *lost = container_of(probe, struct lost, probe);

	if (armed_here(lost, regs)) {
		recurse(0);
		lost->hits++;
	}
	return 0;
}

static int strand(struct kprobe *probe, struct pt_regs *regs)
{
	struct lost *lost = container_of(probe, struct lost, probe);

	if (armed_here(lost, regs)) {
		irq_work_queue(&stranded);
		lost->hits++;
	}
	return 0;
}

static struct lost deep = { .probe.pre_handler = go_deep };
static struct lost left = { .probe.pre_handler = strand };

static void disarm(struct lost *lost)
{
	if (lost->registered)
		unregister_kprobe(&lost->probe);
	lost->registered = false;
	/* A probe is registered once; what this one was is not to be seen. */
	lost->probe.addr = NULL;
	lost->probe.flags = 0;
}

static ssize_t lost_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	struct lost *lost = ((struct seq_file *)file->private_data)->private;
	char text[sizeof(lost->symbol)] = "";
	int ret;

	if (len >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, buf, len))
		return -EFAULT;
	guard(mutex)(&lock);
	disarm(lost);
	strscpy(lost->symbol, strim(text));
	lost->probe.symbol_name = lost->symbol;
	atomic_set(&lost->armed, 1);
	ret = register_kprobe(&lost->probe);
	lost->registered = !ret;
	return ret ?: len;
}

static int lost_show(struct seq_file *m, void *v)
{
	struct lost *lost = m->private;

	seq_printf(m, "hits: %u\nqueued: %u\n", lost->hits, irq_work_is_pending(&stranded));
	return 0;
}
DEFINE_SHOW_STORE_ATTRIBUTE(lost);

static int __init lostmod_init(void)
{
	dir = debugfs_create_dir("stack_policy_lost", NULL);
	debugfs_create_file("deep", 0600, dir, &deep, &lost_fops);
	debugfs_create_file("strand", 0600, dir, &left, &lost_fops);
	return 0;
}

static void __exit lostmod_exit(void)
{
	debugfs_remove(dir);
	disarm(&deep);
	disarm(&left);
	irq_work_sync(&stranded);
}

module_init(lostmod_init);
module_exit(lostmod_exit);
MODULE_DESCRIPTION("Helper of the stack_policy selftest recover_test");
MODULE_LICENSE("GPL");
