// Channel: frames of wire.h over one connected socket, with one thread that reads and flushes. It
// never blocks in a write, so neither side can hold the other up in a circle.
//
// Threads: send() and close() from any. on_frame and on_closed are called on the channel's thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <thread>

#include "engine/wire.h"

namespace engine {

enum class Closed { by_us, by_peer, protocol };

class Channel {
 public:
  struct Options {
    uint32_t in_bytes_max;   // of a frame that comes in
    uint32_t out_bytes_max;  // of a frame that goes out
  };
  struct Handlers {
    // False: the frame is against the rules; the channel closes.
    std::function<bool(wire::Frame)> on_frame;
    std::function<void(Closed)> on_closed;  // once, the last call
  };
  // Takes ownership of `fd`.
  Channel(int fd, Options options, Handlers handlers);
  ~Channel();  // close() and join; not from the channel's own thread
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // Queues a frame. Waits while unsent_bytes_max are unsent (the other side is slow: that is the
  // back pressure), except on the channel's own thread. Unavailable once the channel is closed.
  base::Result<void> send(const wire::Frame& frame);
  void close();
  bool on_own_thread() const { return std::this_thread::get_id() == own_.load(); }

  static constexpr size_t unsent_bytes_max = 8u << 20;

 private:
  void run();
  bool read_some();
  bool take_frames();
  bool flush_locked();
  void wake();

  int fd_;
  int wake_fd_;
  Options options_;
  Handlers handlers_;
  std::mutex mutex_;
  std::condition_variable drained_;
  std::string out_;  // unsent, from out_begin_ on
  size_t out_begin_ = 0;
  bool closed_ = false;               // guarded by mutex_
  bool broken_ = false;               // the peer's frame was refused; channel's thread only
  std::string in_;                    // channel's thread only
  std::atomic<std::thread::id> own_;  // set by the thread itself
  std::thread thread_;
};

}  // namespace engine
