// The keeper: one process that does nothing but fork a child for each picture, wait for it, and
// pass its result on. It is small, so that a fork is cheap; it never looks into a picture.
//
// The child maps the picture, confines itself, decodes, writes the result into a memory file and
// ends. Its death is seen at the end of a pipe that it holds (a descriptor of a process would need
// a system call that the server's seal refuses).
#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sanitized.h"
#include "media/messages.h"
#include "media/pictures.h"
#include "media/seal.h"

namespace media {
namespace {

constexpr int cpu_seconds_max = base::sanitized ? 10 : (read_ms_max + 999) / 1000;
// On the clock a child may take longer than its processor time: others may have the processors.
constexpr int64_t clock_ms_max = 4 * int64_t{cpu_seconds_max} * 1000;
constexpr int wanted_seals = F_SEAL_SHRINK | F_SEAL_WRITE;

bool write_all(int fd, const void* bytes, size_t count) {
  const char* from = static_cast<const char*>(bytes);
  while (count > 0) {
    const ssize_t done = ::write(fd, from, count);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    from += done;
    count -= static_cast<size_t>(done);
  }
  return true;
}

class Keeper {
 public:
  explicit Keeper(int socket)
      : socket_(socket), own_(::getpid()), filter_(child_filter()), calm_(address_space_bytes()) {}

  int run();

 private:
  void serve(const Request& request, Descriptor picture);
  ReplyKind keep(pid_t child, int pipe);
  [[noreturn]] void be_child(const Request& request, int picture, uint64_t bytes, int result);
  bool reply(ReplyKind kind, uint64_t id, int fd = -1);

  int socket_;
  pid_t own_;
  CallFilter filter_;
  uint64_t calm_;  // address space before any picture
  uint64_t last_id_ = 0;
  base::SystemClock clock_;
};

// Waits while the reader does not read; false once it is gone.
bool Keeper::reply(ReplyKind kind, uint64_t id, int fd) {
  Reply message;
  message.kind = kind;
  message.id = id;
  for (;;) {
    const Sent sent = send_one(socket_, message, fd);
    if (sent != Sent::full) return sent == Sent::yes;
    pollfd room{socket_, POLLOUT, 0};
    ::poll(&room, 1, -1);
    if ((room.revents & (POLLHUP | POLLERR)) != 0) return false;
  }
}

base::Result<std::vector<uint8_t>> read_picture(std::span<const uint8_t> bytes, const Fit& fit) {
  try {
    return decode_and_fit(bytes, fit);
  } catch (...) {  // memory, beside what decoding itself looks after
    return base::fail(base::ErrorKind::limit_exceeded, "the picture cannot be read",
                      "it takes more memory than there is for one picture");
  }
}

void Keeper::be_child(const Request& request, int picture, uint64_t bytes, int result) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != own_) ::_exit(1);
  ::close(socket_);
  void* const mapped = ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, picture, 0);
  if (mapped == MAP_FAILED) ::_exit(1);
  ::close(picture);
  ChildLimits limits;
  if (calm_ != 0) limits.memory_bytes = calm_ + bytes + child_memory_max;
  limits.output_bytes = result_bytes_max;
  limits.cpu_seconds = cpu_seconds_max;
  seal_child(limits, filter_);

  const auto read = read_picture({static_cast<const uint8_t*>(mapped), bytes},
                                 {request.side, request.min_side, request.background});
  ResultHead head;
  bool done = false;
  if (read) {
    done = write_all(result, &head, sizeof(head)) && write_all(result, read->data(), read->size());
  } else {
    const base::Error& error = read.error();
    const auto shown = [](const std::string& text) {
      return static_cast<uint32_t>(std::min<size_t>(text.size(), error_text_bytes_max));
    };
    head.error = static_cast<uint32_t>(error.kind) + 1;
    head.what_bytes = shown(error.what);
    head.why_bytes = shown(error.why);
    head.next_bytes = shown(error.next);
    done = write_all(result, &head, sizeof(head)) &&
           write_all(result, error.what.data(), head.what_bytes) &&
           write_all(result, error.why.data(), head.why_bytes) &&
           write_all(result, error.next.data(), head.next_bytes);
  }
  ::_exit(done ? 0 : 1);
}

// Until the child has ended, by itself or not.
ReplyKind Keeper::keep(pid_t child, int pipe) {
  const int64_t deadline_ms = clock_.monotonic_ms() + clock_ms_max;
  bool late = false;
  for (;;) {
    pollfd fds[] = {{pipe, POLLIN, 0}, {socket_, 0, 0}};
    const int64_t left_ms = std::max<int64_t>(deadline_ms - clock_.monotonic_ms(), 0);
    const int ready = ::poll(fds, 2, static_cast<int>(left_ms));
    if (ready < 0 && errno == EINTR) continue;
    if (fds[0].revents != 0) break;
    // Nobody waits for it any more, or it has had its time.
    late = ready == 0;
    ::kill(child, SIGKILL);
    break;
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (late) return ReplyKind::late;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return ReplyKind::done;
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU ? ReplyKind::over_time
                                                            : ReplyKind::ended;
}

void Keeper::serve(const Request& request, Descriptor picture) {
  last_id_ = request.id;
  const int seals = picture ? ::fcntl(picture.get(), F_GET_SEALS) : -1;
  const off_t bytes = picture ? ::lseek(picture.get(), 0, SEEK_END) : -1;
  if (request.magic != request_magic || seals < 0 || (seals & wanted_seals) != wanted_seals ||
      bytes < 1 || bytes > static_cast<off_t>(picture_bytes_max)) {
    reply(ReplyKind::malformed, request.id);
    return;
  }
  Descriptor result(::memfd_create("picture read", MFD_CLOEXEC));
  int ends[2] = {-1, -1};
  if (!result || ::pipe2(ends, O_CLOEXEC) != 0) {
    reply(ReplyKind::ended, request.id);
    return;
  }
  Descriptor life(ends[0]), held(ends[1]);
  const pid_t child = ::fork();
  if (child == 0) be_child(request, picture.get(), static_cast<uint64_t>(bytes), result.get());
  held.reset();
  picture.reset();
  if (child < 0) {
    reply(ReplyKind::ended, request.id);
    return;
  }
  reply(ReplyKind::begun, request.id);
  const ReplyKind outcome = keep(child, life.get());
  reply(outcome, request.id, outcome == ReplyKind::done ? result.get() : -1);
}

int Keeper::run() {
  seal_keeper();
  if (!reply(ReplyKind::hello, 0)) return 0;
  for (;;) {
    pollfd wait{socket_, POLLIN, 0};
    if (::poll(&wait, 1, -1) < 0 && errno != EINTR) return 1;
    Request request;
    Descriptor picture;
    const Received got = receive_one(socket_, &request, &picture);
    if (got == Received::gone) return 0;
    // A reader that saw us begin asks again for what our predecessor may have taken with it; we
    // may find both in the queue.
    if (got == Received::yes && request.id != last_id_) serve(request, std::move(picture));
  }
}

// All but the socket and the error output, where a sanitizer would report.
void close_others(int socket) {
  constexpr unsigned own = STDERR_FILENO;
  const auto kept = static_cast<unsigned>(socket);
  const unsigned low = std::min(own, kept), high = std::max(own, kept);
  if (low > 0) ::close_range(0, low - 1, 0);
  if (high > low + 1) ::close_range(low + 1, high - 1, 0);
  ::close_range(high + 1, UINT_MAX, 0);
}

}  // namespace

int keeper_main(int socket) {
  close_others(socket);
  std::signal(SIGCHLD, SIG_DFL);  // ignored, children could not be waited for
  return Keeper(socket).run();
}

}  // namespace media
