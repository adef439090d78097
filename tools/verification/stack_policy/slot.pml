// SPDX-License-Identifier: GPL-2.0
/*
 * One slot of a stack while its page is taken away and given back, for spin: the
 * protocol of mm/kstack_trim.c. "make check" runs it, and each of the BAD_
 * variants, which has to fail.
 *
 * Claims, as assertions: the thread never touches a page that is not its
 * stack's, finds in a frame what it has put there, and has the slot that it had
 * before whenever it is switched to.
 *
 * Not in here: a second slot (what is mapped is one run), readers and their
 * references, faults in the middle of a step, exit and the use of the stack by
 * another thread.
 *
 * Two CPUs with a TLB each, the thread on one of them, a trimmer, a reclaimer, who
 * wakes the thread, and somebody who uses pages that are free. How wake-ups, freezer and
 * trimmer share the thread's state is in wake.pml. Each atomic step here is one
 * there: a cmpxchg of the PTE, an INVLPG, the handler of an IPI. Loads and stores are
 * taken in program order, as x86 and the locked operations make them.
 */
#define CPUS	2
#define PAGES	2
#define NONE	255
#define NOBODY	254

/* What the PTE says. */
mtype = { EMPTY, PRESENT, RETAINED, ASKED };
mtype state = EMPTY;
byte page = NONE;

/* Whose a page is, and what is in it. */
mtype = { FREE, STACK, OTHER };
mtype owner[PAGES];
bool frame_in[PAGES];			/* the thread's frame, unharmed */

byte tlb[CPUS];				/* page, or NONE */
bool irqs_off[CPUS];			/* takes no IPI */

bool running, blocked;			/* neither: runnable */
bool dequeued;				/* off the runqueue, and running still */
byte cpu;				/* where it runs, or ran last */
bool live;				/* the slot is in use: above SP */
bool was_live;				/* the same, when it was switched out last */
byte flushed_cpu = NOBODY;
bool tif;				/* TIF_KSTACK */
bool want;				/* cold: to be completed before it is runnable */
bool was_cold;				/* the same until it runs, for the assertion */

/* A CPU may load a translation whenever there is one. */
inline load(c)
{
	if
	:: state == PRESENT -> tlb[c] = page
	:: else
	fi
}

/* EMPTY: a zeroed page of the reserve, if there is one. */
inline map_fresh()
{
	if
	:: owner[0] == FREE -> owner[0] = STACK; frame_in[0] = false; page = 0; state = PRESENT
	:: owner[1] == FREE -> owner[1] = STACK; frame_in[1] = false; page = 1; state = PRESENT
	:: else
	fi
}

/* kstack_take_back(), and what its callers do with an EMPTY slot. */
inline grow()
{
	if
#ifdef BAD_MAP_FRESH
	:: state == RETAINED || state == ASKED ->
		owner[page] = FREE; page = NONE; map_fresh()
#else
	:: state == RETAINED || state == ASKED -> state = PRESENT
#endif
	:: state == EMPTY -> map_fresh()
	:: else
	fi
}

/* The thread pushes or pops: translated by its CPU, or it faults and grows. */
inline push()
{
	if
	:: tlb[cpu] == NONE -> if :: state != PRESENT -> grow() :: else fi; load(cpu)
	:: else
	fi;
	if
	:: tlb[cpu] != NONE ->
		assert(owner[tlb[cpu]] == STACK);
		frame_in[tlb[cpu]] = true;
		live = true
	:: else		/* no page for it: dies as a stock kernel does */
	fi
}

inline pop()
{
	if
	:: tlb[cpu] == NONE -> if :: state != PRESENT -> grow() :: else fi; load(cpu)
	:: else
	fi;
	if
	:: tlb[cpu] != NONE ->
		assert(owner[tlb[cpu]] == STACK);
		assert(frame_in[tlb[cpu]]);
		live = false
	:: else -> assert(false)	/* its page is the stack's, so it is there */
	fi
}

proctype thread()
{
	bool passing;
	byte c;

	do
	/* It uses the slot, with stack_ensure() before or without. */
	:: running && !live -> atomic { if :: running && !live -> push() :: else fi }
	:: running && !live -> atomic { if :: running && !live -> grow() :: else fi }
	:: running && live -> atomic { if :: running && live -> pop() :: else fi }

	/* kstack_trim_current(): interrupts are off. */
	:: running && !live && state == PRESENT ->
		irqs_off[cpu] = true;
		atomic { state = RETAINED; tif = true };
#ifndef BAD_NO_LOCAL_FLUSH
		tlb[cpu] = NONE;
#endif
		flushed_cpu = cpu;
		irqs_off[cpu] = false

	/* It sleeps, or is preempted. __schedule() runs on its stack for a while yet. */
	:: running -> dequeued = true;
		if
		:: !live -> atomic { push(); passing = live }
		:: skip
		fi;
		if
		:: passing -> atomic { pop(); passing = false }
		:: else
		fi;
		atomic { running = false; dequeued = false; blocked = true; was_live = live }
	:: running -> atomic { running = false; was_live = live }

	/* And is switched to, on any CPU. */
	:: !running && !blocked ->
		atomic {
			if
			:: c = 0
			:: c = 1
			fi;
			running = true;
			cpu = c;
			irqs_off[c] = true
		};
		assert(!was_cold || state == PRESENT);
		was_cold = false;
		/* Before the hook: frames of the switch itself may get there. */
		if
		:: !live -> atomic { push(); passing = live }
		:: skip
		fi;
		if
		:: tif ->
#ifndef BAD_NO_SWITCH_FLUSH
			/* kstack_flush_retained() */
			if
			:: (state == RETAINED || state == ASKED) && flushed_cpu != cpu ->
				tlb[cpu] = NONE
			:: else
			fi;
#endif
			flushed_cpu = cpu;
			if
			:: state != RETAINED && state != ASKED -> tif = false
			:: else
			fi
		:: else
		fi;
		/* And have left when interrupts are on again. */
		if
		:: passing -> atomic { pop(); passing = false }
		:: else
		fi;
		irqs_off[cpu] = false
	od
}

/* kstack_trim_blocked_fn(): nobody wakes it meanwhile, so one step. */
proctype trimmer()
{
	do
#ifdef BAD_TRIM_RUNNING
	/* Off the runqueue is not off the CPU: goes by the SP of the last switch. */
	:: atomic { (blocked || dequeued) && !was_live && state == PRESENT ->
#else
	:: atomic { blocked && !live && !want && state == PRESENT ->
#endif
			state = RETAINED; tif = true; want = true; was_cold = true;
#ifndef BAD_KEEP_FLUSHED_CPU
			flushed_cpu = NOBODY
#endif
		}
	od
}

/*
 * try_to_wake_up(), or who brings pages: pi_lock is held, so one step. The thread does not
 * run, so it does not matter on which CPU. Without a page it waits.
 */
proctype waker()
{
	do
	:: atomic { blocked && !want -> blocked = false }
	:: atomic { blocked && want ->
			grow();
			if
			:: state == PRESENT -> want = false; blocked = false
#ifdef BAD_WAKE_SHORT
			:: else -> want = false; blocked = false
#else
			:: else
#endif
			fi
		}
	od
}

inline flush_all()
{
#ifdef BAD_BROADCAST
	/* As INVLPGB: does not wait for who has interrupts off. */
	tlb[0] = NONE;
	tlb[1] = NONE
#else
	atomic { !irqs_off[0] -> tlb[0] = NONE };
	atomic { !irqs_off[1] -> tlb[1] = NONE }
#endif
}

inline free_asked()
{
	atomic {
		if
#ifdef BAD_NO_GENERATION
		:: state == ASKED || state == RETAINED ->
#else
		:: state == ASKED ->
#endif
			state = EMPTY; owner[page] = FREE; page = NONE
		:: else
		fi
	}
}

proctype reclaimer()
{
	do
	:: atomic { if :: state == RETAINED -> state = ASKED :: else fi };
#ifdef BAD_FREE_BEFORE_FLUSH
		free_asked();
		flush_all()
#else
		flush_all();
		free_asked()
#endif
	od
}

/* Takes what is free, writes to it, gives it back. */
proctype other()
{
	byte p;

	do
	:: atomic { owner[0] == FREE -> owner[0] = OTHER; p = 0; frame_in[p] = false };
		owner[p] = FREE
	:: atomic { owner[1] == FREE -> owner[1] = OTHER; p = 1; frame_in[p] = false };
		owner[p] = FREE
	od
}

/* TLBs fill themselves. */
proctype speculation()
{
	do
	:: atomic { state == PRESENT && tlb[0] == NONE -> tlb[0] = page }
	:: atomic { state == PRESENT && tlb[1] == NONE -> tlb[1] = page }
	od
}

init
{
	atomic {
		owner[0] = FREE; owner[1] = FREE;
		tlb[0] = NONE; tlb[1] = NONE;
		running = true;
		run thread(); run trimmer(); run waker(); run reclaimer(); run other(); run speculation()
	}
}
