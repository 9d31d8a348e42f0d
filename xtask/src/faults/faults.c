// A library to be preloaded: what a process asks the system for in one directory fails when it is told so, and its clock may be wrong.
//
// FAULTS_BELOW     the part of a path that tells which files are meant
// FAULTS_CONTROL   a file of eight numbers of 64 bits (struct control), shared with who decides: see faults/shim.rs
// FAULTS_TRACE     where each asked-for thing is written down while the switch is on: its kind, a blank, and its path
//
// Nothing here allocates or locks, so that it may be called from anywhere.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct control {
    _Atomic int64_t on;        // whether anything is counted
    _Atomic int64_t error;     // what is answered; 0: it is only counted
    _Atomic int64_t kinds;     // which are counted, and may fail
    _Atomic int64_t from;      // the first that fails, counted from 1
    _Atomic int64_t until;     // the last one
    _Atomic int64_t seen;      // how many there were
    _Atomic int64_t failed;    // how many of them failed
    _Atomic int64_t clock_ms;  // how far the clock of the day is off
};

enum kind { CREATE = 1, WRITE = 2, SYNC = 4, NAME = 8, REMOVE = 16, CHANGE = 32, LOOK = 64 };

static struct control *control;
static const char *below, *trace;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS_CONTROL");
    below = getenv("FAULTS_BELOW");
    trace = getenv("FAULTS_TRACE");
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0) : -1;
    if (fd < 0) return;
    void *mapped = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (mapped != MAP_FAILED) control = mapped;
}

// The function of libc that stands behind one of ours: looked up before the program begins, because ours are called from signal handlers,
// where looking up may meet the program in the middle of an allocation or of another look.
#define BEHIND(result, name, ...)                                      \
    static result (*behind_##name)(__VA_ARGS__);                       \
    __attribute__((constructor)) static void look_up_##name(void) {    \
        *(void **)&behind_##name = dlsym(RTLD_NEXT, #name);            \
    }
// What runs before that has to look by itself.
#define REAL(name)                                                     \
    if (!behind_##name) look_up_##name();                              \
    __typeof__(behind_##name) real = behind_##name;

static const char *word(enum kind kind) {
    switch (kind) {
        case CREATE: return "create";
        case WRITE: return "write";
        case SYNC: return "sync";
        case NAME: return "name";
        case REMOVE: return "remove";
        case CHANGE: return "change";
        case LOOK: return "look";
    }
    return "";
}

// Counts it, and says whether it fails; errno is set then. `number` is which one it was.
static int fails(enum kind kind, const char *path, int64_t *number) {
    *number = 0;
    if (!control || !control->on || !(control->kinds & kind)) return 0;
    if (!below || !strstr(path, below)) return 0;
    int64_t at = atomic_fetch_add(&control->seen, 1) + 1;
    *number = at;
    if (trace && !control->error) {
        int saved = errno;
        char line[PATH_MAX + 32];
        int length = snprintf(line, sizeof line, "%s %s\n", word(kind), path);
        int fd = (int)syscall(SYS_openat, AT_FDCWD, trace, O_WRONLY | O_APPEND | O_CLOEXEC, 0);
        if (fd >= 0) {
            if (syscall(SYS_write, fd, line, (size_t)length) < 0) { /* it is missed by who reads it */ }
            syscall(SYS_close, fd);
        }
        errno = saved;
    }
    if (!control->error || at < control->from || at > control->until) return 0;
    atomic_fetch_add(&control->failed, 1);
    errno = (int)control->error;
    return 1;
}

static int is_watched(void) { return control && control->on; }

// The path of a descriptor; empty if it has none.
static void path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
}

// A path that is relative begins at the process's directory, or at that of a descriptor.
static void whole(int at, const char *name, char *path) {
    path[0] = 0;
    if (name[0] != '/') {
        if (at == AT_FDCWD) {
            ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/cwd", path, PATH_MAX - 1);
            path[length < 0 ? 0 : length] = 0;
        } else {
            path_of(at, path);
        }
        strncat(path, "/", PATH_MAX - strlen(path) - 1);
    }
    strncat(path, name, PATH_MAX - strlen(path) - 1);
}

static int fd_fails(enum kind kind, int fd, int64_t *number) {
    if (!is_watched() || !(control->kinds & kind)) return 0;
    int saved = errno;
    char path[PATH_MAX];
    path_of(fd, path);
    errno = saved;
    return fails(kind, path, number);
}

static int name_fails(enum kind kind, int at, const char *name) {
    if (!is_watched() || !(control->kinds & kind)) return 0;
    int saved = errno;
    char path[PATH_MAX];
    int64_t number;
    whole(at, name, path);
    errno = saved;
    return fails(kind, path, &number);
}

static int open_fails(int at, const char *name, int flags) {
    if (!is_watched()) return 0;
    if (name_fails(LOOK, at, name)) return 1;
    if (flags & O_CREAT) {
        int saved = errno;
        struct stat stat;
        int is_new = fstatat(at, name, &stat, 0) != 0;
        errno = saved;
        if (is_new) return name_fails(CREATE, at, name);
    }
    return (flags & (O_WRONLY | O_RDWR)) && name_fails(CHANGE, at, name);
}

#define MODE_OF(flags)                                                 \
    mode_t mode = 0;                                                   \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {                           \
        va_list rest;                                                  \
        va_start(rest, flags);                                         \
        mode = va_arg(rest, mode_t);                                   \
        va_end(rest);                                                  \
    }

BEHIND(int, open, const char *, int, ...)
int open(const char *name, int flags, ...) {
    REAL(open)
    MODE_OF(flags)
    return open_fails(AT_FDCWD, name, flags) ? -1 : real(name, flags, mode);
}
BEHIND(int, open64, const char *, int, ...)
int open64(const char *name, int flags, ...) {
    REAL(open64)
    MODE_OF(flags)
    return open_fails(AT_FDCWD, name, flags) ? -1 : real(name, flags, mode);
}
BEHIND(int, openat, int, const char *, int, ...)
int openat(int at, const char *name, int flags, ...) {
    REAL(openat)
    MODE_OF(flags)
    return open_fails(at, name, flags) ? -1 : real(at, name, flags, mode);
}
BEHIND(int, openat64, int, const char *, int, ...)
int openat64(int at, const char *name, int flags, ...) {
    REAL(openat64)
    MODE_OF(flags)
    return open_fails(at, name, flags) ? -1 : real(at, name, flags, mode);
}

// As on a disk that fills up: of the first that fails half is written. What follows fails at its first byte.
static int is_half(int64_t number) { return control->error == ENOSPC && number == control->from; }

BEHIND(ssize_t, write, int, const void *, size_t)
ssize_t write(int fd, const void *bytes, size_t count) {
    REAL(write)
    int64_t number;
    if (!fd_fails(WRITE, fd, &number)) return real(fd, bytes, count);
    return is_half(number) && count > 1 ? real(fd, bytes, count / 2) : -1;
}
BEHIND(ssize_t, pwrite, int, const void *, size_t, off_t)
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    REAL(pwrite)
    int64_t number;
    if (!fd_fails(WRITE, fd, &number)) return real(fd, bytes, count, at);
    return is_half(number) && count > 1 ? real(fd, bytes, count / 2, at) : -1;
}
BEHIND(ssize_t, pwrite64, int, const void *, size_t, off64_t)
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    REAL(pwrite64)
    int64_t number;
    if (!fd_fails(WRITE, fd, &number)) return real(fd, bytes, count, at);
    return is_half(number) && count > 1 ? real(fd, bytes, count / 2, at) : -1;
}
BEHIND(ssize_t, writev, int, const struct iovec *, int)
ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev)
    int64_t number;
    return fd_fails(WRITE, fd, &number) ? -1 : real(fd, parts, count);
}
BEHIND(ssize_t, pwritev, int, const struct iovec *, int, off_t)
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    REAL(pwritev)
    int64_t number;
    return fd_fails(WRITE, fd, &number) ? -1 : real(fd, parts, count, at);
}
BEHIND(ssize_t, pwritev64, int, const struct iovec *, int, off64_t)
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
    REAL(pwritev64)
    int64_t number;
    return fd_fails(WRITE, fd, &number) ? -1 : real(fd, parts, count, at);
}
BEHIND(int, fallocate, int, int, off_t, off_t)
int fallocate(int fd, int mode, off_t at, off_t count) {
    REAL(fallocate)
    int64_t number;
    return fd_fails(WRITE, fd, &number) ? -1 : real(fd, mode, at, count);
}
BEHIND(int, fallocate64, int, int, off64_t, off64_t)
int fallocate64(int fd, int mode, off64_t at, off64_t count) {
    REAL(fallocate64)
    int64_t number;
    return fd_fails(WRITE, fd, &number) ? -1 : real(fd, mode, at, count);
}
// These two give the error, and leave errno alone.
BEHIND(int, posix_fallocate, int, off_t, off_t)
int posix_fallocate(int fd, off_t at, off_t count) {
    REAL(posix_fallocate)
    int64_t number;
    return fd_fails(WRITE, fd, &number) ? errno : real(fd, at, count);
}
BEHIND(int, posix_fallocate64, int, off64_t, off64_t)
int posix_fallocate64(int fd, off64_t at, off64_t count) {
    REAL(posix_fallocate64)
    int64_t number;
    return fd_fails(WRITE, fd, &number) ? errno : real(fd, at, count);
}

// Where a file gets shorter nothing is needed.
static enum kind cut(int fd, off64_t length) {
    struct stat stat;
    return fstat(fd, &stat) == 0 && length > stat.st_size ? WRITE : REMOVE;
}
BEHIND(int, ftruncate, int, off_t)
int ftruncate(int fd, off_t length) {
    REAL(ftruncate)
    int64_t number;
    return is_watched() && fd_fails(cut(fd, length), fd, &number) ? -1 : real(fd, length);
}
BEHIND(int, ftruncate64, int, off64_t)
int ftruncate64(int fd, off64_t length) {
    REAL(ftruncate64)
    int64_t number;
    return is_watched() && fd_fails(cut(fd, length), fd, &number) ? -1 : real(fd, length);
}

BEHIND(int, fsync, int)
int fsync(int fd) {
    REAL(fsync)
    int64_t number;
    return fd_fails(SYNC, fd, &number) ? -1 : real(fd);
}
BEHIND(int, fdatasync, int)
int fdatasync(int fd) {
    REAL(fdatasync)
    int64_t number;
    return fd_fails(SYNC, fd, &number) ? -1 : real(fd);
}

BEHIND(int, rename, const char *, const char *)
int rename(const char *from, const char *to) {
    REAL(rename)
    return name_fails(NAME, AT_FDCWD, to) ? -1 : real(from, to);
}
BEHIND(int, renameat, int, const char *, int, const char *)
int renameat(int from_at, const char *from, int to_at, const char *to) {
    REAL(renameat)
    return name_fails(NAME, to_at, to) ? -1 : real(from_at, from, to_at, to);
}
BEHIND(int, link, const char *, const char *)
int link(const char *from, const char *to) {
    REAL(link)
    return name_fails(NAME, AT_FDCWD, to) ? -1 : real(from, to);
}
BEHIND(int, linkat, int, const char *, int, const char *, int)
int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
    REAL(linkat)
    return name_fails(NAME, to_at, to) ? -1 : real(from_at, from, to_at, to, flags);
}
BEHIND(int, mkdir, const char *, mode_t)
int mkdir(const char *name, mode_t mode) {
    REAL(mkdir)
    return name_fails(NAME, AT_FDCWD, name) ? -1 : real(name, mode);
}
BEHIND(int, unlink, const char *)
int unlink(const char *name) {
    REAL(unlink)
    return name_fails(REMOVE, AT_FDCWD, name) ? -1 : real(name);
}
BEHIND(int, unlinkat, int, const char *, int)
int unlinkat(int at, const char *name, int flags) {
    REAL(unlinkat)
    return name_fails(REMOVE, at, name) ? -1 : real(at, name, flags);
}

static int64_t off_ms(void) { return control ? control->clock_ms : 0; }

BEHIND(int, clock_gettime, clockid_t, struct timespec *)
int clock_gettime(clockid_t clock, struct timespec *time) {
    REAL(clock_gettime)
    int got = real(clock, time);
    int64_t off = off_ms();
    if (got == 0 && off && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t total = time->tv_nsec + (off % 1000) * 1000000;
        time->tv_sec += off / 1000 + (total < 0 ? -1 : total / 1000000000);
        time->tv_nsec = total < 0 ? total + 1000000000 : total % 1000000000;
    }
    return got;
}
BEHIND(int, gettimeofday, struct timeval *, void *)
int gettimeofday(struct timeval *time, void *zone) {
    REAL(gettimeofday)
    int got = real(time, zone);
    int64_t off = off_ms();
    if (got == 0 && off) {
        int64_t total = time->tv_usec + (off % 1000) * 1000;
        time->tv_sec += off / 1000 + (total < 0 ? -1 : total / 1000000);
        time->tv_usec = total < 0 ? total + 1000000 : total % 1000000;
    }
    return got;
}
time_t time(time_t *into) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into) *into = now.tv_sec;
    return now.tv_sec;
}
