/* SPDX-License-Identifier: MIT
 *
 * The fault guard.
 *
 * A load or store in a mapped file raises SIGBUS when the page has no backing any more: somebody truncated the
 * file, the disk returned an error, the file system is full. The default is the death of the process. Here the
 * handler marks the mapping and puts zero pages under the faulting access, which then completes; every access
 * of ours asks for the mark afterwards and raises. Code that reads the memory directly (a numpy array) sees
 * zeros and lives.
 *
 * Who looks at these words: the thread that maps and unmaps (under `registry`), the handlers of any number of
 * threads (without a lock: they may have interrupted the one that holds it), and the accesses, which only read
 * `mark`.
 *
 *   Map      1  mmap; fill end, page, prot, mark = 0; start last. A fault before that is nobody's: the address
 *               is not known to anybody yet.
 *   Fault    2  si_code must be BUS_ADRERR; everything else is chained.
 *            3  find the region, pins + 1, read start again: changed means it is being unmapped; let go, chain.
 *            4  mark (only ever downwards). Before 5: in the other order a second thread could read zeros from
 *               the new pages and find no mark.
 *            5  mmap MAP_FIXED zero pages from the faulting page to the end; a fault below an earlier one takes
 *               the whole mapping. So at most two replacements of each mapping, however many pages fault: one
 *               page at a time would end in ENOMEM (the limit of mappings) and on huge pages in EINVAL.
 *            6  pins - 1.
 *            Two threads at once: the second puts zeros over zeros, the mark stands.
 *   Unmap    7  start = 0, wait for pins == 0 (at most one mmap long), munmap, region free. After start = 0 no
 *               handler enters, and those inside are done before the address goes back to the kernel: a zero
 *               page of ours never lands on a mapping that somebody else made there.
 *   Chain    8  to the action found when ours was put on top. SIG_DFL: restore it and return, the fault repeats
 *               and kills with the right core.
 *   Fork     9  the registry is copied with the memory; no handler runs in the child: pins = 0.
 *
 * Inside the handler: no allocation, no Python, no lock; mmap by the raw system call; errno kept.
 */
#define _GNU_SOURCE
#include "guard.h"
#include "of_thread.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define CHUNK 256

struct chunk {
    struct chunk *next;
    mmf_region region[CHUNK];
};

static pthread_mutex_t registry = PTHREAD_MUTEX_INITIALIZER;
static struct chunk *chunks; /* published by a release store, never freed */
static mmf_region *free_regions;
static size_t watched;
static unsigned long faults, displaced;

/* Each time that somebody else's action is found on top, ours is put above it as a handler of its own, with what
 * it found below it. So the order of handlers is a stack, as their owners believe it is: faulthandler, enabled
 * after us, later puts back *the handler that it found*, and that one knows what was below faulthandler. */
#define LEVELS 16

static const struct sigaction default_action; /* sa_handler = SIG_DFL */
static const struct sigaction *below[LEVELS]; /* replaced, never written to or freed: a handler may be reading */
static int level = -1;

/* How deep this thread is in handlers below ours: the end of a circle that should not exist. */
static MMF_OF_THREAD int chained;

/* ------------------------------------------------------------------------------------------ the handler */

static int replace(mmf_region *region, uintptr_t start, uintptr_t address)
{
    uintptr_t from = start + ((address - start) & ~((uintptr_t)region->page - 1)); /* never below our own mapping */
    uintptr_t mark = __atomic_load_n(&region->mark, __ATOMIC_SEQ_CST);
    do {
        if (mark != 0 && from >= mark)
            from = mark; /* another thread is at step 5 for these pages, or the page could not be replaced */
        else if (mark != 0)
            from = start; /* a second fault, below the first */
        if (from == mark)
            break;
    } while (!__atomic_compare_exchange_n(&region->mark, &mark, from, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    /* Safe: [from, end) lies in a mapping of ours that cannot be unmapped while we hold a pin. NORESERVE, or a
     * writable terabyte would count against the limit of committed memory. */
    long rc = syscall(SYS_mmap, from, region->end - from, region->prot,
                      MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0L);
    return rc != -1;
}

/* 1: replaced; 0: not an address of ours; -1: ours, but the pages could not be replaced. */
static int handle(uintptr_t address)
{
    for (struct chunk *c = __atomic_load_n(&chunks, __ATOMIC_ACQUIRE); c; c = c->next) {
        for (int i = 0; i < CHUNK; i++) {
            mmf_region *region = &c->region[i];
            uintptr_t start = __atomic_load_n(&region->start, __ATOMIC_ACQUIRE);
            if (start == 0 || address < start || address >= region->end)
                continue;
            __atomic_add_fetch(&region->pins, 1, __ATOMIC_SEQ_CST);
            int done = 0;
            if (__atomic_load_n(&region->start, __ATOMIC_SEQ_CST) == start && address < region->end)
                done = replace(region, start, address) ? 1 : -1;
            __atomic_sub_fetch(&region->pins, 1, __ATOMIC_SEQ_CST);
            if (done) {
                __atomic_add_fetch(&faults, 1, __ATOMIC_RELAXED);
                return done;
            }
        }
    }
    return 0;
}

/* Was this signal raised by a handler that runs on the alternate stack? faulthandler, installed after us, puts
 * our action back and raises the signal again from inside its own handler: to return is right then, because the
 * access that faulted is repeated and comes to us with its address. */
static int raised_inside_a_handler(const siginfo_t *info, const ucontext_t *context)
{
    if (info->si_code != SI_TKILL || info->si_pid != getpid())
        return 0;
    stack_t stack;
    if (syscall(SYS_sigaltstack, NULL, &stack) != 0 || (stack.ss_flags & SS_DISABLE))
        return 0;
#if defined(__x86_64__)
    uintptr_t sp = (uintptr_t)context->uc_mcontext.gregs[REG_RSP];
#elif defined(__aarch64__)
    uintptr_t sp = (uintptr_t)context->uc_mcontext.sp;
#else
    uintptr_t sp = 0;
#endif
    return sp >= (uintptr_t)stack.ss_sp && sp < (uintptr_t)stack.ss_sp + stack.ss_size;
}

static void chain(int at, int signum, siginfo_t *info, void *context)
{
    const struct sigaction *next = __atomic_load_n(&below[at], __ATOMIC_ACQUIRE);
    int sent = info->si_code <= 0; /* by kill, raise, sigqueue: no instruction repeats */
    if (!next || chained > LEVELS)
        next = &default_action;
    if (!(next->sa_flags & SA_SIGINFO) && next->sa_handler == SIG_IGN && sent)
        return;
    if (!(next->sa_flags & SA_SIGINFO) && (next->sa_handler == SIG_DFL || next->sa_handler == SIG_IGN)) {
        sigaction(signum, &default_action, NULL);
        if (sent)
            syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), signum); /* delivered when we return */
        return;
    }
    chained++;
    if (next->sa_flags & SA_SIGINFO)
        next->sa_sigaction(signum, info, context);
    else
        next->sa_handler(signum);
    chained--;
}

static void on_sigbus(int at, int signum, siginfo_t *info, void *context)
{
    int saved = errno;
    if (info->si_code == BUS_ADRERR) {
        int done = handle((uintptr_t)info->si_addr);
        if (done < 0)
            sigaction(signum, &default_action, NULL); /* the fault repeats and ends the process with its core */
        else if (done == 0)
            chain(at, signum, info, context);
    } else if (!raised_inside_a_handler(info, context)) {
        chain(at, signum, info, context);
    }
    errno = saved;
}

typedef void (*handler)(int, siginfo_t *, void *);
#define AT(n) \
    static void on_sigbus_##n(int signum, siginfo_t *info, void *context) { on_sigbus(n, signum, info, context); }
AT(0) AT(1) AT(2) AT(3) AT(4) AT(5) AT(6) AT(7) AT(8) AT(9) AT(10) AT(11) AT(12) AT(13) AT(14) AT(15)
static const handler handlers[LEVELS] = {
    on_sigbus_0, on_sigbus_1, on_sigbus_2,  on_sigbus_3,  on_sigbus_4,  on_sigbus_5,  on_sigbus_6,  on_sigbus_7,
    on_sigbus_8, on_sigbus_9, on_sigbus_10, on_sigbus_11, on_sigbus_12, on_sigbus_13, on_sigbus_14, on_sigbus_15,
};

static int is_ours(const struct sigaction *action)
{
    if (action->sa_flags & SA_SIGINFO)
        for (int i = 0; i < LEVELS; i++)
            if (action->sa_sigaction == handlers[i])
                return 1;
    return 0;
}

/* ---------------------------------------------------------------------------------- arming, the registry */

static int arm_locked(void)
{
    struct sigaction now, ours;
    if (sigaction(SIGBUS, NULL, &now) != 0)
        return -1;
    if (is_ours(&now))
        return 0;
    struct sigaction *found = malloc(sizeof *found);
    if (!found) {
        errno = ENOMEM;
        return -1;
    }
    *found = now;
    if (level >= 0)
        displaced++;
    /* Nobody on top: nobody below us either, start again. Somebody: he may come back to any of our levels. */
    int nobody = !(now.sa_flags & SA_SIGINFO) && (now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN);
    level = nobody ? 0 : level + 1 < LEVELS ? level + 1 : LEVELS - 1;
    /* Before our handler is on top: it may be called as soon as it is. */
    __atomic_store_n(&below[level], found, __ATOMIC_RELEASE);
    memset(&ours, 0, sizeof ours);
    ours.sa_sigaction = handlers[level];
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&ours.sa_mask);
    return sigaction(SIGBUS, &ours, NULL);
}

static void before_fork(void) { pthread_mutex_lock(&registry); }
static void after_fork_parent(void) { pthread_mutex_unlock(&registry); }
static void after_fork_child(void)
{
    for (struct chunk *c = chunks; c; c = c->next)
        for (int i = 0; i < CHUNK; i++)
            c->region[i].pins = 0; /* a handler of another thread that was inside does not exist here */
    pthread_mutex_unlock(&registry); /* by the thread that locked it, in its copy */
}

__attribute__((constructor)) static void follow_forks(void)
{
    pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

int mmf_arm(void)
{
    pthread_mutex_lock(&registry);
    int rc = arm_locked();
    pthread_mutex_unlock(&registry);
    return rc;
}

static mmf_region *take_region(void)
{
    if (!free_regions) {
        struct chunk *c = calloc(1, sizeof *c);
        if (!c)
            return NULL;
        for (int i = CHUNK - 1; i >= 0; i--) {
            c->region[i].next_free = free_regions;
            free_regions = &c->region[i];
        }
        c->next = chunks;
        __atomic_store_n(&chunks, c, __ATOMIC_RELEASE);
    }
    mmf_region *region = free_regions;
    free_regions = region->next_free;
    return region;
}

mmf_region *mmf_map(size_t length, int prot, int flags, mmf_object fd, int64_t offset, size_t page)
{
    if (length > SIZE_MAX - page) {
        errno = ENOMEM;
        return NULL;
    }
    size_t whole = (length + page - 1) & ~(page - 1);
    pthread_mutex_lock(&registry);
    mmf_region *region = arm_locked() == 0 ? take_region() : NULL;
    pthread_mutex_unlock(&registry);
    if (!region) {
        errno = ENOMEM;
        return NULL;
    }
    void *address = mmap(NULL, whole, prot, flags, fd, offset);
    pthread_mutex_lock(&registry);
    if (address == MAP_FAILED) {
        int error = errno;
        region->next_free = free_regions;
        free_regions = region;
        pthread_mutex_unlock(&registry);
        errno = error;
        return NULL;
    }
    region->end = (uintptr_t)address + whole;
    region->page = page;
    region->prot = prot;
    region->mark = 0;
    __atomic_store_n(&region->start, (uintptr_t)address, __ATOMIC_RELEASE);
    watched++;
    pthread_mutex_unlock(&registry);
    return region;
}

void mmf_unmap(mmf_region *region)
{
    uintptr_t start = region->start;
    __atomic_store_n(&region->start, 0, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&region->pins, __ATOMIC_SEQ_CST) != 0)
        sched_yield();
    munmap((void *)start, region->end - start);
    pthread_mutex_lock(&registry);
    region->next_free = free_regions;
    free_regions = region;
    watched--;
    pthread_mutex_unlock(&registry);
}

void mmf_guard_status(mmf_guard_state *state)
{
    struct sigaction now;
    pthread_mutex_lock(&registry);
    state->armed = sigaction(SIGBUS, NULL, &now) == 0 && is_ours(&now);
    state->regions = watched;
    state->displaced = displaced;
    state->faults = __atomic_load_n(&faults, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&registry);
}
