/* SPDX-License-Identifier: GPL-2.0 */
/* What the KUnit tests of stack memory share: kthreads that sleep, and waiting for them. */
#ifndef _MM_KSTACK_TEST_H
#define _MM_KSTACK_TEST_H

#include <linux/iopoll.h>
#include <linux/kthread.h>
#include <linux/sched.h>

/* For what takes a moment, and longer where the host is busy with others. */
#define POLL_US		1000
#define DEADLINE_US	(60 * USEC_PER_SEC)

static int sleep_until_stopped(void)
{
	set_current_state(TASK_UNINTERRUPTIBLE);
	while (!kthread_should_stop()) {
		schedule();
		set_current_state(TASK_UNINTERRUPTIBLE);
	}
	__set_current_state(TASK_RUNNING);
	return 0;
}

static int is_asleep_fn(struct task_struct *task, void *data)
{
	return READ_ONCE(task->__state) & TASK_NORMAL && !task->on_rq && !task_curr(task);
}

static bool is_asleep(struct task_struct *task)
{
	int is;

	return !read_poll_timeout(task_call_func, is, is, POLL_US, DEADLINE_US, false,
				  task, is_asleep_fn, NULL);
}

static bool anybody(struct task_struct *task)
{
	return true;
}

#endif /* _MM_KSTACK_TEST_H */
