#include "api/engine_calls.h"

namespace api {

void EngineCalls::attach(net::Server& server) {
  {
    std::lock_guard lock(server_mutex_);
    server_ = &server;
  }
  for (int i = 0; i < workers; ++i) workers_.emplace_back([this] { work_loop(); });
}

void EngineCalls::detach() {
  {
    std::lock_guard lock(server_mutex_);
    server_ = nullptr;
  }
  {
    std::lock_guard lock(queue_mutex_);
    stopping_ = true;
  }
  queue_filled_.notify_all();
  for (std::thread& worker : workers_) worker.join();
  workers_.clear();
}

void EngineCalls::post(std::function<void()> callback) {
  std::lock_guard lock(server_mutex_);
  if (server_ != nullptr) server_->post(std::move(callback));
}

void EngineCalls::enqueue(std::function<void()> work) {
  {
    std::lock_guard lock(queue_mutex_);
    queue_.push_back(std::move(work));
  }
  queue_filled_.notify_one();
}

void EngineCalls::work_loop() {
  std::unique_lock lock(queue_mutex_);
  for (;;) {
    queue_filled_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;
    std::function<void()> work = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    work();
    lock.lock();
  }
}

uint64_t EngineCalls::start(engine::Request request, OnEvent on_event) {
  const uint64_t id = next_id_++;
  request.id = id;
  auto running = std::make_shared<Running>();
  running->on_event = std::move(on_event);
  running_.emplace(id, running);
  auto shared = std::make_shared<engine::Request>(std::move(request));
  enqueue([this, id, running, shared] {
    const auto end = [&](engine::EndReason reason, base::Error error) {
      engine::End event;
      event.reason = reason;
      event.error = std::move(error);
      post([this, id, event = std::move(event)] { dispatch(id, event); });
    };
    if (running->cancelled) return end(engine::EndReason::cancelled, {});
    auto started =
        engine_.start(std::move(*shared), [this](uint64_t of, const engine::Event& event) {
          post([this, of, event] { dispatch(of, event); });
        });
    if (!started) return end(engine::EndReason::failed, std::move(started).error());
    // A cancel() that came while start() was under way found nothing to cancel: do it now.
    running->started = true;
    if (running->cancelled) engine_.cancel(id);
  });
  return id;
}

void EngineCalls::cancel(uint64_t id) {
  const auto at = running_.find(id);
  if (at == running_.end()) return;
  at->second->cancelled = true;
  if (at->second->started) engine_.cancel(id);
}

void EngineCalls::dispatch(uint64_t id, const engine::Event& event) {
  const auto at = running_.find(id);
  if (at == running_.end()) return;
  const std::shared_ptr<Running> running = at->second;
  if (std::holds_alternative<engine::End>(event)) running_.erase(at);
  running->on_event(event);
}

}  // namespace api
