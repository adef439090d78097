// SPDX-License-Identifier: GPL-2.0
/*
 * Two kernel threads, one of them created with KTHREAD_BIG_STACK, to look at
 * in /proc/<pid>/stack_policy. Writing a number of bytes to the parameter
 * "overflow" makes the plain one use that much stack without asking for it.
 */
#include <linux/completion.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/stack_policy.h>
#include <linux/wait.h>

#define FRAME_BYTES 512

static struct task_struct *plain, *big;
static DECLARE_WAIT_QUEUE_HEAD(requests);
static DECLARE_COMPLETION(overflow_done);
/* Bytes of stack to use next, 0 when there is no request. */
static unsigned int wanted;

static noinline unsigned int use_stack(unsigned int bytes)
{
	volatile char frame[FRAME_BYTES];

	frame[0] = 1;
	if (bytes > FRAME_BYTES)
		frame[0] += use_stack(bytes - FRAME_BYTES);
	return frame[0];
}

static int sample_fn(void *data)
{
	while (!kthread_should_stop()) {
		wait_event_interruptible(requests, kthread_should_stop() ||
					 (data && READ_ONCE(wanted)));
		if (data && wanted) {
			use_stack(wanted);
			WRITE_ONCE(wanted, 0);
			complete(&overflow_done);
		}
	}
	return 0;
}

static int overflow_set(const char *text, const struct kernel_param *kp)
{
	unsigned int bytes;
	int ret = kstrtouint(text, 0, &bytes);

	if (ret)
		return ret;
	/* The whole span less what a thread has used when it gets here. */
	if (!plain || !bytes || bytes > THREAD_SIZE - 2048)
		return -EINVAL;
	reinit_completion(&overflow_done);
	WRITE_ONCE(wanted, bytes);
	wake_up_all(&requests);
	wait_for_completion(&overflow_done);
	return 0;
}

static const struct kernel_param_ops overflow_ops = { .set = overflow_set };
module_param_cb(overflow, &overflow_ops, NULL, 0200);
MODULE_PARM_DESC(overflow, "write bytes of stack that sample-plain shall use");

static int __init sample_init(void)
{
	big = kthread_create_flags_on_node(sample_fn, NULL, KTHREAD_BIG_STACK,
					   NUMA_NO_NODE, "sample-big");
	if (IS_ERR(big))
		return PTR_ERR(big);
	plain = kthread_create(sample_fn, &wanted, "sample-plain");
	if (IS_ERR(plain)) {
		kthread_stop(big);
		return PTR_ERR(plain);
	}
	wake_up_process(big);
	wake_up_process(plain);
	return 0;
}

static void __exit sample_exit(void)
{
	kthread_stop(plain);
	kthread_stop(big);
}

module_init(sample_init);
module_exit(sample_exit);
MODULE_DESCRIPTION("Threads of two stack classes");
MODULE_LICENSE("GPL");
