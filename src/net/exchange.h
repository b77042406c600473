// The two ends of one answer. The handler's end (Exchange, any thread) puts bytes in; the
// connection's end (Outbox, loop thread) takes them out. Neither keeps the other alive, so an
// answer that is held somewhere never holds a closed connection, nor the other way round.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "net/server.h"

namespace net {

// What the handler has said so far. All fields under `mutex`, except where noted.
struct Outbox {
  std::mutex mutex;
  bool begun = false;  // respond() or begin_stream() was called
  bool is_stream = false;
  bool ended = false;       // no more bytes will come
  bool aborted = false;     // the stream was let go without end_stream(): cut, not ended
  bool gone = false;        // the client is away or was dropped; nothing more is sent
  bool overflowed = false;  // dropped because it did not read
  bool wake_posted = false;
  Response response;        // status and headers of a stream too
  std::string pending;      // bytes of the stream that the connection has not taken
  size_t taken_unsent = 0;  // bytes that the connection has taken and the kernel has not
  std::function<void()> disconnected;
  std::function<void()> wake;  // posts to the loop; callable until the outbox goes

  // Loop thread: the client is away. Calls the callback that was left, if the answer is unfinished.
  void client_gone();
  // Loop thread: the answer is out; drops the callback, which may hold the exchange.
  void finished();
};

// `wake` posts a look at the outbox to the loop thread; `post` runs a callback there.
std::shared_ptr<Exchange> make_exchange(std::shared_ptr<Outbox> outbox, Request request,
                                        size_t stream_buffer_bytes_max,
                                        std::function<void(std::function<void()>)> post);

}  // namespace net
