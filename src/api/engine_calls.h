// EngineCalls: the engine as the loop thread sees it. Whatever may wait for the engine's process
// runs on a few threads beside it, so that one long text being tokenised delays nobody; answers and
// events come back as callbacks on the loop thread, in order. Every request ends with exactly one
// End event, also when it was refused at the start.
//
// Threads: all public functions on the loop thread; callbacks there too, never from inside a call.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "engine/engine.h"
#include "net/server.h"

namespace api {

class EngineCalls {
 public:
  using OnEvent = std::function<void(const engine::Event&)>;

  static constexpr int workers = 4;

  explicit EngineCalls(engine::EngineClient& engine) : engine_(engine) {}
  ~EngineCalls() { detach(); }
  EngineCalls(const EngineCalls&) = delete;
  EngineCalls& operator=(const EngineCalls&) = delete;

  void attach(net::Server& server);
  void detach();

  // Returns the request's id, which `request.id` is set to.
  uint64_t start(engine::Request request, OnEvent on_event);
  void cancel(uint64_t id);
  void answer_now(uint64_t id) { engine_.answer_now(id); }
  int running() const { return static_cast<int>(running_.size()); }

  std::vector<engine::ModelStatus> models() { return engine_.models(); }
  std::vector<engine::UnusableModel> unusable_models() { return engine_.unusable_models(); }
  engine::EngineStats stats() { return engine_.stats(); }

  // Runs `work` beside the loop, then `done` on it with what came out.
  template <class T>
  void call(std::function<T(engine::EngineClient&)> work, std::function<void(T)> done) {
    enqueue([this, work = std::move(work), done = std::move(done)] {
      auto result = std::make_shared<T>(work(engine_));
      post([done, result] { done(std::move(*result)); });
    });
  }

 private:
  struct Running {
    OnEvent on_event;
    std::atomic<bool> cancelled = false, started = false;
  };

  void enqueue(std::function<void()> work);
  void work_loop();
  void post(std::function<void()> callback);  // any thread; dropped once detached
  void dispatch(uint64_t id, const engine::Event& event);

  engine::EngineClient& engine_;
  uint64_t next_id_ = 1;
  std::unordered_map<uint64_t, std::shared_ptr<Running>> running_;  // loop thread

  std::mutex server_mutex_;  // guards server_ against sinks that outlive the loop
  net::Server* server_ = nullptr;

  std::mutex queue_mutex_;
  std::condition_variable queue_filled_;
  std::deque<std::function<void()>> queue_;
  bool stopping_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace api
