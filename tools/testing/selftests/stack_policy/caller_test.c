// SPDX-License-Identifier: GPL-2.0
/*
 * Code of the kernel that goes deep, and asks for stack before: it gets it and does what is
 * to be done by itself; without, it does as it does on a stock kernel. Needs mkfs.xfs,
 * mkfs.erofs, dmsetup and ip.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/cdrom.h>
#include <linux/compiler.h>
#include <linux/falloc.h>
#include <linux/keyctl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "util.h"

#define IMAGE	"/tmp/caller.img"
#define FOLDER	"/mnt/caller"
#define GROUP	CGROUP "caller_test/"
#define ZRAM	"/tmp/caller.zram"
#define DMSETUP	"DM_DISABLE_UDEV=1 dmsetup"
#define PROBES	TRACING "kprobe_events"
#define FAIL	"/sys/kernel/debug/fail_stack_ensure/"
#define SPAN	32768UL
#define WRITERS	3
#define BLOCKS	5000
#define BLOCK	1024
#define DEVICES	200
#define TUNNELS	6

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

/* Look at who asked, and whether it was in time? Not where a test is about all of them. */
static bool each_asks = true;

/* The one that was there before all tests: with another profile they are of that. */
static char table[256];

static void __attribute__((constructor)) keep_table(void)
{
	snprintf(table, sizeof(table), "%.255s", slurp(TABLE));
}

FIXTURE(caller)
{
	unsigned long long overflows;
};

#define STR(number)	STR1(number)
#define STR1(number)	#number

/* Whatever there is of it: a test that failed or took too long has left it. */
static void clean_up(void)
{
	spit(FAIL "probability", "0");
	spit(TABLE, table);
	spit(TRACING "events/caller/enable", "0");
	spit(PROBES, "-:caller/caller_split");
	spit(PROBES, "-:caller/caller_worker");
	clear_trace();
	system("{ for i in 7 6 5 4 3 2 1; do umount /mnt/layer$i; rmdir /mnt/layer$i; done;"
	       " for i in $(dmsetup ls | sed -n 's/^nested\\([0-9]*\\).*/\\1/p' | sort -rn); do"
	       " " DMSETUP " remove nested$i; done;"
	       " for i in 6 5 4 3 2 1; do /bin/ip link del tunnel$i; done; /bin/ip link del bottom;"
	       " for i in $(cat " ZRAM "); do swapoff /dev/zram$i;"
	       " echo $i > /sys/class/zram-control/hot_remove; done;"
	       " rm -rf /tmp/tree " ZRAM ";"
	       " device=$(grep " FOLDER " /proc/mounts) && umount " FOLDER
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

/* Of linux/ecryptfs.h, which is the kernel's alone. */
struct auth_tok {
	uint16_t version, token_type;
	uint32_t flags;
	struct {
		uint32_t flags, encrypted_key_size, decrypted_key_size;
		uint8_t encrypted_key[512], decrypted_key[64];
	} session_key;
	uint8_t reserved[32];
	struct {
		uint32_t password_bytes;
		int32_t hash_algo;
		uint32_t hash_iterations, key_bytes, flags;
		uint8_t key[64], signature[17], salt[8];
		uint8_t room[512];
	} password;
} __packed;

#define SIGNATURE	"0011223344556677"

/* A key for eCryptfs, where its mount looks for one. */
static int add_key(void)
{
	struct auth_tok tok = {
		.version = 4,
		.password = { .key_bytes = 64, .flags = 2, .key = "0123456789abcdef",
			      .signature = SIGNATURE },
	};

	return syscall(SYS_add_key, "user", SIGNATURE, &tok, sizeof(tok),
		       KEY_SPEC_USER_KEYRING) < 0 ? -errno : 0;
}

static int mount_overlay(int layer)
{
	char options[256], where[64];

	snprintf(options, sizeof(options), "lowerdir=/mnt/layer%d,upperdir=" FOLDER
		 "/upper%d,workdir=" FOLDER "/work%d", layer - 1, layer, layer);
	snprintf(where, sizeof(where), "/mnt/layer%d", layer);
	return mount("overlay", where, "overlay", 0, options) ? -errno : 0;
}

static int mount_ecryptfs(int lower, int layer)
{
	char what[64], where[64];

	snprintf(what, sizeof(what), "/mnt/layer%d", lower);
	snprintf(where, sizeof(where), "/mnt/layer%d", layer);
	return mount(what, where, "ecryptfs", 0, "ecryptfs_sig=" SIGNATURE ",ecryptfs_cipher=aes,"
		     "ecryptfs_key_bytes=16,ecryptfs_passthrough") ? -errno : 0;
}

/* EROFS in a file on XFS, which is no layer, and four that are: overlayfs, and eCryptfs. */
static int stack_file_systems(void)
{
	int err = system("mkdir /tmp/tree && cp /bin/busybox /tmp/tree/ &&"
			 " for i in 1 2 3 4 5 6 7; do mkdir -p /mnt/layer$i " FOLDER "/upper$i "
			 FOLDER "/work$i; done &&"
			 " for i in $(seq 50); do mkdir -p /tmp/tree/a/b/$i &&"
			 " echo $i > /tmp/tree/a/b/$i/file; done &&"
			 " mkfs.erofs " FOLDER "/erofs /tmp/tree > /dev/null");

	err = err ?: system("rm -r /tmp/tree");
	if (err || checked(mount(FOLDER "/erofs", "/mnt/layer1", "erofs", MS_RDONLY, NULL)) ||
	    checked(mount_overlay(2)) || checked(mount_overlay(3)) || checked(mount_overlay(4)))
		return -1;
	/* Who waits for a key that is linked waits for the keyring of the session. */
	checked(syscall(SYS_keyctl, KEYCTL_LINK, KEY_SPEC_USER_KEYRING,
			KEY_SPEC_SESSION_KEYRING));
	if (checked(add_key()) || checked(mount_ecryptfs(4, 5)))
		return -1;
	return system("echo secret > /mnt/layer5/secret");
}

/* Has this thread asked for stack, and got it before it overflowed? */
static int asked_in_time(void)
{
	fprintf(stderr, "# a process has used %ld bytes of stack\n",
		number(MINE, "high_water_bytes"));
	if (!each_asks)
		return 0;
	return number(MINE, "grows_ensure:") > 0 && !number(MINE, "grows_fault:") ? 0 : -1;
}

/* Open, read, readdir, lookup, exec and its page faults, and what changes names. */
static int look_around(const char *folder)
{
	if (checked(chdir(folder)))
		return -1;
	return system("[ $(cat a/b/*/file | wc -l) = 50 ] && ls -lR . > /dev/null &&"
		      " [ $(cat secret) = secret ] && ./busybox true &&"
		      " echo more >> secret && [ $(wc -l < secret) = 2 ] && mv a/b/1/file a/file &&"
		      " rm a/b/2/file && touch a/b/2/file && mkdir a/b/2/c && ln -s x a/y");
}

/* Copy up, write, map, and write back. */
static int write_there(const char *folder)
{
	int fd, err = checked(chdir(folder));
	char *page;

	fd = err ? -1 : checked(open("busybox", O_RDWR));
	if (fd < 0)
		return -1;
	page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED || checked(pwrite(fd, "x", 1, 100000)) != 1 || checked(fsync(fd)))
		return -1;
	page[4096] = 1;
	if (checked(msync(page, 8192, MS_SYNC)) || checked(munmap(page, 8192)))
		return -1;
	close(fd);
	return asked_in_time();
}

/* In a child, whose stack is of the size that the table says. Return: whether it failed. */
static int in_child(int (*run)(const char *what), const char *what)
{
	pid_t child = must_fork();
	int status;

	if (!child)
		_exit(!!run(what));
	return checked(waitpid(child, &status, 0)) < 0 ? -1 : status;
}

/* Of the classes that such loads run in: by those that ended since @before. */
static void say_deepest(const struct stats *before)
{
	struct stats after = class_stats(TASK);
	int kb = 31;

	while (kb && before->exit_depth_kb[kb] == after.exit_depth_kb[kb])
		kb--;
	fprintf(stderr, "# processes have used less than %d kB of stack\n", kb + 1);
}

/* Four layers, and not a fifth. What they ask for is more than the smaller size leaves them. */
TEST_F(caller, file_systems_four_deep)
{
	struct stats before;

	if (system("command -v mkfs.erofs > /dev/null"))
		SKIP(return, "no mkfs.erofs");
	ASSERT_EQ(0, stack_file_systems());
	ASSERT_OK(spit("/proc/sys/vm/drop_caches", "3"));
	before = class_stats(TASK);
	ASSERT_EQ(0, in_child(look_around, "/mnt/layer5"));
	say_deepest(&before);
	ASSERT_EQ(self->overflows, overflows());
	ASSERT_OK(spit(TABLE, "task=8/32"));
	ASSERT_EQ(0, in_child(write_there, "/mnt/layer4"));
	ASSERT_EQ(-EINVAL, mount_overlay(6));
	/* Nor any on eCryptfs that is on one. */
	ASSERT_OK(mount_ecryptfs(2, 6));
	ASSERT_EQ(-EINVAL, mount_overlay(7));
}

/* A device of its own. Return: its number, or -errno. */
static int start_zram(const char *size)
{
	const char *added;
	char path[64];
	int nr;

	system("modprobe zram");
	/* Whoever reads that adds one. */
	added = slurp("/sys/class/zram-control/hot_add");
	if (!added || !isdigit((unsigned char)*added))
		return -ENODEV;
	nr = atoi(added);
	snprintf(path, sizeof(path), "echo %d >> " ZRAM, nr);
	system(path);
	snprintf(path, sizeof(path), "/sys/block/zram%d/disksize", nr);
	return spit(path, size) ?: nr;
}

/* More than the group may have; then an allocation from deep down. */
static int allocate_deep(const char *bytes)
{
	const size_t size = 24 << 20;
	char *memory;

	if (checked(spit(GROUP "cgroup.procs", "0")))
		return -1;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return -1;
	for (size_t i = 0; i < size; i += 4096)
		memory[i] = i / 4096;
	if (checked(spit(MODULE "charge", bytes)))
		return -1;
	fprintf(stderr, "# from %s bytes a process has used %ld in reclaim\n", bytes,
		number(MINE, "high_water_bytes"));
	return each_asks && number(MINE, "grows_fault:") ? -1 : 0;
}

/* From @least to 10000 bytes deep. Return: whether one failed. */
static int reclaim(int least)
{
	int nr = start_zram("64M"), failed = 0;
	char text[128];

	snprintf(text, sizeof(text), "mkswap /dev/zram%d > /dev/null && swapon /dev/zram%d", nr,
		 nr);
	if (checked(nr) < 0 || system(text))
		return -1;
	spit(CGROUP "cgroup.subtree_control", "+memory");
	if (mkdir(GROUP, 0755) || checked(spit(GROUP "memory.max", "16M")))
		return -1;
	for (int used = least; used <= 10000; used += 1000) {
		snprintf(text, sizeof(text), "%d", used);
		failed |= in_child(allocate_deep, text);
	}
	return failed;
}

/* Reclaim, to zram, by whoever has not much left. */
TEST_F(caller, reclaim_asks)
{
	unsigned long long grows = class_stats(TASK).grows_ensure;

	ASSERT_EQ(0, reclaim(3000));
	/* Whoever had less than 8 kB left. */
	ASSERT_LE(grows + 6, class_stats(TASK).grows_ensure);
}

/* On @zram, and one on the other. */
static int nest_devices(int zram)
{
	char below[64], command[256];

	snprintf(below, sizeof(below), "/dev/zram%d", zram);
	for (int i = 1; i <= DEVICES; i++) {
		snprintf(command, sizeof(command), "echo 0 2048 linear %s 0 | " DMSETUP
			 " create nested%d", below, i);
		if (system(command))
			return -1;
		snprintf(below, sizeof(below), "/dev/mapper/nested%d", i);
	}
	return 0;
}

static int use_device(const char *path)
{
	static char block[4096] __aligned(4096);
	int fd = checked(open(path, O_RDWR | O_DIRECT));

	if (fd < 0 || checked(pwrite(fd, block, sizeof(block), 0)) != sizeof(block) ||
	    checked(pread(fd, block, sizeof(block), 0)) != sizeof(block))
		return -1;
	/* Nobody knows it, down to the last. Each has a lock, of which lockdep follows 48. */
	if (access("/proc/lockdep", F_OK) &&
	    (ioctl(fd, CDROM_GET_CAPABILITY) != -1 || errno != ENOTTY))
		return -1;
	close(fd);
	return asked_in_time();
}

/* Memory completes a bio at once, on the stack of who has submitted it. */
TEST_F(caller, devices_on_devices)
{
	int zram;

	if (system("modprobe dm-mod && dmsetup version > /dev/null"))
		SKIP(return, "no dmsetup, or kernel without CONFIG_BLK_DEV_DM");
	zram = start_zram("1M");
	ASSERT_OK(zram);
	ASSERT_EQ(0, nest_devices(zram));
	ASSERT_EQ(0, in_child(use_device, "/dev/mapper/nested" STR(DEVICES)));
}

/*
 * The first goes through a device that drops all, each other one through that before.
 * Busybox has another ip, which its shell takes first.
 */
static int nest_tunnels(void)
{
	return system("ip=/bin/ip; $ip link add bottom type dummy &&"
		      " $ip addr add 10.9.0.1/24 dev bottom &&"
		      " $ip link set bottom up &&"
		      " $ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev bottom &&"
		      " for i in 1 2 3 4 5 6; do $ip link add tunnel$i type gretap"
		      " local 10.9.$((i - 1)).1 remote 10.9.$((i - 1)).2 &&"
		      " $ip addr add 10.9.$i.1/24 dev tunnel$i && $ip link set tunnel$i up &&"
		      " $ip neigh add 10.9.$i.2 lladdr 02:00:00:00:00:02 dev tunnel$i || exit 1;"
		      " done");
}

static int send_packets(const char *unused)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };
	int fd = checked(socket(AF_INET, SOCK_DGRAM, 0));
	static const char bytes[1000];

	to.sin_addr.s_addr = htonl(10 << 24 | 9 << 16 | TUNNELS << 8 | 2);
	for (int i = 0; i < 10; i++)
		if (checked(sendto(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&to,
				   sizeof(to))) < 0)
			return -1;
	close(fd);
	return asked_in_time();
}

static long sent_bytes(void)
{
	return atol(slurp("/sys/class/net/bottom/statistics/tx_bytes"));
}

/* They ask for more than this size leaves them. */
TEST_F(caller, tunnels_in_tunnels)
{
	long sent;

	ASSERT_EQ(0, nest_tunnels());
	ASSERT_OK(spit(TABLE, "task=8/32"));
	sent = sent_bytes();
	ASSERT_EQ(0, in_child(send_packets, NULL));
	ASSERT_LE(sent + 10 * 1000, sent_bytes());
}

/* One after the other, whatever the sizes are. Return: how many failed. */
static int all_loads(void)
{
	int failed = 0, zram;

	each_asks = false;
	failed += !!writers(allocate);
	failed += stack_file_systems() || in_child(look_around, "/mnt/layer5") ||
		  in_child(write_there, "/mnt/layer4");
	failed += !!reclaim(3000);
	zram = start_zram("1M");
	failed += checked(zram) < 0 || nest_devices(zram) ||
		  in_child(use_device, "/dev/mapper/nested" STR(DEVICES));
	failed += nest_tunnels() || in_child(send_packets, NULL);
	return failed;
}

static bool has_all_programs(void)
{
	return !system("modprobe dm-mod && dmsetup version > /dev/null && command -v mkfs.erofs"
		       " > /dev/null");
}

/* With the sizes that there are, and each caller in its place. */
TEST_F_TIMEOUT(caller, nothing_overflows, 600)
{
	if (!has_all_programs())
		SKIP(return, "no dmsetup or no mkfs.erofs");
	ASSERT_EQ(0, all_loads());
	fprintf(stderr, "# overflows: %llu\n", overflows() - self->overflows);
	ASSERT_EQ(self->overflows, overflows());
}

/* As if nobody asked: what is caught then. Nothing of it fails. */
TEST_F_TIMEOUT(caller, what_does_not_ask_overflows, 600)
{
	if (!has_all_programs())
		SKIP(return, "no dmsetup or no mkfs.erofs");
	if (access(FAIL "probability", W_OK))
		SKIP(return, "kernel without CONFIG_FAIL_KSTACK_REFILL");
	/* Frames of a debugging kernel may take them past what stock has. */
	spit("/dev/kmsg", "stack_policy: overflow allowed in caller_test\n");
	spit(FAIL "verbose", "0");
	ASSERT_OK(spit(FAIL "times", "-1"));
	ASSERT_OK(spit(FAIL "probability", "100"));
	ASSERT_EQ(0, all_loads());
	fprintf(stderr, "# overflows: %llu\n", overflows() - self->overflows);
	ASSERT_LT(self->overflows, overflows());
}

TEST_HARNESS_MAIN
