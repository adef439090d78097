// SPDX-License-Identifier: GPL-2.0
/*
 * load NAME COMMAND: what a whole load takes, and what it does to the stacks. And some
 * loads that no package of Debian has in this form:
 * files FOLDER: eight processes that create, write, fsync, read, rename and unlink.
 * splits FOLDER: three processes that allocate each second block of a file, in any order.
 * memory: more of it than there is, five times.
 * network: requests and a stream through TCP to oneself, four times.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../util.h"
#include "bench.h"

#define SAMPLE_US	50000
#define STOCK_STACK	16384
#define WALKED_NS	2000000000	/* a walk over all threads has begun and ended */

struct peak {
	/* When the stacks took most, in bytes. */
	long			stack, threads;
	/* Of the walk that has met most threads. */
	unsigned long long	walked, depth_kb[32], high_water_kb[32];
};

static struct stats all_stats(void)
{
	struct stats sum = {};

	for (int class = 0; class < NR_CLASSES && !access(TABLE, F_OK); class++) {
		struct stats s = class_stats(class);

		sum.threads += s.threads;
		sum.grows_ensure += s.grows_ensure;
		sum.grows_fault += s.grows_fault;
		sum.grows_class += s.grows_class;
		sum.trims_excess += s.trims_excess;
		sum.trims_cold += s.trims_cold;
		for (int i = 0; i < 32; i++) {
			sum.exit_depth_kb[i] += s.exit_depth_kb[i];
			sum.depth_kb[i] += s.depth_kb[i];
			sum.high_water_kb[i] += s.high_water_kb[i];
		}
	}
	return sum;
}

/* Class kthread-big, which has all its stack from the beginning, and vCPUs included. */
static void look(struct peak *p)
{
	struct stats s = all_stats();
	long stack = meminfo("KernelStack");
	unsigned long long walked = 0;

	/* Not those that are dead, and have none. */
	if (stack > p->stack) {
		p->stack = stack;
		p->threads = access(TABLE, F_OK) ? stack / STOCK_STACK : s.threads;
	}
	for (int i = 0; i < 32; i++)
		walked += s.high_water_kb[i];
	if (walked < p->walked)
		return;
	p->walked = walked;
	memcpy(p->depth_kb, s.depth_kb, sizeof(p->depth_kb));
	memcpy(p->high_water_kb, s.high_water_kb, sizeof(p->high_water_kb));
}

static void show_of(const char *load, const char *what, double value)
{
	char name[96];

	snprintf(name, sizeof(name), "load_%s_%s", load, what);
	show(name, value);
}

static void show_depths(const char *load, const char *what, const unsigned long long *bins,
			const unsigned long long *before)
{
	char name[64];

	for (int i = 0; i < 32; i++) {
		snprintf(name, sizeof(name), "%s_%d_kb", what, i + 1);
		if (bins[i] != (before ? before[i] : 0))
			show_of(load, name, bins[i] - (before ? before[i] : 0));
	}
}

void load(int argc, char **argv)
{
	struct stats before = all_stats(), after;
	struct peak before_it = {}, peak = {};
	long switches = number("/proc/stat", "ctxt");
	uint64_t from, taken;
	int status;
	pid_t pid;

	must(argc == 2, "load NAME COMMAND");
	look(&before_it);
	busy_start();
	from = nanoseconds();
	pid = fork();
	must(pid >= 0, "fork");
	if (!pid) {
		execl("/bin/sh", "sh", "-c", argv[1], NULL);
		perror("/bin/sh");
		_exit(127);
	}
	while (!waitpid(pid, &status, WNOHANG)) {
		look(&peak);
		usleep(SAMPLE_US);
	}
	taken = busy_end();
	must(!status, argv[1]);
	show_of(argv[0], "ticks", taken);
	show_of(argv[0], "switches", number("/proc/stat", "ctxt") - switches);
	show_of(argv[0], "threads", peak.threads);
	show_of(argv[0], "stack", (double)peak.stack / peak.threads);
	show_of(argv[0], "stack_before", (double)before_it.stack / before_it.threads);
	if (peak.threads > before_it.threads)
		show_of(argv[0], "stack_added", (double)(peak.stack - before_it.stack) /
			(peak.threads - before_it.threads));
	if (access(TABLE, F_OK))
		return;
	after = all_stats();
	show_of(argv[0], "grows_ensure", after.grows_ensure - before.grows_ensure);
	show_of(argv[0], "grows_fault", after.grows_fault - before.grows_fault);
	show_of(argv[0], "grows_class", after.grows_class - before.grows_class);
	show_of(argv[0], "trims_excess", after.trims_excess - before.trims_excess);
	show_of(argv[0], "trims_cold", after.trims_cold - before.trims_cold);
	show_depths(argv[0], "exit_depth", after.exit_depth_kb, before.exit_depth_kb);
	if (nanoseconds() - from < WALKED_NS)
		return;
	show_depths(argv[0], "depth", peak.depth_kb, NULL);
	show_depths(argv[0], "high_water", peak.high_water_kb, NULL);
}

/* A load on file systems */

#define WRITERS		8
#define FILES		200
#define FILE_BYTES	(256 * 1024)
#define KEPT		10

static char bytes[FILE_BYTES];

static void write_file(const char *path, bool sync)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	must(fd >= 0, path);
	for (int i = 0; i < FILE_BYTES; i += 16384)
		must(write(fd, bytes + i, 16384) == 16384, path);
	must(!sync || !fsync(fd), path);
	for (int i = 0; i < FILE_BYTES; i += 16384)
		must(pread(fd, bytes + i, 16384, i) == 16384, path);
	close(fd);
}

static void write_files(const char *folder, int writer)
{
	char path[256], renamed[256];

	snprintf(path, sizeof(path), "%s/%d", folder, writer);
	must(!mkdir(path, 0700), path);
	for (int i = 0; i < FILES + KEPT; i++) {
		snprintf(path, sizeof(path), "%s/%d/new", folder, writer);
		snprintf(renamed, sizeof(renamed), "%s/%d/file-%d", folder, writer, i);
		if (i < FILES) {
			write_file(path, i % 2);
			must(!rename(path, renamed), path);
		}
		snprintf(renamed, sizeof(renamed), "%s/%d/file-%d", folder, writer, i - KEPT);
		must(i < KEPT || !unlink(renamed), renamed);
	}
	snprintf(path, sizeof(path), "%s/%d", folder, writer);
	must(!rmdir(path), path);
}

static void wait_for_all(void)
{
	int status;

	while (waitpid(-1, &status, 0) > 0)
		if (status)
			exit(1);
}

/* So many at once, each with its number. */
static void in_processes(int nr, void (*fn)(const char *folder, int number), const char *folder)
{
	for (int i = 0; i < nr; i++) {
		if (!must_fork()) {
			fn(folder, i);
			exit(0);
		}
	}
	wait_for_all();
}

void files(int argc, char **argv)
{
	must(argc == 1, "files FOLDER");
	in_processes(WRITERS, write_files, argv[0]);
}

/* A load on block map trees */

#define SPLITTERS	3
#define BLOCKS		10000
#define BLOCK		1024

/* Each second block of a file, in any order: none can be one extent with another. */
static void split(const char *folder, int splitter)
{
	static int blocks[BLOCKS];
	char path[256];
	int fd;

	srand(splitter);
	for (int i = 0; i < BLOCKS; i++) {
		int other = rand() % (i + 1);

		blocks[i] = blocks[other];
		blocks[other] = 2 * i;
	}
	snprintf(path, sizeof(path), "%s/%d", folder, splitter);
	fd = open(path, O_CREAT | O_RDWR, 0600);
	must(fd >= 0, path);
	for (int i = 0; i < BLOCKS; i++)
		must(!fallocate(fd, 0, (off_t)BLOCK * blocks[i], BLOCK), path);
	close(fd);
}

void splits(int argc, char **argv)
{
	must(argc == 1, "splits FOLDER");
	in_processes(SPLITTERS, split, argv[0]);
}

/* A load on memory */

#define MEMORY_BYTES	(40 << 20)
#define TURNS		5

void memory_turns(int argc, char **argv)
{
	char *memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(memory != MAP_FAILED, "mmap");
	for (int turn = 0; turn < TURNS; turn++)
		for (size_t i = 0; i < MEMORY_BYTES; i += 4096)
			*(int *)(memory + i) = turn + i;
}

/* A load on the network */

#define CLIENTS		4
#define REQUESTS	8000
#define REQUEST_BYTES	1024
#define STREAM_BYTES	(128 << 20)

static void transfer(int fd, bool out, size_t len)
{
	while (len) {
		size_t part = len < sizeof(bytes) ? len : sizeof(bytes);
		ssize_t done = out ? write(fd, bytes, part) : read(fd, bytes, part);

		must(done > 0, "connection");
		len -= done;
	}
}

static void serve(int fd)
{
	for (int i = 0; i < REQUESTS; i++) {
		transfer(fd, false, REQUEST_BYTES);
		transfer(fd, true, REQUEST_BYTES);
	}
	transfer(fd, false, STREAM_BYTES);
}

static void ask(const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	must(!connect(fd, (const void *)to, sizeof(*to)), "connect");
	for (int i = 0; i < REQUESTS; i++) {
		transfer(fd, true, REQUEST_BYTES);
		transfer(fd, false, REQUEST_BYTES);
	}
	transfer(fd, true, STREAM_BYTES);
}

void network(int argc, char **argv)
{
	struct sockaddr_in here = { .sin_family = AF_INET, .sin_port = htons(7),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	must(!bind(listener, (void *)&here, sizeof(here)) && !listen(listener, CLIENTS), "bind");
	for (int i = 0; i < CLIENTS; i++) {
		if (!must_fork()) {
			ask(&here);
			exit(0);
		}
	}
	for (int i = 0; i < CLIENTS; i++) {
		int fd = accept(listener, NULL, NULL);

		must(fd >= 0, "accept");
		if (!must_fork()) {
			serve(fd);
			exit(0);
		}
		close(fd);
	}
	wait_for_all();
}
