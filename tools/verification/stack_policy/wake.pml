// SPDX-License-Identifier: GPL-2.0
/*
 * The state of a thread whose stack is trimmed while it sleeps, for spin: who wakes it,
 * the freezer, who trims it or completes it in its sleep (the watcher, "walk" below, and who
 * changes its priority), and who brings pages;
 * mm/kstack_wake.c, ttwu_state_match(), kernel/freezer.c. "make check" runs it, and each
 * of the BAD_ variants, which has to fail.
 *
 * Claims: the thread never runs with less stack than it had (assertion); it is queued for
 * pages once at most (assertion); no wake-up is lost: when nobody can do anything any more, the
 * thread does not sleep on an event that has come (end state). As whoever brings
 * pages brings them some day, that is also that everybody who is woken runs.
 *
 * Each atomic step here is done with pi_lock held there.
 */
#define EVENTS	3
#define ROUNDS	3

/* __state: how it sleeps, or what of this was put in its place. */
mtype = { RUNNING, SLEEPING, NONE };
mtype sleep = RUNNING;			/* RUNNING, or SLEEPING if neither of the next two */
bool cold, frozen;			/* TASK_COLD, TASK_FROZEN */
/* saved_state: NONE, SLEEPING, or FROZEN for a thaw that has to wake it. */
mtype = { FROZEN };
mtype saved = NONE;

bool complete = true;			/* all of its stack is there */
bool queued;				/* on the list of those that wait for pages */
bool off_cpu;				/* it has left its stack */
bool event;				/* what it sleeps for */
byte events;

/* With all of its stack, or the assertion in thread() fails. */
inline go()
{
	cold = false; frozen = false; sleep = RUNNING
}

/* stack_policy_wake(): there may be pages, or not. */
inline wake_cold_one()
{
	if
#ifdef BAD_WAKE_SHORT
	:: true -> saved = NONE; go()
#else
	:: true -> complete = true; saved = NONE; go()
	:: !complete ->
		assert(!queued);
		queued = true;
#ifndef BAD_KEEP_SAVED
		saved = NONE
#endif
#endif
	fi
}

/* try_to_wake_up(SLEEPING) */
inline wake_up()
{
	atomic {
		if
		:: sleep == SLEEPING && !cold && !frozen -> go()
		:: cold && !frozen && saved == SLEEPING -> wake_cold_one()
		/* It is woken when it is thawed. */
#ifdef BAD_WAKE_FROZEN
		:: frozen && cold && saved == SLEEPING -> wake_cold_one()
		:: frozen && !cold && saved == SLEEPING -> saved = NONE
#else
		:: frozen && saved == SLEEPING -> saved = NONE
#endif
		:: else
		fi
	}
}

/* try_to_wake_up(FROZEN) */
inline wake_up_frozen()
{
	atomic {
		if
		:: frozen -> go()
		:: cold && !frozen && saved == FROZEN -> wake_cold_one()
		:: else
		fi
	}
}

proctype thread()
{
	byte round;

	do
	:: round < ROUNDS ->
		round++;
		/* set_current_state(), the condition, schedule() */
		sleep = SLEEPING;
		if
		:: event -> atomic { go(); event = false }
		:: else ->
			/* Dequeued, unless it was woken in between. */
			atomic { if :: sleep == SLEEPING -> off_cpu = true :: else fi };
end_asleep:
			atomic { sleep == RUNNING && !cold && !frozen ->
				off_cpu = false;
				assert(complete);
				event = false }
		fi
	:: round == ROUNDS -> break
	od;
	/* Nobody is woken any more; what comes is not for it. */
	events = EVENTS
}

proctype waker()
{
	do
	:: atomic { events < EVENTS -> events++; event = true };
		wake_up()
	:: events >= EVENTS -> break
	od
}

/* A signal: not what it sleeps for, but it has to run. Once, and it sleeps again. */
proctype stray()
{
	wake_up()
}

/* kstack_trim_blocked_fn(), and kstack_warm_fn() for who may not be late any more. */
proctype walk()
{
	do
	:: atomic {
		off_cpu && sleep == SLEEPING && !frozen &&
#ifdef BAD_TRIM_COLD
		!queued ->
#else
		!cold ->
#endif
			saved = SLEEPING; cold = true; complete = false }
	:: atomic {
#ifdef BAD_WARM_QUEUED
		cold && !complete ->
#else
		cold && !complete && !queued ->
#endif
			complete = true; cold = false;
			if
			:: frozen		/* as the freezer has it */
			:: !frozen && saved == FROZEN -> saved = NONE; frozen = true
			:: else -> saved = NONE
			fi }
	:: events >= EVENTS -> break
	od
}

/* hand_out_fn(): brings pages to who waits, and wakes it by TASK_COLD. */
proctype bringer()
{
end_idle:
	do
	:: queued ->
#ifdef BAD_WAKE_FIRST
		atomic { cold -> go() };
		atomic { complete = true; queued = false }
#else
		atomic { complete = true; queued = false };
		atomic { if :: cold && !frozen -> go() :: else fi }
#endif
	od
}

/* __set_task_frozen() and __restore_freezer_state(), with freezer_lock held. */
proctype freezer()
{
	bool wake;

	do
	:: events < EVENTS ->
		atomic {
			if
			:: off_cpu && sleep == SLEEPING && !cold && !frozen ->
				saved = SLEEPING; frozen = true
#ifdef BAD_FREEZE_COLD
			:: cold && !frozen -> cold = false; saved = SLEEPING; frozen = true
#else
			:: cold && !frozen && saved == SLEEPING -> frozen = true
#endif
			:: else
			fi
		};
		atomic {
			wake = false;
			if
#ifdef BAD_THAW_COLD
			:: frozen && cold && saved == SLEEPING -> frozen = false
			:: frozen && cold && saved != SLEEPING -> wake = true
#else
			:: frozen && cold ->
				frozen = false;
				if
				:: saved == NONE -> saved = FROZEN; wake = true
				:: else
				fi
#endif
			:: frozen && !cold ->
				if
				:: saved == SLEEPING -> saved = NONE; frozen = false
				:: else -> wake = true
				fi
			:: else
			fi
		};
		if
		:: wake -> wake_up_frozen()
		:: else
		fi
	:: events >= EVENTS -> break
	od
}

/* When nothing else can happen: nobody sleeps on what has come, or waits for pages. */
proctype end()
{
	timeout -> assert(sleep == RUNNING || (!event && !queued && !frozen))
}

init
{
	atomic {
		run thread(); run waker(); run stray(); run walk(); run bringer(); run freezer();
		run end()
	}
}
