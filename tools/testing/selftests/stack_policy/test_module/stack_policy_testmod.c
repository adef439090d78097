// SPDX-License-Identifier: GPL-2.0
/*
 * What stack_policy_test cannot do from user space, in debugfs below
 * "stack_policy_test": use and ask for stack on the writer's own stack, count
 * a thread's stack pages in the page tables, make big kthreads.
 */
#define pr_fmt(fmt) "stack_policy_testmod: " fmt

#include <linux/completion.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/irq_work.h>
#include <linux/irqflags.h>
#include <linux/kstack.h>
#include <linux/kthread.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/module.h>
#include <linux/objtool.h>
#include <linux/nodemask.h>
#include <linux/pid.h>
#include <linux/platform_device.h>
#include <linux/random.h>
#include <linux/sched/task.h>
#include <linux/sched/task_stack.h>
#include <linux/slab.h>
#include <linux/stack_policy.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include <asm/asm.h>

#define FRAME_WORDS	40
#define BIG_MAX		4096
#define CLOSED_US	1000
#define CHARGED		256	/* pages */
#define NAP_MORE	4096
#define NAP_ROOM	2048	/* what it takes to sleep */

static struct dentry *dir;

static bool block_until_signal(void)
{
	while (!signal_pending(current)) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (!signal_pending(current))
			schedule();
		__set_current_state(TASK_RUNNING);
	}
	return true;
}

/*
 * Frames with a pattern until SP is below @to; then @at_bottom. False if a frame is
 * not what it was on the way back.
 */
static noinline bool recurse(unsigned long frame, unsigned long to, bool (*at_bottom)(void))
{
	volatile unsigned long pattern[FRAME_WORDS];
	unsigned long seed = frame * 0x10001UL + (unsigned long)current;
	bool ok = true;
	unsigned int i;

	for (i = 0; i < FRAME_WORDS; i++)
		pattern[i] = seed + i;
	if (current_stack_pointer > to)
		ok = recurse(frame + 1, to, at_bottom);
	else if (at_bottom)
		ok = at_bottom();
	for (i = 0; i < FRAME_WORDS; i++)
		ok &= pattern[i] == seed + i;
	return ok;
}

/* Until @bytes of the thread's stack are in use, counted from its top. */
static bool use_stack(unsigned long frame, size_t bytes, bool (*at_bottom)(void))
{
	return recurse(frame, (unsigned long)task_stack_page(current) + THREAD_SIZE - bytes,
		       at_bottom);
}

/*
 * The page tables' answer, not the counters'. The stack need not be pinned:
 * only its address is used, and vmalloc page tables stay.
 */
static int stack_pages(struct task_struct *task)
{
	void *stack = READ_ONCE(task->stack);
	unsigned long offset;
	int n = 0;

	if (!stack)
		return -ESRCH;
	for (offset = 0; offset < THREAD_SIZE; offset += PAGE_SIZE)
		n += !!vmalloc_to_page(stack + offset);
	return n;
}

/* kB that were mapped when the last writer was through, before it gave them back. */
static u64 mapped_kb;

static int mapped_get(void *data, u64 *val)
{
	*val = mapped_kb;
	return 0;
}

static void note_mapped(void)
{
	mapped_kb = stack_pages(current) * PAGE_SIZE / 1024;
}

/* The reason of an -EIO, which whoever writes cannot know. */
static int frames_result(bool ok)
{
	if (!ok)
		pr_err("%s[%d]: a frame is not what it was\n", current->comm, current->pid);
	return ok ? 0 : -EIO;
}

static int recurse_set(void *data, u64 bytes)
{
	bool ok = use_stack(0, bytes, NULL);

	note_mapped();
	return frames_result(ok);
}
DEFINE_DEBUGFS_ATTRIBUTE(recurse_fops, mapped_get, recurse_set, "%llu\n");

/* And stay there until a signal comes. */
static int block_set(void *data, u64 bytes)
{
	return frames_result(use_stack(0, bytes, block_until_signal));
}
DEFINE_DEBUGFS_ATTRIBUTE(block_fops, NULL, block_set, "%llu\n");

/* An interrupt that needs so much, on the stack of interrupts. */
static struct {
	struct irq_work	work;
	size_t		bytes;
	int		ret;
} interrupt;

static void interrupt_fn(struct irq_work *work)
{
	unsigned long sp = current_stack_pointer;

	if (sp - (unsigned long)task_stack_page(current) < THREAD_SIZE)
		interrupt.ret = -EAGAIN;
	else
		interrupt.ret = recurse(0, sp - interrupt.bytes, NULL) ? 0 : -EIO;
}

static int interrupt_set(void *data, u64 bytes)
{
	if (bytes > IRQ_STACK_SIZE)
		return -EINVAL;
	init_irq_work(&interrupt.work, interrupt_fn);
	interrupt.bytes = bytes;
	irq_work_queue(&interrupt.work);
	irq_work_sync(&interrupt.work);
	return interrupt.ret;
}
DEFINE_DEBUGFS_ATTRIBUTE(interrupt_fops, NULL, interrupt_set, "%llu\n");

static int ensure_set(void *data, u64 bytes)
{
	int ret = stack_ensure(bytes, GFP_KERNEL);

	note_mapped();
	return ret;
}
DEFINE_DEBUGFS_ATTRIBUTE(ensure_fops, mapped_get, ensure_set, "%llu\n");

/* Ask for it, then use it. */
static int deep_set(void *data, u64 bytes)
{
	return stack_ensure(bytes, GFP_KERNEL) ?: recurse_set(data, bytes);
}
DEFINE_DEBUGFS_ATTRIBUTE(deep_fops, mapped_get, deep_set, "%llu\n");

/* A page more, and stay there until a signal comes. */
static int hold_set(void *data, u64 bytes)
{
	return stack_ensure(bytes + PAGE_SIZE, GFP_KERNEL) ?: block_set(data, bytes);
}
DEFINE_DEBUGFS_ATTRIBUTE(hold_fops, NULL, hold_set, "%llu\n");

#ifdef CONFIG_MEMCG
static bool is_charged(unsigned long addr)
{
	return PageMemcgKmem(vmalloc_to_page((void *)addr));
}

static DECLARE_COMPLETION(grown);

/* Grow while working for @memcg: a kernel thread's stack is nobody's all the same. */
static int grow_for_fn(void *memcg)
{
	struct mem_cgroup *old = set_active_memcg(memcg);
	int ret = stack_ensure(16000, GFP_KERNEL);

	set_active_memcg(old);
	if (!ret && is_charged(current->stack_low)) {
		pr_err("a kernel thread's page is charged to the group it works for\n");
		ret = -EIO;
	}
	complete(&grown);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return ret;
}

/* For the writer's memcg, which pays for the writer's own stack only. */
static int grow_for_set(void *data, u64 unused)
{
	struct mem_cgroup *memcg = get_mem_cgroup_from_mm(current->mm);
	struct task_struct *task = kthread_run(grow_for_fn, memcg, "testmod-grow");
	int ret;

	if (IS_ERR(task)) {
		mem_cgroup_put(memcg);
		return PTR_ERR(task);
	}
	wait_for_completion(&grown);
	ret = kthread_stop(task) ?: stack_ensure(16000, GFP_KERNEL);
	if (!ret && !is_charged(current->stack_low)) {
		pr_err("a page of the writer's stack is charged to nobody\n");
		ret = -EIO;
	}
	mem_cgroup_put(memcg);
	return ret;
}
DEFINE_DEBUGFS_ATTRIBUTE(grow_for_fops, NULL, grow_for_set, "%llu\n");
#endif

/* Memory that the writer's group is charged for, which reclaims as much. */
static bool charge_pages(void)
{
	struct page *page, *pages = NULL;
	unsigned int nr = 0;

	while (nr < CHARGED && (page = alloc_page(GFP_KERNEL_ACCOUNT))) {
		page->private = (unsigned long)pages;
		pages = page;
		nr++;
	}
	while ((page = pages)) {
		pages = (struct page *)page->private;
		page->private = 0;
		__free_page(page);
	}
	return nr == CHARGED;
}

/* Somebody down there who does not know what an allocation takes. */
static int charge_set(void *data, u64 bytes)
{
	return use_stack(0, bytes, charge_pages) ? 0 : -ENOMEM;
}
DEFINE_DEBUGFS_ATTRIBUTE(charge_fops, NULL, charge_set, "%llu\n");

/* Sleep, and right after that need more. */
static bool nap(void)
{
	msleep_interruptible(1 + get_random_u32_below(20));
	if (stack_ensure(NAP_MORE, GFP_KERNEL))
		return true;
	return recurse(1, current_stack_pointer - NAP_MORE / 2, NULL);
}

/* Down there, on pages that are there. */
static int nap_set(void *data, u64 bytes)
{
	int ret = stack_ensure(bytes + NAP_ROOM, GFP_KERNEL);

	return ret ?: frames_result(use_stack(0, bytes, nap));
}
DEFINE_DEBUGFS_ATTRIBUTE(nap_fops, NULL, nap_set, "%llu\n");

/* Ask for it, sleep until a signal comes, then use it. */
static int later_set(void *data, u64 bytes)
{
	int ret = stack_ensure(bytes, GFP_KERNEL);

	if (ret)
		return ret;
	block_until_signal();
	return recurse_set(data, bytes);
}
DEFINE_DEBUGFS_ATTRIBUTE(later_fops, mapped_get, later_set, "%llu\n");

/* Load a byte from @from with SP at @sp. Return: 0, or -EFAULT by the fixup. */
static noinline int load_at(unsigned long sp, const char *from)
{
	unsigned long saved;
	int err = -EFAULT;
	char byte;

	asm volatile("mov %%rsp, %[saved]\n\t"
		     "mov %[sp], %%rsp\n"
		     "1:\tmovb (%[from]), %[byte]\n\t"
		     "xor %[err], %[err]\n"
		     "2:\tmov %[saved], %%rsp\n"
		     _ASM_EXTABLE(1b, 2b)
		     : [saved] "=&r" (saved), [byte] "=&q" (byte), [err] "+r" (err)
		     : [sp] "r" (sp), [from] "r" (from)
		     : "memory", "cc");
	return err;
}
STACK_FRAME_NON_STANDARD(load_at);

/* A page of user space, plus how many bytes above the lowest mapped one SP is. */
static int edge_set(void *data, u64 val)
{
	const char *user = (const char *)(val & PAGE_MASK);
	int ret;

	if (!access_ok((const char __user *)user, 1))
		return -EINVAL;
	__uaccess_begin();
	ret = load_at(current->stack_low + (val & ~PAGE_MASK), user);
	__uaccess_end();
	return ret;
}
DEFINE_DEBUGFS_ATTRIBUTE(edge_fops, NULL, edge_set, "%llu\n");

/* Let interrupts in with SP at @sp. */
static noinline void open_window(unsigned long sp)
{
	unsigned long saved;

	asm volatile("mov %%rsp, %[saved]\n\t"
		     "mov %[sp], %%rsp\n\t"
		     "sti\n\t"
		     "nop\n\t"
		     "nop\n\t"
		     "cli\n\t"
		     "mov %[saved], %%rsp"
		     : [saved] "=&r" (saved)
		     : [sp] "r" (sp)
		     : "memory", "cc");
}
STACK_FRAME_NON_STANDARD(open_window);

/*
 * Keep interrupts out for so long that one is waiting, then let it in with SP
 * that many bytes above the lowest mapped one.
 */
static int window_set(void *data, u64 offset)
{
	if (offset >= PAGE_SIZE)
		return -EINVAL;
	preempt_disable();
	local_irq_disable();
	udelay(CLOSED_US);
	trace_hardirqs_on();
	open_window(current->stack_low + offset);
	trace_hardirqs_off();
	local_irq_enable();
	preempt_enable();
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(window_fops, NULL, window_set, "%llu\n");

/* Read, with a fixup, at an offset in the writer's span. */
static int peek_set(void *data, u64 offset)
{
	if (offset >= THREAD_SIZE)
		return -EINVAL;
	return load_at(current_stack_pointer, task_stack_page(current) + offset);
}
DEFINE_DEBUGFS_ATTRIBUTE(peek_fops, NULL, peek_set, "%llu\n");

/* The value written last is a pid; reading gives its pages. */
static int pages_set(void *data, u64 pid)
{
	*(u64 *)data = pid;
	return 0;
}

static int pages_get(void *data, u64 *val)
{
	struct pid *pid = find_get_pid(*(u64 *)data);
	struct task_struct *task = get_pid_task(pid, PIDTYPE_PID);
	int n;

	put_pid(pid);
	if (!task)
		return -ESRCH;
	n = stack_pages(task);
	put_task_struct(task);
	*val = n;
	return n < 0 ? n : 0;
}
static u64 pages_pid;
DEFINE_DEBUGFS_ATTRIBUTE(pages_fops, pages_get, pages_set, "%llu\n");

static int sleep_fn(void *data)
{
	set_current_state(TASK_INTERRUPTIBLE);
	while (!kthread_should_stop()) {
		schedule();
		set_current_state(TASK_INTERRUPTIBLE);
	}
	__set_current_state(TASK_RUNNING);
	return 0;
}

static bool all_on(const struct task_struct *task, int node)
{
	unsigned long offset;

	for (offset = 0; offset < THREAD_SIZE; offset += PAGE_SIZE) {
		if (page_to_nid(vmalloc_to_page(task->stack + offset)) != node)
			return false;
	}
	return true;
}

/*
 * Make that many big kthreads at once and stop them. Reading gives how many
 * there were in the last round, which ends with the first that failed.
 */
static u64 big_made;

static int make_big(u64 wanted, int node)
{
	struct task_struct **tasks;
	int ret = 0;
	u64 i;

	if (wanted > BIG_MAX)
		return -EINVAL;
	tasks = kvcalloc(wanted, sizeof(*tasks), GFP_KERNEL);
	if (!tasks)
		return -ENOMEM;
	for (i = 0; i < wanted; i++) {
		tasks[i] = kthread_create_flags_on_node(sleep_fn, NULL, KTHREAD_BIG_STACK,
							node, "testmod-big/%llu", i);
		if (IS_ERR(tasks[i])) {
			ret = PTR_ERR(tasks[i]);
			break;
		}
		wake_up_process(tasks[i]);
		if (stack_pages(tasks[i]) != THREAD_SIZE / PAGE_SIZE) {
			pr_err("a big kthread without all its pages\n");
			ret = -EIO;
		} else if (node != NUMA_NO_NODE && !all_on(tasks[i], node)) {
			pr_err("a page of big kthread %llu is not on node %d\n", i, node);
			ret = -EXDEV;
		}
	}
	big_made = i;
	while (i--)
		kthread_stop(tasks[i]);
	kvfree(tasks);
	return ret;
}

static int big_set(void *data, u64 wanted)
{
	return make_big(wanted, NUMA_NO_NODE);
}

/* Ten on that node. */
static int big_on_node_set(void *data, u64 node)
{
	return node < MAX_NUMNODES && node_online(node) ? make_big(10, node) : -EINVAL;
}
DEFINE_DEBUGFS_ATTRIBUTE(big_on_node_fops, NULL, big_on_node_set, "%llu\n");

static int big_get(void *data, u64 *val)
{
	*val = big_made;
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(big_fops, big_get, big_set, "%llu\n");

/* As a broken driver does: the page of its own frame, for a device to read. */
static int dma_set(void *data, u64 unused)
{
	struct platform_device *pdev =
		platform_device_register_simple("stack_policy_test", PLATFORM_DEVID_NONE,
						NULL, 0);
	struct page *page = vmalloc_to_page((void *)current_stack_pointer);
	dma_addr_t addr;
	int ret;

	if (IS_ERR(pdev))
		return PTR_ERR(pdev);
	ret = dma_coerce_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (!ret) {
		addr = dma_map_page(&pdev->dev, page, 0, 64, DMA_TO_DEVICE);
		ret = dma_mapping_error(&pdev->dev, addr);
		if (!ret)
			dma_unmap_page(&pdev->dev, addr, 64, DMA_TO_DEVICE);
	}
	platform_device_unregister(pdev);
	return ret;
}
DEFINE_DEBUGFS_ATTRIBUTE(dma_fops, NULL, dma_set, "%llu\n");

static int __init testmod_init(void)
{
	dir = debugfs_create_dir("stack_policy_test", NULL);
	debugfs_create_file("recurse", 0600, dir, NULL, &recurse_fops);
	debugfs_create_file("block", 0200, dir, NULL, &block_fops);
	debugfs_create_file("interrupt", 0200, dir, NULL, &interrupt_fops);
	debugfs_create_file("ensure", 0600, dir, NULL, &ensure_fops);
	debugfs_create_file("deep", 0600, dir, NULL, &deep_fops);
	debugfs_create_file("charge", 0200, dir, NULL, &charge_fops);
	debugfs_create_file("nap", 0200, dir, NULL, &nap_fops);
	debugfs_create_file("later", 0600, dir, NULL, &later_fops);
	debugfs_create_file("hold", 0200, dir, NULL, &hold_fops);
#ifdef CONFIG_MEMCG
	debugfs_create_file("grow_for", 0200, dir, NULL, &grow_for_fops);
#endif
	debugfs_create_file("edge", 0200, dir, NULL, &edge_fops);
	debugfs_create_file("window", 0200, dir, NULL, &window_fops);
	debugfs_create_file("peek", 0200, dir, NULL, &peek_fops);
	debugfs_create_file("pages", 0600, dir, &pages_pid, &pages_fops);
	debugfs_create_file("big", 0600, dir, NULL, &big_fops);
	debugfs_create_file("big_on_node", 0200, dir, NULL, &big_on_node_fops);
	debugfs_create_file("dma", 0200, dir, NULL, &dma_fops);
	return 0;
}

static void __exit testmod_exit(void)
{
	debugfs_remove(dir);
}

module_init(testmod_init);
module_exit(testmod_exit);
MODULE_DESCRIPTION("Helper of the stack_policy selftest");
MODULE_LICENSE("GPL");
