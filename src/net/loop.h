// The event loop: waits for descriptors, timers and other threads' callbacks. The only thing that
// knows Boost.Asio; everything else in net is written against this.
//
// Threads: one thread runs it. post() and stop() may be called from any thread, also after the loop
// has ended (the callback is then dropped); all else is the loop thread's, or happens before run().
// Callbacks of a Watch or Timer are dropped without a call when it is closed, cancelled or
// destroyed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/result.h"

namespace net {

// Owns a descriptor and tells once when it can be read or written.
class Watch {
 public:
  virtual ~Watch() = default;  // closes
  virtual int fd() const = 0;
  virtual void on_readable(std::function<void()> callback) = 0;
  virtual void on_writable(std::function<void()> callback) = 0;
  virtual void close() = 0;
};

class Timer {
 public:
  virtual ~Timer() = default;
  virtual void after_ms(int64_t delay_ms, std::function<void()> callback) = 0;  // replaces an older
};

class Loop {
 public:
  static std::shared_ptr<Loop> make();
  virtual ~Loop() = default;
  virtual void run() = 0;  // until stop()
  virtual void stop() = 0;
  virtual void post(std::function<void()> callback) = 0;
  // Takes the descriptor; closes it and returns nullptr if the kernel has no room to watch it.
  virtual std::unique_ptr<Watch> watch(int fd) = 0;
  virtual std::unique_ptr<Timer> timer() = 0;
};

}  // namespace net
