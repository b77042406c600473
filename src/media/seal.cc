#include "media/seal.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/sanitized.h"

namespace media {
namespace {

// ---- Landlock ----------------------------------------------------------------------------------

// By number: the packaged header is older than the kernels that it runs on. Every right over files
// that an interface knows is claimed, and none is given.
void forbid_files() {
  constexpr long create_ruleset = 444, restrict_self = 446;
  const long abi = ::syscall(create_ruleset, nullptr, 0, 1);  // 1: ask for the version
  if (abi < 1) return;
  const int rights = abi >= 5 ? 16 : abi >= 3 ? 15 : abi >= 2 ? 14 : 13;
  const uint64_t handled = (uint64_t{1} << rights) - 1;
  const int ruleset = static_cast<int>(::syscall(create_ruleset, &handled, sizeof(handled), 0));
  if (ruleset < 0) return;
  ::syscall(restrict_self, ruleset, 0);
  ::close(ruleset);
}

// ---- seccomp -----------------------------------------------------------------------------------

// What a decoder, the allocator and a sanitizer's report do.
constexpr std::array common_calls = {
    SCMP_SYS(write),          SCMP_SYS(pwrite64),      SCMP_SYS(munmap),
    SCMP_SYS(mremap),         SCMP_SYS(brk),           SCMP_SYS(madvise),
    SCMP_SYS(futex),          SCMP_SYS(exit),          SCMP_SYS(exit_group),
    SCMP_SYS(rt_sigreturn),   SCMP_SYS(rt_sigaction),  SCMP_SYS(sigaltstack),
    SCMP_SYS(rt_sigprocmask), SCMP_SYS(getpid),        SCMP_SYS(gettid),
    SCMP_SYS(tgkill),         SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday),
    SCMP_SYS(sched_yield),    SCMP_SYS(close),         SCMP_SYS(restart_syscall)};
// What keeping adds: messages, memory files, forking, waiting, and confining the child further.
constexpr std::array keeper_calls = {
    SCMP_SYS(sendmsg),        SCMP_SYS(recvmsg), SCMP_SYS(poll),      SCMP_SYS(ppoll),
    SCMP_SYS(read),           SCMP_SYS(lseek),   SCMP_SYS(ftruncate), SCMP_SYS(memfd_create),
    SCMP_SYS(pipe2),          SCMP_SYS(wait4),   SCMP_SYS(kill),      SCMP_SYS(getppid),
    SCMP_SYS(prctl),          SCMP_SYS(seccomp), SCMP_SYS(setrlimit), SCMP_SYS(prlimit64),
    SCMP_SYS(set_robust_list)};

bool add_common(scmp_filter_ctx filter) {
  bool good = true;
  const auto allow = [&](int call) {
    good = good && seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0) == 0;
  };
  for (const int call : common_calls) allow(call);
  // Memory, but none that could be run.
  for (const int call : {SCMP_SYS(mmap), SCMP_SYS(mprotect)}) {
    good = good && seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1,
                                    SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) == 0;
  }
  return good;
}

bool add_keeper(scmp_filter_ctx filter) {
  bool good = true;
  for (const int call : keeper_calls) {
    good = good && seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0) == 0;
  }
  // To look at the seals of a memory file, and for dup'ed descriptors nothing.
  good = good && seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
                                  SCMP_A1(SCMP_CMP_EQ, F_GET_SEALS)) == 0;
  // fork(): no thread, no namespace.
  constexpr uint64_t more_than_fork = CLONE_VM | CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS |
                                      CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
  return good && seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                                  SCMP_A0(SCMP_CMP_MASKED_EQ, more_than_fork, 0)) == 0;
}

// The filter as the kernel takes it; libseccomp writes it into a file.
CallFilter compile(bool keeper) {
  CallFilter program;
  // EPERM, not death: a library that tries something harmless goes on without it.
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
  if (filter == nullptr) return program;
  const int memory = ::memfd_create("filter", MFD_CLOEXEC);
  const bool good = memory >= 0 && add_common(filter) && (!keeper || add_keeper(filter)) &&
                    seccomp_export_bpf(filter, memory) == 0;
  const off_t bytes = good ? ::lseek(memory, 0, SEEK_END) : 0;
  program.resize(static_cast<size_t>(std::max<off_t>(bytes, 0)) / sizeof(sock_filter));
  const size_t wanted = program.size() * sizeof(sock_filter);
  if (wanted > 0 && ::pread(memory, program.data(), wanted, 0) != static_cast<ssize_t>(wanted)) {
    program.clear();
  }
  if (memory >= 0) ::close(memory);
  seccomp_release(filter);
  return program;
}

void put_on(const CallFilter& filter) {
  if (filter.empty()) return;
  const sock_fprog program{static_cast<unsigned short>(filter.size()),
                           const_cast<sock_filter*>(filter.data())};
  ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

void limit(int what, uint64_t most) {
  const rlimit value{most, most};
  ::setrlimit(static_cast<__rlimit_resource>(what), &value);
}

}  // namespace

CallFilter child_filter() { return compile(false); }

void seal_keeper() {
  const CallFilter filter = compile(true);
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  limit(RLIMIT_CORE, 0);
  forbid_files();
  put_on(filter);
}

void seal_child(const ChildLimits& limits, const CallFilter& filter) {
  // A sanitizer's shadow alone is larger than any limit.
  if (!base::sanitized && limits.memory_bytes != 0) limit(RLIMIT_AS, limits.memory_bytes);
  const auto seconds = static_cast<rlim_t>(limits.cpu_seconds);
  const rlimit time{seconds, seconds + 1};
  ::setrlimit(RLIMIT_CPU, &time);
  limit(RLIMIT_FSIZE, limits.output_bytes);
  limit(RLIMIT_NOFILE, 0);
  put_on(filter);
}

uint64_t address_space_bytes() {
  unsigned long pages = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  if (file == nullptr) return 0;
  if (std::fscanf(file, "%lu", &pages) != 1) pages = 0;
  std::fclose(file);
  return uint64_t{pages} * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace media
