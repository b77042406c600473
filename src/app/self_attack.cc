#include "app/self_attack.h"

#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <functional>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

namespace app {
namespace {

constexpr unsigned long x32_bit = 0x40000000;

// Each attempt returns a value below 0, with errno, when it was refused.
struct Attempt {
  const char* name;
  std::function<long()> run;
  bool in_child = false;  // it may kill, or would change this process if it succeeded
  bool needs_root = false;
};

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

long close_after(long fd) {
  if (fd >= 0) ::close(static_cast<int>(fd));
  return fd;
}

long reach_tcp(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) return -1;
  const sockaddr_in address = loopback(port);
  const int done = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const int reason = errno;
  ::close(fd);
  errno = reason;
  return done;
}

long reach_udp() {
  const int fd = ::socket(AF_INET, SOCK_DGRAM, 0);
  if (fd < 0) return -1;
  const sockaddr_in address = loopback(53);
  const ssize_t sent =
      ::sendto(fd, "x", 1, 0, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const int reason = errno;
  ::close(fd);
  errno = reason;
  return sent;
}

long reach_unix(const std::string& path) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0) return -1;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  const int done = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const int reason = errno;
  ::close(fd);
  errno = reason;
  return done;
}

long make_file(const std::string& directory) {
  const std::string path = directory + "/attack-" + std::to_string(::getpid());
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return -1;
  ::unlink(path.c_str());
  return close_after(fd);
}

long read_parent() {
  char byte = 0;
  const iovec here{&byte, 1};
  // Any address will do: permission is checked before the address is.
  const iovec there{&byte, 1};
  return ::process_vm_readv(::getppid(), &here, 1, &there, 1, 0);
}

long run_program() {
  char path[] = "/bin/true";
  char* arguments[] = {path, nullptr};
  char* environment[] = {nullptr};
  return ::execve(path, arguments, environment);
}

long call_32_bit() {
  long result = 0;
  asm volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory");  // getpid
  if (result > 0) return result;
  errno = static_cast<int>(-result);
  return -1;
}

std::vector<Attempt> socket_attempts(const AttackTargets& targets) {
  std::vector<Attempt> out = {
      {"tcp socket", [] { return close_after(::socket(AF_INET, SOCK_STREAM, 0)); }},
      {"udp datagram", reach_udp},
      {"ipv6 socket", [] { return close_after(::socket(AF_INET6, SOCK_STREAM, 0)); }},
      {"unix socket", [] { return close_after(::socket(AF_UNIX, SOCK_STREAM, 0)); }},
      {"netlink socket", [] { return close_after(::socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)); }},
      {"vsock socket", [] { return close_after(::socket(AF_VSOCK, SOCK_STREAM, 0)); }, false, true},
      {"raw socket", [] { return close_after(::socket(AF_INET, SOCK_RAW, 1)); }, false, true},
      {"packet socket", [] { return close_after(::socket(AF_PACKET, SOCK_RAW, 0)); }, false, true},
      {"socketpair",
       [] {
         int pair[2];
         const int done = ::socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
         if (done == 0) ::close(pair[0]), ::close(pair[1]);
         return static_cast<long>(done);
       }},
      {"io_uring", [] {
         char parameters[120] = {};
         return close_after(::syscall(SYS_io_uring_setup, 1, parameters));
       }}};
  if (targets.tcp_port != 0) {
    out.push_back({"tcp connect", [port = targets.tcp_port] { return reach_tcp(port); }});
  }
  if (!targets.unix_path.empty()) {
    out.push_back({"unix connect", [path = targets.unix_path] { return reach_unix(path); }});
  }
  return out;
}

std::vector<Attempt> process_attempts() {
  return {
      {"execve", run_program, true},
      {"execveat",
       [] {
         char* none[] = {nullptr};
         return ::syscall(SYS_execveat, AT_FDCWD, "/bin/true", none, none, 0);
       },
       true},
      {"user namespace", [] { return static_cast<long>(::unshare(CLONE_NEWUSER)); }, true, true},
      {"clone into a namespace",
       [] { return ::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0); }, true, true},
      {"enter a namespace",
       [] {
         const int fd = ::open("/proc/1/ns/net", O_RDONLY | O_CLOEXEC);
         return fd < 0 ? -1L : static_cast<long>(::setns(fd, CLONE_NEWNET));
       },
       true, true},
      {"ptrace", [] { return ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr); }, true},
      {"read another process", read_parent, true, true},
      {"bpf",
       [] {
         char attributes[128] = {};
         return close_after(::syscall(SYS_bpf, 0, attributes, sizeof(attributes)));
       },
       false, true},
      {"userfaultfd", [] { return close_after(::syscall(SYS_userfaultfd, 0)); }, false, true},
      {"pidfd_getfd", [] { return ::syscall(438, ::syscall(434, ::getpid(), 0), 0, 0); }},
      {"x32 system call", [] { return ::syscall(x32_bit | SYS_getpid); }, true, true},
      {"32-bit system call", call_32_bit, true, true}};
}

// Not a way out by itself, but what a way out would start from.
std::vector<Attempt> file_attempts(const AttackTargets& targets) {
  std::vector<Attempt> out;
  if (!targets.foreign_file.empty()) {
    out.push_back({"read a foreign file", [path = targets.foreign_file] {
                     return close_after(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
                   }});
  }
  if (!targets.foreign_directory.empty()) {
    out.push_back(
        {"write a foreign file", [path = targets.foreign_directory] { return make_file(path); }});
  }
  return out;
}

AttackOutcome run_here(const Attempt& attempt) {
  errno = 0;
  const bool refused = attempt.run() < 0;
  return {attempt.name, refused, attempt.needs_root, refused ? std::strerror(errno) : "done"};
}

// The child's exit status carries errno; a program that was run instead of it ends with 0.
AttackOutcome run_in_child(const Attempt& attempt) {
  const pid_t child = ::fork();
  if (child == 0) {
    errno = 0;
    const bool refused = attempt.run() < 0;
    ::_exit(refused ? (errno > 0 && errno < 256 ? errno : 255) : 0);
  }
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child) {
    return {attempt.name, false, attempt.needs_root, "could not be tried"};
  }
  if (WIFSIGNALED(status)) return {attempt.name, true, attempt.needs_root, "killed"};
  const int code = WEXITSTATUS(status);
  return {attempt.name, code != 0, attempt.needs_root, code == 0 ? "done" : std::strerror(code)};
}

}  // namespace

std::vector<AttackOutcome> attack_self(const AttackTargets& targets) {
  std::vector<AttackOutcome> outcomes;
  for (const auto& group : {socket_attempts(targets), process_attempts(), file_attempts(targets)}) {
    for (const Attempt& attempt : group) {
      outcomes.push_back(attempt.in_child ? run_in_child(attempt) : run_here(attempt));
    }
  }
  return outcomes;
}

base::Json attack_json(const std::vector<AttackOutcome>& outcomes) {
  base::Json list = base::Json::array();
  for (const AttackOutcome& outcome : outcomes) {
    list.push(base::Json::object({{"name", outcome.name},
                                  {"refused", outcome.refused},
                                  {"needs_root", outcome.needs_root},
                                  {"answer", outcome.answer}}));
  }
  return list;
}

}  // namespace app
