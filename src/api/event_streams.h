// EventStreams: the one stream of a browser. It carries the frames of the generations that the
// browser follows, each from the number that the browser has already, state frames, and a ping
// every 10 s. A stream that has far to catch up is fed in portions, so that it is not dropped as a
// slow reader before it could start.
//
// Threads: loop thread only.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "api/generations.h"

namespace api {

struct Follow {
  std::string generation;
  int64_t after = 0;  // the last frame that the browser has
};

class EventStreams {
 public:
  static constexpr int64_t ping_ms = 10'000;
  static constexpr int64_t catch_up_ms = 20;
  static constexpr size_t portion_bytes = 64 * 1024;
  static constexpr size_t follows_max = 32;
  static constexpr int streams_per_session_max = 6;

  EventStreams(Context& context, Generations& generations);

  // `once`: ends after the end frame of the only generation that is followed.
  void open(const Call& call, std::vector<Follow> follows, bool once);
  void state(std::string_view what);      // to all: "conversations", "models"
  void tell_all(std::string_view frame);  // a frame of its own, to all
  // The frame that every new stream is told first.
  void greet_with(std::function<std::string()> greeting) { greeting_ = std::move(greeting); }
  // Tells all if models came, went or were loaded since the last look.
  void look_at_models();
  void close_session(uint64_t session);  // after a last state frame "signed_out"
  // Ends all of them behind what they have been sent: nothing of it may be lost to a reset.
  void close_all();

 private:
  struct Stream {
    std::shared_ptr<net::Exchange> exchange;
    uint64_t session = 0;
    std::vector<Follow> follows;
    bool once = false, closed = false, pumping = false;
  };
  using Shared = std::shared_ptr<Stream>;

  void pump(const Shared& stream);
  bool pump_one(Stream& stream, Follow& follow, size_t& budget);
  bool send(Stream& stream, std::string_view data, const std::string& id = "");
  void close(Stream& stream);
  void ping_later(const Shared& stream);
  void sweep();
  std::string models_fingerprint();

  Context& context_;
  Generations& generations_;
  std::list<Shared> streams_;  // oldest first
  std::string models_seen_;
  std::function<std::string()> greeting_;
};

// "ID:n,ID:n" as in GET /site/events?follow=…
Parsed<std::vector<Follow>> parse_follows(std::string_view text);

}  // namespace api
