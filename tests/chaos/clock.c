/* The wall clock, ahead or behind by what a file says; the monotonic clocks are left alone.
 *
 * Preloaded into the processes of a bad week (apart.py builds it). EDGEWARD_CLOCK names a file of eight bytes, a native
 * int64 of nanoseconds, which is mapped: a step is seen by the next look at the clock. libfaketime 0.9.10 cannot do
 * this: while it leaves the monotonic clock alone, its clock_nanosleep() with an absolute time fails with EINVAL, and
 * that is what Python's time.sleep() calls. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000LL

static const volatile int64_t *ahead_ns;
static int (*real_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("EDGEWARD_CLOCK");
    int opened = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (opened < 0)
        return;
    void *mapped = mmap(NULL, sizeof *ahead_ns, PROT_READ, MAP_SHARED, opened, 0);
    if (mapped != MAP_FAILED)
        ahead_ns = mapped;
    close(opened);
}

int clock_gettime(clockid_t clock, struct timespec *told)
{
    if (!real_gettime)
        real_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real_gettime(clock, told);

    if (!failed && ahead_ns && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t now_ns = told->tv_sec * SECOND_NS + told->tv_nsec + *ahead_ns;
        told->tv_sec = now_ns / SECOND_NS;
        told->tv_nsec = now_ns % SECOND_NS;
    }
    return failed;
}

int gettimeofday(struct timeval *restrict told, void *restrict zone)
{
    struct timespec now;
    int failed = clock_gettime(CLOCK_REALTIME, &now);

    (void)zone;
    if (!failed) {
        told->tv_sec = now.tv_sec;
        told->tv_usec = now.tv_nsec / 1000;
    }
    return failed;
}

time_t time(time_t *told)
{
    struct timespec now = {0, 0};

    clock_gettime(CLOCK_REALTIME, &now);
    if (told)
        *told = now.tv_sec;
    return now.tv_sec;
}
