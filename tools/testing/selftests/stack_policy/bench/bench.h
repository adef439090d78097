/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Benchmarks that run on the stock kernel and on ours: lines of a name and a number.
 * The number is one of ticks, of bytes, or of whatever the name says.
 */
#ifndef _STACK_POLICY_BENCH_H
#define _STACK_POLICY_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#define BENCH_MODULE	"/sys/kernel/debug/stack_policy_bench/"
#define ROUNDS		301
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* Ends the program if @ok is not true. */
void must(bool ok, const char *what);

/* Instructions where the time stamp counter counts those; nanoseconds with --time. */
uint64_t now(void);

uint64_t nanoseconds(void);

void show(const char *name, double value);

/*
 * One round of @fn does @ops operations. Shows what one takes: the least of all rounds,
 * as timer ticks and the scheduler's averages make some longer, on both kernels alike.
 * With --time the median. @prepare runs before each round, and may be NULL.
 */
void measure(const char *name, int ops, void (*prepare)(int ops), void (*fn)(int ops));

/* What that file of the module has measured; nothing if the kernel has no such file. */
void show_module(const char *file);

/*
 * What everything takes, the kernel's work for it later included, while the machine has
 * nothing else to do: a process of lowest priority counts the ticks that are left.
 */
void busy_start(void);
uint64_t busy_end(void);

/* Somebody who sends each byte back, a thread or a process; there and back, two switches. */
void start_echo(bool process);
void ping_pong(int ops);
void end_echo(void);

/* Bytes in the slab cache @name, 0 if it has none of its own. */
long slab(const char *name);

/* A line of /proc/meminfo, in bytes. */
long meminfo(const char *key);

void hot(int argc, char **argv);
void life(int argc, char **argv);
void growth(int argc, char **argv);
void kvm(int argc, char **argv);
void threads(int argc, char **argv);
void mix_of_threads(int argc, char **argv);
void cpus(int argc, char **argv);
void load(int argc, char **argv);
void files(int argc, char **argv);
void splits(int argc, char **argv);
void memory_turns(int argc, char **argv);
void network(int argc, char **argv);

#endif /* _STACK_POLICY_BENCH_H */
