#include "engine/channel.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

#include "base/check.h"

namespace engine {

Channel::Channel(int fd, Options options, Handlers handlers)
    : fd_(fd),
      wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      options_(options),
      handlers_(std::move(handlers)) {
  CHECK(wake_fd_ >= 0, "a process that cannot open one more descriptor cannot serve");
  fcntl(fd_, F_SETFL, fcntl(fd_, F_GETFL) | O_NONBLOCK);
  thread_ = std::thread([this] { run(); });
}

Channel::~Channel() {
  close();
  thread_.join();
  ::close(fd_);
  ::close(wake_fd_);
}

void Channel::wake() {
  uint64_t one = 1;
  [[maybe_unused]] auto written = write(wake_fd_, &one, sizeof(one));  // full means: woken already
}

base::Result<void> Channel::send(const wire::Frame& frame) {
  ASSIGN(std::string bytes, wire::encode(frame, options_.out_bytes_max));
  std::unique_lock lock(mutex_);
  if (!on_own_thread()) {
    drained_.wait(lock, [&] { return closed_ || out_.size() - out_begin_ < unsent_bytes_max; });
  }
  if (closed_) {
    return base::fail(base::ErrorKind::unavailable, "the engine is not connected", "",
                      "try again in a few seconds");
  }
  bool was_empty = out_.empty();
  out_ += bytes;
  // Usually the socket takes it at once, and the other thread need not be woken.
  if (was_empty && flush_locked() && out_.empty()) return {};
  wake();
  return {};
}

void Channel::close() {
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
  }
  drained_.notify_all();
  wake();
}

// False: the peer is gone.
bool Channel::flush_locked() {
  while (out_begin_ < out_.size()) {
    ssize_t n = ::send(fd_, out_.data() + out_begin_, out_.size() - out_begin_, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN || errno == EWOULDBLOCK;
    out_begin_ += static_cast<size_t>(n);
  }
  out_.clear();
  out_begin_ = 0;
  return true;
}

// False: end of the stream or an error.
bool Channel::read_some() {
  char buffer[64 * 1024];
  for (;;) {
    ssize_t n = recv(fd_, buffer, sizeof(buffer), 0);
    if (n > 0) {
      in_.append(buffer, static_cast<size_t>(n));
      return true;
    }
    if (n == 0) return false;
    if (errno == EINTR) continue;
    return errno == EAGAIN || errno == EWOULDBLOCK;
  }
}

// Hands out every whole frame. False: a rule was broken.
bool Channel::take_frames() {
  size_t begin = 0;
  bool good = true;
  while (good && in_.size() - begin >= wire::header_bytes) {
    uint32_t size = 0;
    std::memcpy(&size, in_.data() + begin, sizeof(size));
    if (size > options_.in_bytes_max) {
      good = false;
      break;
    }
    if (in_.size() - begin - wire::header_bytes < size) break;
    auto kind = static_cast<uint8_t>(in_[begin + 4]);
    auto payload = reinterpret_cast<const uint8_t*>(in_.data()) + begin + wire::header_bytes;
    auto frame = wire::decode(kind, {payload, size});
    good = frame.has_value() && handlers_.on_frame(std::move(*frame));
    begin += wire::header_bytes + size;
  }
  in_.erase(0, begin);
  return good;
}

void Channel::run() {
  own_ = std::this_thread::get_id();
  bool peer_gone = false;
  for (;;) {
    short events = POLLIN;
    {
      std::lock_guard lock(mutex_);
      if (closed_) break;
      if (!out_.empty()) events |= POLLOUT;
    }
    pollfd waits[2] = {{fd_, events, 0}, {wake_fd_, POLLIN, 0}};
    if (poll(waits, 2, -1) < 0 && errno != EINTR) break;
    uint64_t count = 0;
    [[maybe_unused]] auto woken = read(wake_fd_, &count, sizeof(count));
    if (waits[0].revents & POLLOUT) {
      std::lock_guard lock(mutex_);
      peer_gone = !flush_locked();
      if (out_.size() - out_begin_ < unsent_bytes_max) drained_.notify_all();
    }
    if (!peer_gone && (waits[0].revents & (POLLIN | POLLHUP | POLLERR))) peer_gone = !read_some();
    // What came before the end is still handed out.
    if (!take_frames()) {
      broken_ = true;
      break;
    }
    if (peer_gone) break;
  }
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
  }
  drained_.notify_all();
  // So that the other side hears of it even while this object lives on.
  shutdown(fd_, SHUT_RDWR);
  handlers_.on_closed(broken_ ? Closed::protocol : peer_gone ? Closed::by_peer : Closed::by_us);
}

}  // namespace engine
