// Descriptors: their owner, and messages that carry one between our processes over a socket that
// keeps messages whole (AF_UNIX, SEQPACKET). Nothing is retried but what a signal interrupted.
#pragma once

#include <cstddef>
#include <utility>

namespace base {

// Owns a descriptor and closes it.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() { reset(); }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset();

 private:
  int fd_ = -1;
};

// full: the receiver is behind, and the message was not sent.
enum class Sent { yes, full, gone };
// One message with `fd`, if that is not -1. Never blocks, raises no signal.
Sent send_message(int socket, const void* bytes, size_t count, int fd);

enum class Wait { no, yes };
struct ReceivedBytes {
  enum class What { message, nothing, gone } what = What::gone;  // nothing: with Wait::no alone
  size_t count = 0;    // bytes of it that are in the buffer
  bool whole = false;  // it was no longer than the buffer
  Descriptor fd;       // what came with it, close-on-exec
};
ReceivedBytes receive_message(int socket, void* buffer, size_t room, Wait wait);

}  // namespace base
