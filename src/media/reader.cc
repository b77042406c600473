// The reader's side: one picture at a time goes to the keeper in sealed memory, and the result
// comes back in another memory file, of which nothing is believed but its bytes.
//
// A keeper may die while it is waited for; another then says hello on the same socket. What its
// predecessor had begun is lost: an error at once. What it may not have seen is sent again.
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <mutex>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "media/fit.h"
#include "media/messages.h"
#include "media/pictures.h"

namespace media {
namespace {

// For a keeper that is being started again, or that no processor is given to. One that works
// answers within its own limits.
constexpr int64_t answer_ms_max = 20'000;
constexpr int sends_max = 4;

tl::unexpected<base::Error> unavailable(const char* why) {
  return base::fail(base::ErrorKind::unavailable, "the picture could not be read this time", why,
                    "try again");
}
tl::unexpected<base::Error> no_memory() {
  return unavailable("there is no memory for it on this machine");
}

// The bytes in a memory file that nobody can change any more.
Descriptor sealed_memory(std::span<const uint8_t> bytes) {
  Descriptor memory(::memfd_create("picture", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory) return {};
  while (!bytes.empty()) {
    const ssize_t done = ::write(memory.get(), bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return {};
    bytes = bytes.subspan(static_cast<size_t>(done));
  }
  const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
  if (::fcntl(memory.get(), F_ADD_SEALS, seals) != 0) return {};
  return memory;
}

// Copies: a mapping of a file that a stranger holds could shrink under us.
bool read_at(int fd, uint64_t at, void* to, size_t count) {
  char* out = static_cast<char*>(to);
  while (count > 0) {
    const ssize_t got = ::pread(fd, out, count, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    out += got;
    at += static_cast<uint64_t>(got);
    count -= static_cast<size_t>(got);
  }
  return true;
}

base::Result<std::vector<uint8_t>> take_result(int fd, int side) {
  const auto nonsense = [] { return unavailable("the process that reads pictures gave nonsense"); };
  ResultHead head;
  if (fd < 0 || !read_at(fd, 0, &head, sizeof(head)) || head.magic != result_magic) {
    return nonsense();
  }
  if (head.error == 0) {
    std::vector<uint8_t> pixels(static_cast<size_t>(side) * static_cast<size_t>(side) * 3);
    if (!read_at(fd, sizeof(head), pixels.data(), pixels.size())) return nonsense();
    return pixels;
  }
  base::Error error;
  error.kind = static_cast<base::ErrorKind>(head.error - 1);
  // What a picture can be refused with; the rest would be a lie.
  const bool known = error.kind == base::ErrorKind::invalid_input ||
                     error.kind == base::ErrorKind::unsupported ||
                     error.kind == base::ErrorKind::limit_exceeded;
  uint64_t at = sizeof(head);
  const auto text = [&](uint32_t bytes, std::string* to) {
    std::string raw(std::min(bytes, error_text_bytes_max), '\0');
    if (bytes > error_text_bytes_max || !read_at(fd, at, raw.data(), raw.size())) return false;
    at += bytes;
    *to = base::printable(raw);
    return true;
  };
  if (!known || !text(head.what_bytes, &error.what) || !text(head.why_bytes, &error.why) ||
      !text(head.next_bytes, &error.next)) {
    return nonsense();
  }
  return base::fail(std::move(error));
}

class SocketReader : public PictureReader {
 public:
  explicit SocketReader(Descriptor socket) : socket_(std::move(socket)) {}

  base::Result<std::vector<uint8_t>> fit(std::span<const uint8_t> bytes, const Fit& fit) override {
    TRY(check_fit(fit));
    TRY(check_size(bytes.size()));
    const Descriptor memory = sealed_memory(bytes);
    if (!memory) return no_memory();
    const std::lock_guard lock(mutex_);
    return ask(memory.get(), fit);
  }

 private:
  base::Result<std::vector<uint8_t>> ask(int memory, const Fit& fit);
  // True once the event is there, false at the deadline.
  bool wait(short event, int64_t deadline_ms);
  base::Result<void> send(const Request& request, int memory, int64_t deadline_ms);
  bool forget_old_replies();

  std::mutex mutex_;
  Descriptor socket_;
  uint64_t last_id_ = 0;
  base::SystemClock clock_;
};

bool SocketReader::wait(short event, int64_t deadline_ms) {
  for (;;) {
    const int64_t left_ms = deadline_ms - clock_.monotonic_ms();
    if (left_ms <= 0) return false;
    pollfd one{socket_.get(), event, 0};
    const int ready = ::poll(&one, 1, static_cast<int>(left_ms));
    if (ready > 0) return true;
  }
}

// False: the keeper is gone for good.
bool SocketReader::forget_old_replies() {
  Reply reply;
  Descriptor fd;
  for (;;) {
    pollfd one{socket_.get(), POLLIN, 0};
    if (::poll(&one, 1, 0) <= 0) return true;
    if (receive_one(socket_.get(), &reply, &fd) == Received::gone) return false;
  }
}

base::Result<void> SocketReader::send(const Request& request, int memory, int64_t deadline_ms) {
  for (;;) {
    const Sent sent = send_one(socket_.get(), request, memory);
    if (sent == Sent::yes) return {};
    if (sent == Sent::gone) return unavailable("the process that reads pictures has ended");
    if (!wait(POLLOUT, deadline_ms)) return unavailable("the process that reads pictures is busy");
  }
}

base::Result<std::vector<uint8_t>> SocketReader::ask(int memory, const Fit& fit) {
  const char* const ended = "the process that reads pictures has ended";
  if (!forget_old_replies()) return unavailable(ended);
  const int64_t deadline_ms = clock_.monotonic_ms() + answer_ms_max;
  Request request;
  request.side = fit.side;
  request.min_side = fit.min_side;
  request.background = fit.background;
  request.id = ++last_id_;
  TRY(send(request, memory, deadline_ms));
  bool begun = false;
  int sends = 1;
  while (wait(POLLIN, deadline_ms)) {
    Reply reply;
    Descriptor result;
    const Received got = receive_one(socket_.get(), &reply, &result);
    if (got == Received::gone) return unavailable(ended);
    if (got == Received::nothing || reply.magic != reply_magic) continue;
    if (reply.kind == ReplyKind::hello) {
      if (begun || ++sends > sends_max) return unavailable(ended);
      TRY(send(request, memory, deadline_ms));
      continue;
    }
    if (reply.id != request.id) continue;  // of a request that was given up
    switch (reply.kind) {
      case ReplyKind::begun:
        begun = true;
        break;
      case ReplyKind::done:
        return take_result(result.get(), fit.side);
      case ReplyKind::over_time:
        return base::fail(base::ErrorKind::limit_exceeded, "the picture cannot be read",
                          fmt::format("it takes more than {} ms of processor time", read_ms_max),
                          "send a smaller picture");
      case ReplyKind::late:
        return unavailable("this machine has no time for it now");
      default:
        return unavailable(ended);
    }
  }
  return unavailable("the process that reads pictures does not answer");
}

// With a keeper of its own.
class OwnReader final : public SocketReader {
 public:
  OwnReader(Descriptor socket, pid_t keeper) : SocketReader(std::move(socket)), keeper_(keeper) {}
  ~OwnReader() override {
    ::kill(keeper_, SIGKILL);
    while (::waitpid(keeper_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

 private:
  pid_t keeper_;
};

}  // namespace

std::unique_ptr<PictureReader> picture_reader(int socket) {
  return std::make_unique<SocketReader>(Descriptor(socket));
}

base::Result<std::unique_ptr<PictureReader>> start_picture_reader() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return base::fail(base::ErrorKind::io, "pictures cannot be read", std::strerror(errno));
  }
  Descriptor ours(ends[0]), theirs(ends[1]);
  const pid_t parent = ::getpid();
  const pid_t keeper = ::fork();
  if (keeper < 0) {
    return base::fail(base::ErrorKind::io, "pictures cannot be read", std::strerror(errno));
  }
  if (keeper == 0) {
    ::setpgid(0, 0);  // Ctrl-C is for the program: the keeper ends with it
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::prctl(PR_SET_NAME, "nautile-picture");
    if (::getppid() != parent) ::_exit(1);
    ::_exit(keeper_main(theirs.get()));
  }
  return std::make_unique<OwnReader>(std::move(ours), keeper);
}

}  // namespace media
