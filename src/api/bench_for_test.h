// What the tests of this module stand on: the real service over a clock moved by hand, a server
// that only keeps timers and posts, exchanges that only remember, and an engine that does what the
// test says. The service's own thread is real, so until() waits for its posts, never for time.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <functional>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdlib.h>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include "api/service.h"
#include "base/json.h"
#include "base/scratch_for_test.h"

namespace api {

class FakeServer final : public net::Server {
 public:
  explicit FakeServer(base::FakeClock& clock) : clock_(clock) {}
  void run() override {}
  void stop() override {}
  void post(std::function<void()> callback) override {
    std::lock_guard lock(mutex_);
    posts_.push_back(std::move(callback));
    posted_.notify_all();
  }
  void after_ms(int64_t delay_ms, std::function<void()> callback) override {
    timers_.emplace(clock_.monotonic_ms() + delay_ms, std::move(callback));
  }
  net::ServerStats stats() const override { return {}; }

  // Runs one post; false if none came within thirty real seconds.
  bool run_one() {
    std::function<void()> callback;
    {
      std::unique_lock lock(mutex_);
      if (!posted_.wait_for(lock, std::chrono::seconds(30), [&] { return !posts_.empty(); })) {
        return false;
      }
      callback = std::move(posts_.front());
      posts_.pop_front();
    }
    callback();
    return true;
  }
  void run_pending() {
    for (;;) {
      {
        std::lock_guard lock(mutex_);
        if (posts_.empty()) return;
      }
      run_one();
    }
  }
  void advance_ms(int64_t ms) {
    const int64_t until = clock_.monotonic_ms() + ms;
    while (!timers_.empty() && timers_.begin()->first <= until) {
      const int64_t due = timers_.begin()->first;
      auto callback = std::move(timers_.begin()->second);
      timers_.erase(timers_.begin());
      if (due > clock_.monotonic_ms()) clock_.advance_ms(due - clock_.monotonic_ms());
      callback();
      run_pending();
    }
    clock_.advance_ms(until - clock_.monotonic_ms());
  }

 private:
  base::FakeClock& clock_;
  std::mutex mutex_;
  std::condition_variable posted_;
  std::deque<std::function<void()>> posts_;
  std::multimap<int64_t, std::function<void()>> timers_;
};

class FakeExchange final : public net::Exchange {
 public:
  explicit FakeExchange(net::Request request) : request_(std::move(request)) {}
  const net::Request& request() const override { return request_; }
  void respond(net::Response response) override {
    EXPECT_FALSE(answered()) << "answered twice";
    status = response.status;
    headers = std::move(response.headers);
    body =
        response.static_body.empty() ? std::move(response.body) : std::string(response.static_body);
    ended = true;
  }
  void begin_stream(int stream_status, net::Headers stream_headers) override {
    EXPECT_FALSE(answered()) << "answered twice";
    status = stream_status;
    headers = std::move(stream_headers);
    streaming = true;
  }
  bool write(std::string_view bytes) override {
    EXPECT_TRUE(streaming && !ended);
    if (client_gone) return false;
    body += bytes;
    return true;
  }
  void end_stream() override { ended = true; }
  void on_disconnect(std::function<void()> callback) override { gone_ = std::move(callback); }

  bool answered() const { return status != 0; }
  void disconnect() {
    client_gone = true;
    if (auto callback = std::move(gone_)) callback();
  }
  std::string header(std::string_view name) const {
    for (const auto& [key, value] : headers) {
      if (key == name) return value;
    }
    return "";
  }
  base::Json json() const {
    auto parsed = base::parse_json(body, "answer");
    EXPECT_TRUE(parsed) << body;
    return parsed ? *parsed : base::Json();
  }
  // The JSON of each "data: …" line.
  std::vector<base::Json> events() const {
    std::vector<base::Json> out;
    size_t at = 0;
    while ((at = body.find("data: ", at)) != std::string::npos) {
      const size_t end = body.find("\n\n", at);
      const std::string data = body.substr(at + 6, end - at - 6);
      if (data != "[DONE]") out.push_back(*base::parse_json(data, "event"));
      at = end;
    }
    return out;
  }

  int status = 0;
  net::Headers headers;
  std::string body;
  bool streaming = false, ended = false, client_gone = false;

 private:
  net::Request request_;
  std::function<void()> gone_;
};

class ManualEngine final : public engine::EngineClient {
 public:
  ManualEngine() {
    engine::ModelStatus model;
    model.id = "tiny";
    model.context_tokens = 1000;
    model.loaded = true;
    model.tools = true;
    model.defaults = base::Json::object({{"temperature", 0.6}});
    models_.push_back(model);
    stats_.ready = true;
  }
  base::Result<void> start(engine::Request request, engine::EventSink sink) override {
    std::lock_guard lock(mutex_);
    if (refusal_) return base::fail(*refusal_);
    // In the order in which they were asked for; the service's threads may overtake each other.
    const auto at = std::find_if(started_.begin(), started_.end(), [&](const Started& other) {
      return other.request.id > request.id;
    });
    started_.insert(at, {std::move(request), std::move(sink)});
    return {};
  }
  void cancel(uint64_t id) override {
    std::lock_guard lock(mutex_);
    cancelled_.push_back(id);
  }
  void answer_now(uint64_t id) override {
    std::lock_guard lock(mutex_);
    hurried_.push_back(id);
  }
  std::vector<engine::ModelStatus> models() override { return models_; }
  engine::EngineStats stats() override { return stats_; }
  std::vector<engine::UnusableModel> unusable_models() override { return unusable_; }
  base::Result<std::vector<int32_t>> tokenize(const std::string&, const std::string& text, bool,
                                              bool) override {
    return std::vector<int32_t>(text.begin(), text.end());
  }
  base::Result<std::string> detokenize(const std::string&,
                                       const std::vector<int32_t>& ids) override {
    return std::string(ids.begin(), ids.end());
  }
  base::Result<engine::PromptSize> prompt_size(const std::string&,
                                               const engine::ChatPrompt&) override {
    return size_;
  }

  struct Started {
    engine::Request request;
    engine::EventSink sink;
  };
  size_t started_count() {
    std::lock_guard lock(mutex_);
    return started_.size();
  }
  Started started(size_t index) {
    std::lock_guard lock(mutex_);
    return started_.at(index);
  }
  void emit(size_t index, const engine::Event& event) {
    const Started one = started(index);
    one.sink(one.request.id, event);
  }
  std::vector<uint64_t> cancelled() {
    std::lock_guard lock(mutex_);
    return cancelled_;
  }

  std::vector<engine::ModelStatus> models_;
  engine::EngineStats stats_;
  std::vector<engine::UnusableModel> unusable_;
  engine::PromptSize size_{10, 1000, 0};
  std::optional<base::Error> refusal_;
  std::vector<uint64_t> hurried_;

 private:
  std::mutex mutex_;
  std::vector<Started> started_;
  std::vector<uint64_t> cancelled_;
};

class Bench : public base::ScratchTest {
 protected:
  static constexpr const char* key = "sk-0123456789abcdef0123456789";

  void SetUp() override { open(); }
  void TearDown() override { close(); }
  void open() {
    ApiOptions options;
    options.engine = &engine_;
    options.clock = &clock_;
    options.random = &random_;
    options.files = &files_;
    options.version = "0.1.0";
    options.port = 8080;
    options.state_dir = dir_;
    options.api_key = key;
    options.setup_code = "ABCD-2345";
    options.announce_code = [this](std::string_view code) { codes_.emplace_back(code); };
    adjust(options);
    auto made = make_service(std::move(options));
    ASSERT_TRUE(made);
    service_ = std::move(*made);
    server_ = std::make_unique<FakeServer>(clock_);
    service_->attach(*server_);
  }
  virtual void adjust(ApiOptions& options) { (void)options; }
  void close() {
    if (service_ != nullptr) service_->detach();
    service_.reset();
    server_.reset();
  }

  net::Request request(const std::string& method, const std::string& target,
                       const std::string& body = "") {
    net::Request out;
    out.method = method;
    const size_t question = target.find('?');
    out.path = target.substr(0, question);
    if (question != std::string::npos) out.query = target.substr(question + 1);
    out.headers = {{"host", "127.0.0.1:8080"}, {"authorization", std::string("Bearer ") + key}};
    if (method != "GET") out.headers.emplace_back("content-type", "application/json");
    if (!cookie_.empty()) out.headers.emplace_back("cookie", "nautile_session=" + cookie_);
    out.body = body;
    return out;
  }
  std::shared_ptr<FakeExchange> send(net::Request request) {
    auto exchange = std::make_shared<FakeExchange>(std::move(request));
    service_->handler()(exchange);
    return exchange;
  }
  std::shared_ptr<FakeExchange> send(const std::string& method, const std::string& target,
                                     const std::string& body = "") {
    return send(request(method, target, body));
  }
  void until(const std::function<bool()>& condition) {
    while (!condition()) ASSERT_TRUE(server_->run_one()) << "waited in vain";
  }
  // A thread of the service starts and cancels: no post says so, so these look at the engine.
  void until_started(size_t count) {
    wait_for([&] { return engine_.started_count() >= count; });
  }
  void until_cancelled(size_t count) {
    wait_for([&] { return engine_.cancelled().size() >= count; });
  }
  void wait_for(const std::function<bool()>& condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!condition()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "waited in vain";
      server_->run_pending();
      std::this_thread::yield();
    }
  }
  void emit(size_t index, const engine::Event& event) {
    engine_.emit(index, event);
    ASSERT_TRUE(server_->run_one());
    server_->run_pending();
  }
  void sign_in() {
    auto done = send("POST", "/site/setup", R"({"code":"abcd 2345","mode":"just_me"})");
    ASSERT_EQ(done->status, 200) << done->body;
    const std::string header = done->header("set-cookie");
    cookie_ = header.substr(16, header.find(';') - 16);
  }
  static engine::Delta delta(const std::string& text, engine::Part part = engine::Part::answer) {
    engine::Delta out;
    out.part = part;
    out.text = text;
    out.ids = {1};
    return out;
  }
  static engine::End end(engine::EndReason reason = engine::EndReason::stop) {
    engine::End out;
    out.reason = reason;
    out.usage.prompt_tokens = 10;
    out.usage.cached_tokens = 4;
    out.usage.completion_tokens = 3;
    out.usage.reasoning_tokens = 1;
    return out;
  }

  const std::string dir_ = folder_.string();
  std::string cookie_;
  base::FakeClock clock_;
  base::SeededRandom random_{1};
  ManualEngine engine_;
  const StaticFile shell_[2] = {
      {"/index.html", "text/html; charset=utf-8", "<p>shell", "", "\"1\"", false},
      {"/assets/a-1.js", "text/javascript; charset=utf-8", "let a", "GZ", "\"2\"", true}};
  StaticTable files_{shell_};
  std::vector<std::string> codes_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<FakeServer> server_;
};

}  // namespace api
