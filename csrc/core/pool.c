/* pool.c -- threads: how many, when they start, how they share items, and what fork does to them.
 *
 * Workers start at the first call that wants them and then sleep on a condition variable. A job's
 * items are drawn from one counter; a caller works too. A second caller (another Python thread, or
 * a nested call) finds the pool taken and computes alone: it never waits.
 *
 * fork: before it, an idle pool joins its workers, so that the process forks with one thread of
 * its own; they start again when wanted. If another thread computes meanwhile, the pool is left
 * alone, and the child begins with a new one. A signal handler may fork in the middle of a call:
 * the child then has the caller but not its workers, and does all items again.
 */
#define _GNU_SOURCE
#include "pool.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "arena.h"
#include "cpu.h"
#include "results.h"
#include "seam.h"

enum { MAX_THREADS = 1024, POLL_NS = 50000000, SPIN_NS = 20000 };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    pthread_t workers[MAX_THREADS];
    int n_workers;
    bool taken; /* a caller's job is in here */
    bool quit;
    unsigned long round;          /* which job; workers wait for the next */
    int wanted, joined, n_inside; /* workers of this job: yet to come, come so far, not done */
    unsigned long n_forks;        /* that led to this process */
    const sa_job *job;
    atomic_ptrdiff_t next; /* item */
    atomic_bool stop;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER,
          .wake = PTHREAD_COND_INITIALIZER,
          .done = PTHREAD_COND_INITIALIZER};

/* What sa_job_stopped needs to know on this thread. */
typedef struct {
    atomic_bool *stop;
    const sa_control *control; /* NULL on workers */
    long long next_poll;
} participant;

static _Thread_local participant self;

static long long now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000000000 + t.tv_nsec;
}

bool sa_job_stopped(void *unused)
{
    (void)unused;
    if (atomic_load_explicit(self.stop, memory_order_relaxed)) {
        return true; /* and poll is not asked again: the exception it left is still to be raised */
    }
    if (!self.control || !self.control->poll || now_ns() < self.next_poll) {
        return false;
    }
    const bool stopped = self.control->poll(self.control->context) != 0;
    if (stopped) {
        atomic_store(self.stop, true);
    }
    self.next_poll = now_ns() + POLL_NS;
    return stopped;
}

static void run_items(const sa_job *job, atomic_ptrdiff_t *next, atomic_bool *stop, int thread,
                      const sa_control *control)
{
    const participant outer = self;
    const bool polls = control && control->poll;
    self = (participant){stop, control, polls ? now_ns() + POLL_NS : 0};
    const unsigned long word = sa_fp_begin();
    for (;;) {
        const ptrdiff_t item = atomic_fetch_add(next, 1);
        if (item >= job->n_items || atomic_load_explicit(stop, memory_order_relaxed)) {
            break;
        }
        job->run(job->context, item, thread);
    }
    sa_fp_end(word);
    self = outer;
}

static void *work(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&pool.lock);
    unsigned long seen = pool.round - (pool.taken ? 1 : 0);
    for (;;) {
        while (!pool.quit && (pool.round == seen || pool.wanted == 0)) {
            pthread_cond_wait(&pool.wake, &pool.lock);
        }
        if (pool.quit) {
            break;
        }
        seen = pool.round;
        pool.wanted--;
        const int thread = ++pool.joined;
        const sa_job *job = pool.job;
        pthread_mutex_unlock(&pool.lock);
        run_items(job, &pool.next, &pool.stop, thread, NULL);
        pthread_mutex_lock(&pool.lock);
        if (--pool.n_inside == 0) {
            pthread_cond_signal(&pool.done);
        }
    }
    pthread_mutex_unlock(&pool.lock);
    return NULL;
}

/* With the lock held: bring the pool to n workers, or as many as the system gives. */
static void start_workers(int n)
{
    sigset_t all, old;
    pthread_attr_t attributes;
    if (pool.n_workers >= n || pthread_attr_init(&attributes) != 0) {
        return;
    }
    pthread_attr_setstacksize(&attributes, (size_t)1 << 20);
    sigfillset(&all); /* signals belong to the program's own threads */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (pool.n_workers < n) {
        pthread_t *thread = &pool.workers[pool.n_workers];
        if (sa_thread_create(thread, &attributes, work, NULL) != 0) {
            break;
        }
#ifdef __linux__
        pthread_setname_np(*thread, "selfattn");
#endif
        pool.n_workers++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
}

/* With the lock held, and let go meanwhile: end all workers. */
static void join_workers(void)
{
    const int n = pool.n_workers;
    pool.quit = true;
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
    for (int i = 0; i < n; i++) {
        pthread_join(pool.workers[i], NULL);
    }
    pthread_mutex_lock(&pool.lock);
    pool.n_workers = 0;
    pool.quit = false;
}

static void before_fork(void)
{
    pthread_mutex_lock(&pool.lock);
    if (!pool.taken && pool.n_workers > 0) {
        pool.taken = true; /* nobody may begin a job while the lock is open */
        join_workers();
        pool.taken = false;
    }
    sa_arena_before_fork();
    sa_results_before_fork();
}

static void after_fork_in_parent(void)
{
    sa_results_after_fork();
    sa_arena_after_fork();
    pthread_mutex_unlock(&pool.lock);
}

/* The condition variables may count workers that are not in this process. */
static void after_fork_in_child(void)
{
    pthread_cond_init(&pool.wake, NULL);
    pthread_cond_init(&pool.done, NULL);
    pool.n_workers = 0;
    pool.taken = pool.quit = false;
    pool.wanted = pool.n_inside = 0;
    pool.n_forks++;
    sa_results_after_fork();
    sa_arena_after_fork();
    pthread_mutex_unlock(&pool.lock);
}

static void watch_forks(void)
{
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

void sa_pool_begin(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
}

__attribute__((destructor)) static void end_pool(void)
{
    pthread_mutex_lock(&pool.lock);
    const bool idle = !pool.taken;
    if (idle && pool.n_workers > 0) {
        pool.taken = true;
        join_workers();
        pool.taken = false;
    }
    pthread_mutex_unlock(&pool.lock);
    if (idle) {
        sa_arena_free_all();
        sa_results_free_all();
    }
}

/* Takes the pool for a job; false if another call has it. */
static bool take_pool(const sa_job *job, int n_threads)
{
    pthread_mutex_lock(&pool.lock);
    const bool is_free = !pool.taken;
    if (is_free) {
        pool.taken = true;
        start_workers(n_threads - 1);
        pool.job = job;
        atomic_store(&pool.next, 0);
        atomic_store(&pool.stop, false);
        pool.wanted = pool.n_workers < n_threads - 1 ? pool.n_workers : n_threads - 1;
        pool.joined = 0;
        pool.n_inside = pool.wanted;
        pool.round++;
        pthread_cond_broadcast(&pool.wake);
    }
    pthread_mutex_unlock(&pool.lock);
    return is_free;
}

/* Waits for the workers of the job, asking control meanwhile, and gives the pool back; returns
 * whether the job was stopped. */
static bool leave_pool(const sa_control *control)
{
    const long long spin_until = now_ns() + SPIN_NS;
    const participant outer = self;
    self = (participant){&pool.stop, control, now_ns() + POLL_NS};
    pthread_mutex_lock(&pool.lock);
    pool.n_inside -= pool.wanted; /* who has not come yet need not */
    pool.wanted = 0;
    while (pool.n_inside > 0) {
        if (now_ns() < spin_until) {
            pthread_mutex_unlock(&pool.lock);
            pthread_mutex_lock(&pool.lock);
            continue;
        }
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += POLL_NS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&pool.done, &pool.lock, &until);
        pthread_mutex_unlock(&pool.lock);
        sa_job_stopped(NULL);
        pthread_mutex_lock(&pool.lock);
    }
    const bool stopped = atomic_load(&pool.stop);
    pool.job = NULL;
    pool.taken = false;
    pthread_mutex_unlock(&pool.lock);
    self = outer;
    return stopped;
}

/* The calling thread ends inside control.poll: CPython ends a daemon thread so that wants the GIL
 * while the interpreter shuts down. The job stands on this thread's stack, so the workers have to be
 * out of it first. */
static void abandon_pool(void *unused)
{
    (void)unused;
    atomic_store(&pool.stop, true);
    pthread_mutex_lock(&pool.lock);
    pool.n_inside -= pool.wanted;
    pool.wanted = 0;
    while (pool.n_inside > 0) {
        pthread_cond_wait(&pool.done, &pool.lock);
    }
    pool.job = NULL;
    pool.taken = false;
    pthread_mutex_unlock(&pool.lock);
}

/* With the pool taken; returns whether the job was stopped. */
static bool run_in_pool(const sa_job *job, const sa_control *control)
{
    bool is_stopped;
    pthread_cleanup_push(abandon_pool, NULL);
    run_items(job, &pool.next, &pool.stop, 0, control);
    is_stopped = leave_pool(control);
    pthread_cleanup_pop(0);
    return is_stopped;
}

static sa_status run_alone(const sa_job *job, const sa_control *control)
{
    atomic_ptrdiff_t next = 0;
    atomic_bool stop = false;
    run_items(job, &next, &stop, 0, control);
    return atomic_load(&stop) ? SA_INTERRUPTED : SA_OK;
}

sa_status sa_pool_run(const sa_job *job, int n_threads, const sa_control *control)
{
    n_threads = n_threads < MAX_THREADS ? n_threads : MAX_THREADS;
    if (n_threads <= 1 || !take_pool(job, n_threads)) {
        return run_alone(job, control);
    }
    const unsigned long n_forks = pool.n_forks;
    if (run_in_pool(job, control)) {
        return SA_INTERRUPTED;
    }
    return pool.n_forks == n_forks ? SA_OK : run_alone(job, control);
}

/* How many threads a call may use. The environment is read once, at the first question. */
static struct {
    atomic_int chosen; /* by sa_set_num_threads; 0: none */
    int initial;
    const char *source, *bad_variable;
} count;

static void read_environment(void)
{
    static const char *const variables[] = {"SELFATTN_NUM_THREADS", "OMP_NUM_THREADS"};
    for (int i = 0; i < 2; i++) {
        const char *text = getenv(variables[i]);
        if (!text || !*text) {
            continue;
        }
        char *end;
        const long n = strtol(text, &end, 10); /* OMP_NUM_THREADS may be a list: "4,2" */
        if (end != text && n >= 1 && n <= INT_MAX && (*end == 0 || (i == 1 && *end == ','))) {
            count.initial = n < MAX_THREADS ? (int)n : MAX_THREADS;
            count.source = variables[i];
            return;
        }
        count.bad_variable = count.bad_variable ? count.bad_variable : variables[i];
    }
    count.initial = sa_count_cpus();
    count.source = "CPUs this process may use";
}

static void count_once(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, read_environment);
}

int sa_get_num_threads(void)
{
    count_once();
    const int chosen = atomic_load(&count.chosen);
    return chosen ? chosen : count.initial;
}

void sa_set_num_threads(int n) { atomic_store(&count.chosen, n > 0 ? n : 0); }

const char *sa_get_num_threads_source(void)
{
    count_once();
    return atomic_load(&count.chosen) ? "set_num_threads" : count.source;
}

const char *sa_get_bad_threads_variable(void)
{
    count_once();
    return count.bad_variable;
}
