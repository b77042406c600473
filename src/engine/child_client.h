// ChildClient: the gate's side of the engine process. It speaks wire.h over a socket that somebody
// else connected: the supervisor makes a socketpair for every new engine process, and hands the
// gate its end over the control channel; the gate calls attach(). The client does not trust what
// comes in: a frame that breaks a rule of wire.h ends the connection, as the engine's death does.
//
//   supervisor: socketpair(a, b); start the engine with a; send b to the gate (SCM_RIGHTS)
//   gate:       client.attach(b);   models() and stats() become current; start() works
//   engine dies: every running request gets End{failed, unavailable}; on_lost() is called once;
//               start() refuses as unavailable until the next attach(); models() keeps the last
//               list
//
// Threads: any thread may call anything; one reading thread per connection calls the sinks.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/clock.h"
#include "engine/engine.h"

namespace engine {

// The longest that start(), tokenize(), detokenize() and prompt_size() wait for the engine.
inline constexpr int64_t call_timeout_ms = 30'000;

class ChildClient : public EngineClient {
 public:
  struct Callbacks {
    // The connection is gone (engine died or broke the protocol). Called on the reading thread,
    // after every running request got its End. Must not block, attach, detach or destroy.
    std::function<void()> on_lost;
    // The engine said hello and its models are known.
    std::function<void()> on_ready;
    // models() has changed (loaded, unloaded).
    std::function<void()> on_models_changed;
  };
  static std::unique_ptr<ChildClient> make(Callbacks callbacks);

  // Takes ownership of a connected stream socket (AF_UNIX). An earlier connection is dropped first,
  // as detach() does.
  virtual void attach(int fd) = 0;
  // Drops the connection: requests end as failed; on_lost is not called.
  virtual void detach() = 0;
  // True between hello and loss.
  virtual bool ready() const = 0;
};

}  // namespace engine
