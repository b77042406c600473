// SitePulls: the owner's page and the downloads of models: the catalogue, one download at a time,
// its progress, and the moment at which the engine may be exchanged. Requests wait here for the
// supervisor's answer, with a limit. Loop thread only.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "api/context.h"
#include "api/event_streams.h"

namespace api {

class SitePulls {
 public:
  static constexpr size_t calls_waiting_max = 16;
  static constexpr int64_t answer_wait_ms = 5'000;
  static constexpr int64_t catalogue_wait_ms = 30'000;  // it measures the memory's speed
  static constexpr int64_t idle_look_ms = 100;
  static constexpr int looks_after_done_max = 100;

  // `quiet`: nothing of the site is on its way into the engine.
  SitePulls(Context& context, EventStreams& streams, std::function<bool()> quiet);
  void add_routes(std::vector<Route>& routes);
  void take(PullNews news);
  base::Json json() const;  // "pull" of GET /site/session, and GET /site/pulls

 private:
  void catalogue(Call& call);
  void start(Call& call);
  void show(Call& call);
  void pause(Call& call);
  void dismiss(Call& call);
  // Keeps the call until its answer comes; 0: there is no room, and it was refused.
  uint64_t hold(Call& call, int64_t wait_ms);
  std::optional<Call> release(uint64_t number);
  void answer(const PullAnswer& answer);
  void answer(CatalogueAnswer answer);
  void take_status(PullStatus status);
  void let_engine_go();
  void watch_models();
  ApiError refusal_of(const PullAnswer& answer) const;
  bool allowed() const;

  Context& context_;
  EventStreams& streams_;
  std::function<bool()> quiet_;
  PullStatus status_;
  std::map<uint64_t, Call> waiting_;
  uint64_t next_call_ = 1;
  bool engine_wanted_ = false, watching_ = false;
  int looks_left_ = 0;
};

}  // namespace api
