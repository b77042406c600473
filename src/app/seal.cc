#include "app/seal.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace app {
namespace {

// Landlock by number: the packaged header knows neither truncation nor the network. Bits and
// structures are those of the kernel's interface, versions 1 to 6.
namespace landlock {
constexpr long create_ruleset = 444, add_rule = 445, restrict_self = 446;
constexpr uint32_t ask_version = 1;
constexpr int rule_path_beneath = 1;

constexpr uint64_t write_file = 1 << 1, read_file = 1 << 2, read_dir = 1 << 3, remove_dir = 1 << 4,
                   remove_file = 1 << 5, make_dir = 1 << 7, make_reg = 1 << 8, truncate = 1 << 14;
constexpr uint64_t all_of_abi_1 = (1 << 13) - 1;
constexpr uint64_t refer = 1 << 13;                            // abi 2
constexpr uint64_t ioctl_dev = 1 << 15;                        // abi 5
constexpr uint64_t net_bind_and_connect = 3;                   // abi 4, TCP
constexpr uint64_t scope_abstract_unix = 1, scope_signal = 2;  // abi 6

struct Ruleset {
  uint64_t handled_fs = 0, handled_net = 0, scoped = 0;
};
// How many bytes of Ruleset an interface knows; more than that it refuses.
size_t ruleset_bytes(int abi) { return abi >= 6 ? 24 : abi >= 4 ? 16 : 8; }

struct __attribute__((packed)) PathBeneath {
  uint64_t allowed = 0;
  int32_t parent = -1;
};
}  // namespace landlock

std::string errno_text() { return std::strerror(errno); }

bool write_text(const char* path, const std::string& text) {
  const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool done = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(fd);
  return done;
}

// ---- namespaces --------------------------------------------------------------------------------

void enter_namespaces(SealReport& report) {
  const unsigned user = ::geteuid(), group = ::getegid();
  if (user == 0) {
    report.network_namespace = ::unshare(CLONE_NEWNET) == 0;
    if (report.network_namespace) return;
  }
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
    report.missing.push_back("namespace: " + errno_text());
    return;
  }
  report.user_namespace = report.network_namespace = true;
  // The same numbers inside as outside, so that files stay ours. A failure leaves us as "nobody"
  // inside, which matters for the display only: the kernel keeps checking the outer numbers.
  (void)write_text("/proc/self/setgroups", "deny");
  (void)write_text("/proc/self/uid_map", std::to_string(user) + " " + std::to_string(user) + " 1");
  (void)write_text("/proc/self/gid_map",
                   std::to_string(group) + " " + std::to_string(group) + " 1");
}

// ---- Landlock ----------------------------------------------------------------------------------

bool allow_path(int ruleset, const std::string& path, uint64_t access) {
  const int fd = ::open(path.c_str(), O_PATH | O_CLOEXEC);
  if (fd < 0) return false;
  struct stat about {};
  // Rights that only directories have are refused for a file.
  if (::fstat(fd, &about) == 0 && !S_ISDIR(about.st_mode)) {
    access &= landlock::read_file | landlock::write_file | landlock::truncate;
  }
  const landlock::PathBeneath rule{access, fd};
  const bool done =
      ::syscall(landlock::add_rule, ruleset, landlock::rule_path_beneath, &rule, 0) == 0;
  ::close(fd);
  return done;
}

void enter_landlock(const SealPlan& plan, SealReport& report) {
  const long known = ::syscall(landlock::create_ruleset, nullptr, 0, landlock::ask_version);
  if (known < 1) {
    report.missing.push_back("Landlock: " + errno_text());
    return;
  }
  const int abi = static_cast<int>(std::min<long>(known, plan.landlock_abi_max));
  landlock::Ruleset rules;
  rules.handled_fs = landlock::all_of_abi_1;
  if (abi >= 2) rules.handled_fs |= landlock::refer;
  if (abi >= 3) rules.handled_fs |= landlock::truncate;
  if (abi >= 4) rules.handled_net = landlock::net_bind_and_connect;
  if (abi >= 5) rules.handled_fs |= landlock::ioctl_dev;
  if (abi >= 6) rules.scoped = landlock::scope_abstract_unix | landlock::scope_signal;
  const int ruleset = static_cast<int>(
      ::syscall(landlock::create_ruleset, &rules, landlock::ruleset_bytes(abi), 0));
  if (ruleset < 0) {
    report.missing.push_back("Landlock: " + errno_text());
    return;
  }
  const uint64_t reading = landlock::read_file | landlock::read_dir;
  const uint64_t writing = reading | landlock::write_file | landlock::remove_file |
                           landlock::remove_dir | landlock::make_dir | landlock::make_reg |
                           (landlock::truncate & rules.handled_fs);
  // A path that is not there cannot be allowed, and need not be.
  for (const std::string& path : plan.read_only) allow_path(ruleset, path, reading);
  for (const std::string& path : plan.read_write) allow_path(ruleset, path, writing);
  if (::syscall(landlock::restrict_self, ruleset, 0) == 0) {
    report.landlock_abi = abi;
  } else {
    report.missing.push_back("Landlock: " + errno_text());
  }
  ::close(ruleset);
}

// ---- capabilities ------------------------------------------------------------------------------

// A root process keeps the right to open files whatever their owner, which Landlock then narrows;
// everything else of root, and all that a new user namespace brings, goes.
void drop_capabilities() {
  const uint32_t kept = ::geteuid() == 0 ? 1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH : 0u;
  for (int capability = 0; ::prctl(PR_CAPBSET_READ, capability) >= 0; ++capability) {
    if (capability < 32 && (kept >> capability & 1)) continue;
    ::prctl(PR_CAPBSET_DROP, capability);
  }
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {{kept, kept, 0}, {0, 0, 0}};
  ::syscall(SYS_capset, &header, data);
}

// ---- seccomp -----------------------------------------------------------------------------------

// Refused with EPERM whatever the arguments. Names that the running library does not know are
// given by number (x86-64).
constexpr std::array refused_calls = {
    // anything that makes or directs a socket
    SCMP_SYS(socket), SCMP_SYS(socketpair), SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(listen),
    SCMP_SYS(io_uring_setup), SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register),
    // another program
    SCMP_SYS(execve), SCMP_SYS(execveat),
    // another namespace, root or mount
    SCMP_SYS(unshare), SCMP_SYS(setns), SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root),
    SCMP_SYS(chroot), SCMP_SYS(open_tree), SCMP_SYS(move_mount), SCMP_SYS(fsopen),
    SCMP_SYS(fsconfig), SCMP_SYS(fsmount), SCMP_SYS(fspick), SCMP_SYS(mount_setattr),
    // another process
    SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev),
    SCMP_SYS(pidfd_getfd), SCMP_SYS(pidfd_open), SCMP_SYS(process_madvise), SCMP_SYS(kcmp),
    SCMP_SYS(move_pages), SCMP_SYS(migrate_pages),
    // the kernel's own machinery
    SCMP_SYS(bpf), SCMP_SYS(userfaultfd), SCMP_SYS(perf_event_open), SCMP_SYS(keyctl),
    SCMP_SYS(add_key), SCMP_SYS(request_key), SCMP_SYS(init_module), SCMP_SYS(finit_module),
    SCMP_SYS(delete_module), SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load), SCMP_SYS(reboot),
    SCMP_SYS(swapon), SCMP_SYS(swapoff), SCMP_SYS(acct), SCMP_SYS(quotactl), SCMP_SYS(iopl),
    SCMP_SYS(ioperm), SCMP_SYS(syslog), SCMP_SYS(settimeofday), SCMP_SYS(clock_settime),
    SCMP_SYS(sethostname), SCMP_SYS(setdomainname), SCMP_SYS(name_to_handle_at),
    SCMP_SYS(open_by_handle_at), SCMP_SYS(fanotify_init), SCMP_SYS(lookup_dcookie),
    SCMP_SYS(personality), SCMP_SYS(vhangup), SCMP_SYS(nfsservctl)};

// clone() is how threads are made; with one of these flags it makes a namespace.
constexpr std::array<uint64_t, 7> namespace_flags = {CLONE_NEWNS,  CLONE_NEWCGROUP, CLONE_NEWUTS,
                                                     CLONE_NEWIPC, CLONE_NEWUSER,   CLONE_NEWPID,
                                                     CLONE_NEWNET};
// Sending with it on a socket that has lost its peer would connect anew.
constexpr uint64_t msg_fastopen = 0x20000000;

bool add_rules(scmp_filter_ctx filter, const SealPlan& plan) {
  const uint32_t refuse = SCMP_ACT_ERRNO(EPERM);
  bool good = true;
  for (const int call : refused_calls) {
    // A call that this architecture lacks has a negative pseudo number.
    if (call >= 0) good &= seccomp_rule_add(filter, refuse, call, 0) == 0;
  }
  if (!plan.accepts_connections) {
    good &= seccomp_rule_add(filter, refuse, SCMP_SYS(accept), 0) == 0;
    good &= seccomp_rule_add(filter, refuse, SCMP_SYS(accept4), 0) == 0;
  }
  good &= seccomp_rule_add(filter, refuse, SCMP_SYS(sendto), 1, SCMP_A4(SCMP_CMP_NE, 0)) == 0;
  const auto refuse_flag = [&](int call, scmp_arg_cmp flag) {
    good &= seccomp_rule_add(filter, refuse, call, 1, flag) == 0;
  };
  refuse_flag(SCMP_SYS(sendto), SCMP_A3(SCMP_CMP_MASKED_EQ, msg_fastopen, msg_fastopen));
  refuse_flag(SCMP_SYS(sendmsg), SCMP_A2(SCMP_CMP_MASKED_EQ, msg_fastopen, msg_fastopen));
  refuse_flag(SCMP_SYS(sendmmsg), SCMP_A3(SCMP_CMP_MASKED_EQ, msg_fastopen, msg_fastopen));
  for (const uint64_t flag : namespace_flags) {
    refuse_flag(SCMP_SYS(clone), SCMP_A0(SCMP_CMP_MASKED_EQ, flag, flag));
  }
  // Its flags lie in memory, where a filter cannot look; libc falls back to clone().
  good &= seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) == 0;
  return good;
}

void enter_seccomp(const SealPlan& plan, SealReport& report) {
  // Calls of another architecture (32-bit, x32) kill the process: libseccomp's default.
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  int failure = -ENOMEM;
  if (filter != nullptr) {
    failure = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (failure == 0 && !add_rules(filter, plan)) failure = -EINVAL;
    if (failure == 0) failure = seccomp_load(filter);
    seccomp_release(filter);
  }
  report.seccomp = failure == 0;
  if (failure != 0) report.missing.push_back(std::string("seccomp: ") + std::strerror(-failure));
}

}  // namespace

void forbid_dumps() {
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

SealReport seal_process(const SealPlan& plan) {
  SealReport report;
  if (plan.namespaces) enter_namespaces(report);
  report.no_new_privileges = ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
  if (plan.landlock) enter_landlock(plan, report);
  drop_capabilities();
  // Last among the layers: it refuses what the others were made with.
  if (plan.seccomp) enter_seccomp(plan, report);
  forbid_dumps();
  return report;
}

base::Json SealReport::to_json() const {
  base::Json reasons = base::Json::array();
  for (const std::string& reason : missing) reasons.push(reason);
  return base::Json::object({{"layers", layers()},
                             {"network_namespace", network_namespace},
                             {"user_namespace", user_namespace},
                             {"landlock_abi", landlock_abi},
                             {"seccomp", seccomp},
                             {"no_new_privileges", no_new_privileges},
                             {"missing", std::move(reasons)}});
}

base::Result<SealReport> SealReport::from_json(const base::Json& json) {
  SealReport report;
  const auto flag = [&](const char* name) {
    const base::Json* value = json.find(name);
    return value && value->is_bool() && value->as_bool();
  };
  const base::Json* abi = json.find("landlock_abi");
  if (!abi || !abi->is_integer()) {
    return base::fail(base::ErrorKind::invalid_input, "this is no report of a seal");
  }
  report.landlock_abi = static_cast<int>(abi->as_integer());
  report.network_namespace = flag("network_namespace");
  report.user_namespace = flag("user_namespace");
  report.seccomp = flag("seccomp");
  report.no_new_privileges = flag("no_new_privileges");
  if (const base::Json* missing = json.find("missing"); missing && missing->is_array()) {
    for (const base::Json& reason : missing->as_array()) {
      if (reason.is_string()) report.missing.push_back(reason.as_string());
    }
  }
  return report;
}

KernelView kernel_view(int pid) {
  KernelView view;
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    view.running = true;
    int value = 0;
    if (std::sscanf(line.c_str(), "Seccomp: %d", &value) == 1) view.seccomp_mode = value;
    if (std::sscanf(line.c_str(), "NoNewPrivs: %d", &value) == 1) view.no_new_privileges = value;
    if (std::sscanf(line.c_str(), "Threads: %d", &value) == 1) view.threads = value;
  }
  return view;
}

}  // namespace app
