// SPDX-License-Identifier: GPL-2.0
/*
 * Threads for the tests: "threads N" has N that sleep until it is killed, "threads
 * churn" has some that come and go, and as "hostile_name COMMAND" it is a thread
 * whose name nobody should print as it is, and runs COMMAND beside it.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define STACK	(16 * 1024)

static void *sleeper(void *arg)
{
	pause();
	return NULL;
}

/* Ends the program if @err is an error number. */
static void must_not(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(err));
	exit(1);
}

static pid_t must_fork(void)
{
	pid_t child = fork();

	must_not(child < 0 ? errno : 0, "fork");
	return child;
}

static void *nothing(void *arg)
{
	return NULL;
}

static int sleep_in(int nr)
{
	/* One mapping: as many as there are threads would be too many. */
	char *stacks = mmap(NULL, (size_t)nr * STACK, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	pthread_attr_t attr;
	pthread_t thread;
	int err;

	if (stacks == MAP_FAILED)
		return perror("mmap"), 1;
	for (int i = 0; i < nr; i++) {
		pthread_attr_init(&attr);
		pthread_attr_setstack(&attr, stacks + (size_t)i * STACK, STACK);
		err = pthread_create(&thread, &attr, sleeper, NULL);
		if (err) {
			printf("only %d: %s\n", i, strerror(err));
			fflush(stdout);
			pause();
		}
	}
	printf("ready\n");
	fflush(stdout);
	pause();
	return 0;
}

static void churn(void)
{
	pthread_t threads[50];

	for (;;) {
		for (int i = 0; i < 50; i++)
			must_not(pthread_create(&threads[i], NULL, nothing, NULL),
				 "pthread_create");
		for (int i = 0; i < 50; i++)
			pthread_join(threads[i], NULL);
		if (!must_fork())
			_exit(0);
		wait(NULL);
	}
}

static int beside_hostile_name(char **command)
{
	int status, end[2], ready[2];
	pid_t pid;
	char c;

	must_not(pipe(end) || pipe(ready) ? errno : 0, "pipe");
	if (!must_fork()) {
		close(end[1]);
		close(ready[0]);
		must_not(prctl(PR_SET_NAME, "\033[2J\"\\\n\xff\x80") ? errno : 0, "prctl");
		close(ready[1]);
		if (read(end[0], &c, 1) >= 0)
			_exit(0);
	}
	/* Until it has its name. */
	close(ready[1]);
	must_not(read(ready[0], &c, 1) < 0 ? errno : 0, "read");
	pid = must_fork();
	if (!pid) {
		close(end[1]);
		execvp(command[0], command);
		perror(command[0]);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	close(end[1]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

int main(int argc, char **argv)
{
	if (strstr(argv[0], "hostile_name") && argc > 1)
		return beside_hostile_name(argv + 1);
	if (argc == 2 && !strcmp(argv[1], "churn"))
		churn();
	if (argc == 2 && atoi(argv[1]) > 0)
		return sleep_in(atoi(argv[1]));
	fprintf(stderr, "usage: threads N | threads churn\n");
	return 2;
}
