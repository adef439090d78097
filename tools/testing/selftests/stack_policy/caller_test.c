// SPDX-License-Identifier: GPL-2.0
/*
 * Code of the kernel that goes deep, and asks for stack before: it gets it and does what is
 * to be done by itself; without, it does as it does on a stock kernel. Needs mkfs.xfs.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "util.h"

#define IMAGE	"/tmp/caller.img"
#define FOLDER	"/mnt/caller"
#define GROUP	CGROUP "caller_test/"
#define PROBES	TRACING "kprobe_events"
#define SPAN	32768UL
#define WRITERS	3
#define BLOCKS	5000
#define BLOCK	1024

/* Count calls of @function, as @name; with the stack pointer of each in the trace. */
static int count_calls(const char *name, const char *function)
{
	char text[128];

	snprintf(text, sizeof(text), "p:caller/%s %s sp=%%sp", name, function);
	return spit(PROBES, text);
}

/* How often the function was called that is counted as @name, or -1. */
static long calls(const char *name)
{
	char word[64];
	long hits;

	for (const char *line = slurp(TRACING "kprobe_profile"); line && *line;
	     line = strchr(line, '\n'), line += !!line)
		if (sscanf(line, "%63s %ld", word, &hits) == 2 && !strcmp(word, name))
			return hits;
	return -1;
}

/* What the trace says of those calls: the least and the most stack in use. */
static void depths_of_calls(unsigned long *least, unsigned long *most)
{
	*least = SPAN;
	*most = 0;
	for (const char *at = slurp(TRACING "trace"); (at = strstr(at, "sp=0x")); at++) {
		unsigned long depth = SPAN - strtoul(at + strlen("sp="), NULL, 16) % SPAN;

		*least = depth < *least ? depth : *least;
		*most = depth > *most ? depth : *most;
	}
}

static void say_calls(void)
{
	unsigned long least, most;

	depths_of_calls(&least, &most);
	fprintf(stderr, "# %ld splits, %ld by a worker, with %lu to %lu bytes of stack in use\n",
		calls("caller_split"), calls("caller_worker"), least, most);
}

static unsigned long long overflows(void)
{
	return class_stats(TASK).grows_fault + class_stats(KTHREAD).grows_fault;
}

FIXTURE(caller)
{
	unsigned long long overflows;
};

/* Whatever there is of it: a test that failed or took too long has left it. */
static void clean_up(void)
{
	spit(TABLE, "default");
	spit(TRACING "events/caller/enable", "0");
	spit(PROBES, "-:caller/caller_split");
	spit(PROBES, "-:caller/caller_worker");
	clear_trace();
	system("{ device=$(grep " FOLDER " /proc/mounts) && umount " FOLDER
	       " && losetup -d ${device%% *}; rm -f " IMAGE "; rmdir " GROUP "; } 2> /dev/null");
}

FIXTURE_SETUP(caller)
{
	if (system("mkfs.xfs -V > /dev/null 2>&1"))
		SKIP(return, "no mkfs.xfs");
	if (access(PROBES, W_OK))
		SKIP(return, "kernel without CONFIG_KPROBE_EVENTS");
	clean_up();
	/* In small blocks a map has many. The device may not be open twice when it is mounted. */
	ASSERT_EQ(0, system("truncate -s 400M " IMAGE " && mkfs.xfs -q -b size=1024 " IMAGE
			    " && mkdir -p " FOLDER " && device=$(losetup -f) && losetup $device "
			    IMAGE " && mount -t xfs $device " FOLDER));
	ASSERT_OK(count_calls("caller_split", "__xfs_btree_split"));
	ASSERT_OK(count_calls("caller_worker", "xfs_btree_split_worker"));
	ASSERT_OK(clear_trace());
	ASSERT_OK(spit(TRACING "events/caller/enable", "1"));
	self->overflows = overflows();
}

FIXTURE_TEARDOWN(caller)
{
	clean_up();
	EXPECT_NE(0, access(IMAGE, F_OK));
	EXPECT_NE(0, access(GROUP, F_OK));
}

/* Each second block of a file, in any order: none can be one extent with another. */
static void shuffle(int *blocks, int seed)
{
	srand(seed);
	for (int i = 0; i < BLOCKS; i++) {
		int other = rand() % (i + 1);

		blocks[i] = blocks[other];
		blocks[other] = 2 * i;
	}
}

static int allocate(int fd, const int *blocks)
{
	for (int i = 0; i < BLOCKS; i++)
		if (checked(fallocate(fd, 0, (off_t)BLOCK * blocks[i], BLOCK)))
			return -1;
	return 0;
}

/* Written, which is when the blocks are allocated; each third once more, after its hole. */
static int write_back(int fd, const int *blocks)
{
	static const char bytes[BLOCK] = "x";

	if (checked(spit(GROUP "cgroup.procs", "0")))
		return -1;
	for (int i = 0; i < BLOCKS; i++) {
		if (checked(pwrite(fd, bytes, BLOCK, (off_t)BLOCK * blocks[i])) != BLOCK)
			return -1;
		if (i % 1000 == 999 && checked(fsync(fd)))
			return -1;
	}
	for (int i = 0; i < BLOCKS; i += 3)
		if (checked(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				      (off_t)BLOCK * blocks[i], BLOCK)))
			return -1;
	for (int i = 0; i < BLOCKS; i += 3)
		if (checked(pwrite(fd, bytes, BLOCK, (off_t)BLOCK * blocks[i])) != BLOCK)
			return -1;
	return checked(fsync(fd));
}

static int write_file(int seed, int (*fill)(int fd, const int *blocks))
{
	static int blocks[BLOCKS];
	char path[64];
	int fd;

	shuffle(blocks, seed);
	snprintf(path, sizeof(path), FOLDER "/%d", seed);
	fd = checked(open(path, O_CREAT | O_RDWR, 0600));
	if (fd < 0 || fill(fd, blocks) || checked(close(fd)))
		return -1;
	fprintf(stderr, "# a writer has used %ld bytes of stack\n",
		number(MINE, "high_water_bytes"));
	return 0;
}

/* Return: how many of them failed. */
static int writers(int (*fill)(int fd, const int *blocks))
{
	int failed = 0, status;

	for (int i = 0; i < WRITERS; i++)
		if (!must_fork())
			_exit(!!write_file(i, fill));
	while (wait(&status) > 0)
		failed += !!status;
	return failed;
}

/* It is asked for: no split fits in what there is from the start. */
TEST_F(caller, xfs_splits_in_place)
{
	unsigned long long grows = class_stats(TASK).grows_ensure;

	ASSERT_EQ(0, writers(allocate));
	say_calls();
	ASSERT_LT(100, calls("caller_split"));
	ASSERT_EQ(0, calls("caller_worker"));
	ASSERT_LE(grows + WRITERS, class_stats(TASK).grows_ensure);
	ASSERT_EQ(self->overflows, overflows());
}

/* Where there is no stack to be had, a worker does it. */
TEST_F(caller, xfs_splits_in_a_worker_without_stack)
{
	ASSERT_OK(spit(TABLE, "task=12/12"));
	ASSERT_EQ(0, writers(allocate));
	say_calls();
	ASSERT_LT(100, calls("caller_worker"));
	ASSERT_EQ(self->overflows, overflows());
}

/* Where memory is short, and writeback splits. */
TEST_F(caller, xfs_splits_in_place_in_writeback)
{
	unsigned long long grows = class_stats(TASK).grows_ensure;

	spit(CGROUP "cgroup.subtree_control", "+memory");
	ASSERT_OK(mkdir(GROUP, 0755));
	EXPECT_OK(spit(GROUP "memory.high", "12M"));
	EXPECT_EQ(0, writers(write_back));
	say_calls();
	EXPECT_LT(100, calls("caller_split"));
	EXPECT_EQ(0, calls("caller_worker"));
	EXPECT_LE(grows + WRITERS, class_stats(TASK).grows_ensure);
	EXPECT_EQ(self->overflows, overflows());
	EXPECT_OK(remove_group(GROUP));
}

TEST_HARNESS_MAIN
