#include "app/child_process.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

#include "base/check.h"

namespace app {
namespace {

constexpr int first_child_fd = 3;
constexpr int spare_fd = 64;  // above every number that a child is given
constexpr size_t settings_bytes_max = 4 << 20;

tl::unexpected<base::Error> failed(const char* what) {
  return base::fail(base::ErrorKind::io, what, std::strerror(errno));
}

base::Result<FdPair> make_pair(int type) {
  int fds[2];
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) != 0) {
    return failed("cannot make a socket between our processes");
  }
  return FdPair{Fd(fds[0]), Fd(fds[1])};
}

// In the forked child; only calls that are safe there. Does not return.
[[noreturn]] void become(char* const* arguments, const std::vector<int>& fds, pid_t parent) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  // First out of the way of each other, then to their numbers; dup2 clears close-on-exec.
  std::array<int, 8> spare{};
  for (size_t i = 0; i < fds.size(); ++i) {
    spare[i] = ::fcntl(fds[i], F_DUPFD_CLOEXEC, spare_fd);
    if (spare[i] < 0) ::_exit(1);
  }
  for (size_t i = 0; i < fds.size(); ++i) {
    if (::dup2(spare[i], first_child_fd + static_cast<int>(i)) < 0) ::_exit(1);
  }
  ::execv("/proc/self/exe", arguments);
  ::_exit(127);
}

}  // namespace

base::Result<FdPair> stream_pair() { return make_pair(SOCK_STREAM); }
base::Result<FdPair> message_pair() { return make_pair(SOCK_SEQPACKET); }

base::Result<Fd> settings_memory(const base::Json& json) {
  Fd memory(::memfd_create("settings", MFD_CLOEXEC));
  if (!memory) return failed("cannot make memory for a child's settings");
  const std::string text = json.dump();
  if (::write(memory.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::lseek(memory.get(), 0, SEEK_SET) != 0) {
    return failed("cannot write a child's settings");
  }
  return memory;
}

base::Result<base::Json> read_settings(int fd) {
  std::string text;
  char buffer[16 * 1024];
  ssize_t got = 0;
  while ((got = ::read(fd, buffer, sizeof(buffer))) > 0 && text.size() < settings_bytes_max) {
    text.append(buffer, static_cast<size_t>(got));
  }
  if (got < 0) return failed("this verb is for the server's own use");
  ::close(fd);
  return base::parse_json(text, "the settings of a child process");
}

base::Result<pid_t> start_child(const char* verb, const std::vector<int>& fds) {
  CHECK(fds.size() <= 8, "the numbers that children are given are few and fixed");
  std::string name = "nautile", word = verb;
  char* const arguments[] = {name.data(), word.data(), nullptr};
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return failed("cannot start a process");
  if (child == 0) become(arguments, fds, parent);
  return child;
}

void prefer_for_oom_killer(int score) {
  const int fd = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  const std::string text = std::to_string(score);
  (void)!::write(fd, text.data(), text.size());
  ::close(fd);
}

bool send_message(int socket, const base::Json& json, int fd_to_pass) {
  const std::string text = json.dump();
  return base::send_message(socket, text.data(), text.size(), fd_to_pass) == base::Sent::yes;
}

std::optional<ReceivedMessage> receive_message(int socket) {
  for (;;) {
    std::string text(message_bytes_max, '\0');
    auto got = base::receive_message(socket, text.data(), text.size(), base::Wait::yes);
    if (got.what != base::ReceivedBytes::What::message) return std::nullopt;
    text.resize(got.count);
    auto json = base::parse_json(text, "a message between our processes");
    if (!json) continue;  // the gate is not trusted to write well-formed messages
    return ReceivedMessage{std::move(*json), std::move(got.fd)};
  }
}

}  // namespace app
