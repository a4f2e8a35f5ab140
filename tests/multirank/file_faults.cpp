// A preloaded library that counts a process's file-system calls under one folder and lets the one of a given number fail,
// be slow, or be its last. Without settings it changes nothing.
//   FILE_FAULTS_FOLDER  absolute path; only calls on what is in it count
//   FILE_FAULTS_AT      number of the call, from 1; of SLOW calls several, with commas
//   FILE_FAULTS_DO      ENOSPC, EIO (that call fails), FULL (so does every later one that would need space), KILL, STOP, SLOW
//   FILE_FAULTS_SECONDS of a SLOW call
//   FILE_FAULTS_RANK    the only rank that counts; without mpirun the rank is 0
//   FILE_FAULTS_LOG     file that receives "number call path" of every call
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

template <class Function>
Function* next(const char* name) {
    return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

const char* setting(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
}

bool counts_here() {
    const char* only = setting("FILE_FAULTS_RANK");
    const char* rank = setting("OMPI_COMM_WORLD_RANK");
    return *only == '\0' || std::strcmp(only, *rank == '\0' ? "0" : rank) == 0;
}

bool is_inside(const char* path) {
    const char* folder = setting("FILE_FAULTS_FOLDER");
    return *folder != '\0' && std::strncmp(path, folder, std::strlen(folder)) == 0;
}

/// The path of `name` relative to a descriptor of a folder, as *at() calls give it.
void resolve(int folder, const char* name, char* path) {
    path[0] = '\0';
    if (name[0] != '/' && folder >= 0) {
        char link[64];
        std::snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        const ssize_t length = readlink(link, path, PATH_MAX - 1);
        path[length < 0 ? 0 : length] = '\0';
        if (*name != '\0') std::strncat(path, "/", PATH_MAX - 1 - std::strlen(path));
    }
    std::strncat(path, name, PATH_MAX - 1 - std::strlen(path));
}

enum class Needs { nothing, space };

/// Counts a call. @return whether it is to fail, with errno set
bool fails(const char* call, int folder, const char* name, Needs needs) {
    static std::atomic<long> count{0};
    char path[PATH_MAX];
    resolve(folder, name, path);
    if (!is_inside(path) || !counts_here()) return false;
    const long number = ++count;
    if (*setting("FILE_FAULTS_LOG") != '\0') {
        char line[PATH_MAX + 64];
        const int length = std::snprintf(line, sizeof line, "%ld %s %s\n", number, call, path);
        const int log = next<int(const char*, int, ...)>("open")(setting("FILE_FAULTS_LOG"),
                                                                 O_WRONLY | O_CREAT | O_APPEND, 0644);
        if (next<ssize_t(int, const void*, size_t)>("write")(log, line, static_cast<size_t>(length)) !=
            length)
            abort();
        next<int(int)>("close")(log);
    }
    const long at = std::atol(setting("FILE_FAULTS_AT"));
    const char* what = setting("FILE_FAULTS_DO");
    if (at > 0 && number > at && needs == Needs::space && std::strcmp(what, "FULL") == 0) {
        errno = ENOSPC;
        return true;
    }
    char listed[4096];
    char wanted[32];
    std::snprintf(listed, sizeof listed, ",%s,", setting("FILE_FAULTS_AT"));
    std::snprintf(wanted, sizeof wanted, ",%ld,", number);
    if (std::strstr(listed, wanted) == nullptr) return false;
    if (std::strcmp(what, "KILL") == 0) kill(getpid(), SIGKILL);
    if (std::strcmp(what, "SLOW") == 0) {
        sleep(static_cast<unsigned>(std::atoi(setting("FILE_FAULTS_SECONDS"))));
        return false;
    }
    if (std::strcmp(what, "STOP") == 0) {
        kill(getpid(), SIGSTOP);
        return false;
    }
    errno = std::strcmp(what, "EIO") == 0 ? EIO : ENOSPC;
    return true;
}

mode_t mode_of(int flags, va_list arguments) {
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

}  // namespace

extern "C" {

#define OPEN(name)                                                                                      \
    int name(const char* path, int flags, ...) {                                                        \
        va_list arguments;                                                                              \
        va_start(arguments, flags);                                                                     \
        const mode_t mode = mode_of(flags, arguments);                                                  \
        va_end(arguments);                                                                              \
        if (fails("open", -1, path, (flags & O_CREAT) != 0 ? Needs::space : Needs::nothing)) return -1; \
        return next<int(const char*, int, ...)>(#name)(path, flags, mode);                              \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                               \
    int name(int folder, const char* path, int flags, ...) {                                       \
        va_list arguments;                                                                         \
        va_start(arguments, flags);                                                                \
        const mode_t mode = mode_of(flags, arguments);                                             \
        va_end(arguments);                                                                         \
        if (fails("openat", folder, path, (flags & O_CREAT) != 0 ? Needs::space : Needs::nothing)) \
            return -1;                                                                             \
        return next<int(int, const char*, int, ...)>(#name)(folder, path, flags, mode);            \
    }
OPENAT(openat)
OPENAT(openat64)

int close(int file) {
    // As in Linux, the descriptor is gone even when closing fails.
    const int flags = fcntl(file, F_GETFL);
    const bool written = flags >= 0 && (flags & O_ACCMODE) != O_RDONLY;
    const bool failing = fails(written ? "close_written" : "close", file, "", Needs::nothing);
    const int reason = errno;
    const int status = next<int(int)>("close")(file);
    if (!failing) return status;
    errno = reason;
    return -1;
}

ssize_t read(int file, void* bytes, size_t count) {
    if (fails("read", file, "", Needs::nothing)) return -1;
    return next<ssize_t(int, void*, size_t)>("read")(file, bytes, count);
}
ssize_t write(int file, const void* bytes, size_t count) {
    if (fails("write", file, "", Needs::space)) return -1;
    return next<ssize_t(int, const void*, size_t)>("write")(file, bytes, count);
}

#define PREAD(name)                                                                         \
    ssize_t name(int file, void* bytes, size_t count, off_t offset) {                       \
        if (fails("pread", file, "", Needs::nothing)) return -1;                            \
        return next<ssize_t(int, void*, size_t, off_t)>(#name)(file, bytes, count, offset); \
    }
PREAD(pread)
PREAD(pread64)

#define PWRITE(name)                                                                              \
    ssize_t name(int file, const void* bytes, size_t count, off_t offset) {                       \
        if (fails("pwrite", file, "", Needs::space)) return -1;                                   \
        return next<ssize_t(int, const void*, size_t, off_t)>(#name)(file, bytes, count, offset); \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define TRUNCATE(name)                                             \
    int name(int file, off_t bytes) {                              \
        if (fails("ftruncate", file, "", Needs::space)) return -1; \
        return next<int(int, off_t)>(#name)(file, bytes);          \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

int fsync(int file) {
    if (fails("fsync", file, "", Needs::space)) return -1;
    return next<int(int)>("fsync")(file);
}
int fdatasync(int file) {
    if (fails("fdatasync", file, "", Needs::space)) return -1;
    return next<int(int)>("fdatasync")(file);
}

int mkdir(const char* path, mode_t mode) {
    if (fails("mkdir", -1, path, Needs::space)) return -1;
    return next<int(const char*, mode_t)>("mkdir")(path, mode);
}
int rename(const char* from, const char* to) {
    if (fails("rename", -1, from, Needs::space)) return -1;
    return next<int(const char*, const char*)>("rename")(from, to);
}
int symlink(const char* target, const char* path) {
    if (fails("symlink", -1, path, Needs::space)) return -1;
    return next<int(const char*, const char*)>("symlink")(target, path);
}
int link(const char* path, const char* other) {
    if (fails("link", -1, other, Needs::space)) return -1;
    return next<int(const char*, const char*)>("link")(path, other);
}
int unlink(const char* path) {
    if (fails("unlink", -1, path, Needs::nothing)) return -1;
    return next<int(const char*)>("unlink")(path);
}
int unlinkat(int folder, const char* path, int flags) {
    if (fails("unlinkat", folder, path, Needs::nothing)) return -1;
    return next<int(int, const char*, int)>("unlinkat")(folder, path, flags);
}
int remove(const char* path) {
    if (fails("remove", -1, path, Needs::nothing)) return -1;
    return next<int(const char*)>("remove")(path);
}
int rmdir(const char* path) {
    if (fails("rmdir", -1, path, Needs::nothing)) return -1;
    return next<int(const char*)>("rmdir")(path);
}

}  // extern "C"
