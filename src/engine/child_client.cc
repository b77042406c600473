#include "engine/child_client.h"

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <unistd.h>
#include <utility>

#include "engine/channel.h"
#include "engine/picture_checks.h"

namespace engine {
namespace {

base::Error engine_gone() {
  return {base::ErrorKind::unavailable, "the engine is being restarted", "its process ended",
          "try again in a few seconds"};
}

class Client final : public ChildClient {
 public:
  explicit Client(Callbacks callbacks) : callbacks_(std::move(callbacks)) {}
  ~Client() override { detach(); }

  void attach(int fd) override {
    detach();
    std::lock_guard lifetime(lifetime_);
    {
      std::lock_guard lock(mutex_);
      ++attached_;
      stats_ = {};
    }
    Channel::Handlers handlers{
        .on_frame = [this](wire::Frame frame) { return take(std::move(frame)); },
        .on_closed = [this](Closed why) { lost(why); }};
    auto channel = std::make_shared<Channel>(
        fd, Channel::Options{wire::to_gate_bytes_max, wire::to_engine_bytes_max},
        std::move(handlers));
    {
      std::lock_guard lock(mutex_);
      channel_ = channel;
    }
    (void)channel->send(wire::Hello{});  // a failure is heard by on_closed
  }

  void detach() override {
    std::lock_guard lifetime(lifetime_);
    std::shared_ptr<Channel> channel;
    {
      std::lock_guard lock(mutex_);
      channel = std::exchange(channel_, nullptr);
    }
    if (!channel) return;
    channel->close();
    // A caller inside send() holds the channel a moment longer (a closed one lets it go at once);
    // the last reference must be ours, since the channel's own thread could not join itself.
    while (channel.use_count() > 1) std::this_thread::yield();
    channel.reset();
    end_everything();
  }

  bool ready() const override {
    std::lock_guard lock(mutex_);
    return ready_;
  }

  base::Result<void> start(Request request, EventSink sink) override {
    uint64_t id = request.id;
    // The wire would be closed for it, and with it everybody's answers.
    if (const auto* chat = std::get_if<ChatPrompt>(&request.prompt)) TRY(check_pictures(*chat));
    {
      std::lock_guard lock(mutex_);
      if (!ready_) return base::fail(engine_gone());
      auto added = requests_.emplace(id, std::make_shared<EventSink>(std::move(sink)));
      if (!added.second) {
        return base::fail(base::ErrorKind::invalid_input, "a request of this id is running");
      }
    }
    auto answer = call([&](uint64_t n) { return wire::Start{n, std::move(request)}; });
    if (answer && std::holds_alternative<wire::Started>(*answer)) return {};
    {
      std::lock_guard lock(mutex_);
      // Lost between the two: its End has been delivered, so it counts as started.
      if (requests_.erase(id) == 0) return {};
    }
    if (answer) return base::fail(refusal(*answer));
    // Perhaps it was only slow: it must not compute for nobody.
    cancel(id);
    return base::fail(std::move(answer).error());
  }
  void cancel(uint64_t request_id) override { tell(wire::Cancel{request_id}); }
  void answer_now(uint64_t request_id) override { tell(wire::AnswerNow{request_id}); }

  std::vector<ModelStatus> models() override {
    std::lock_guard lock(mutex_);
    return models_;
  }
  std::vector<UnusableModel> unusable_models() override {
    std::lock_guard lock(mutex_);
    return unusable_;
  }
  EngineStats stats() override {
    std::lock_guard lock(mutex_);
    EngineStats stats = stats_;
    stats.ready = ready_;
    stats.restarts = std::max<int64_t>(attached_ - 1, 0);
    return stats;
  }

  base::Result<std::vector<int32_t>> tokenize(const std::string& model, const std::string& text,
                                              bool parse_special, bool add_bos) override {
    return ask<wire::Ids>([&](uint64_t n) {
             return wire::Tokenize{n, model, text, parse_special, add_bos};
           })
        .map([](wire::Ids ids) { return std::move(ids.ids); });
  }
  base::Result<std::string> detokenize(const std::string& model,
                                       const std::vector<int32_t>& ids) override {
    return ask<wire::Text>([&](uint64_t n) {
             return wire::Detokenize{n, model, ids};
           })
        .map([](wire::Text text) { return std::move(text.text); });
  }
  base::Result<PromptSize> prompt_size(const std::string& model,
                                       const ChatPrompt& prompt) override {
    // Where the pictures stand is enough.
    ChatPrompt measured = prompt;
    for (Message& message : measured.messages) {
      for (Picture& picture : message.pictures) picture.bytes.clear();
    }
    TRY(check_pictures(measured));
    return ask<wire::Size>([&](uint64_t n) {
             return wire::MeasurePrompt{n, model, measured};
           })
        .map([](wire::Size size) { return size.size; });
  }

 private:
  // One waiting caller.
  struct Call {
    std::condition_variable answered;
    std::optional<wire::Frame> answer;
    bool lost = false;
  };

  static base::Error refusal(const wire::Frame& frame) {
    if (auto* refused = std::get_if<wire::Refused>(&frame)) return refused->error;
    return {base::ErrorKind::internal, "the engine answered another question", "", ""};
  }

  std::shared_ptr<Channel> channel() const {
    std::lock_guard lock(mutex_);
    return channel_;
  }

  void tell(const wire::Frame& frame) {
    if (auto open = channel()) (void)open->send(frame);  // gone: the request has ended anyway
  }

  template <class Make>
  base::Result<wire::Frame> call(Make make) {
    Call call;
    uint64_t number = 0;
    std::shared_ptr<Channel> open;
    {
      std::lock_guard lock(mutex_);
      if (!ready_) return base::fail(engine_gone());
      open = channel_;
      if (!open) return base::fail(engine_gone());
      number = next_call_++;
      calls_[number] = &call;
    }
    auto sent = open->send(make(number));
    std::unique_lock lock(mutex_);
    if (sent) {
      call.answered.wait_for(lock, std::chrono::milliseconds(call_timeout_ms),
                             [&] { return call.answer.has_value() || call.lost; });
    }
    calls_.erase(number);
    if (!sent) return base::fail(std::move(sent).error());
    if (call.answer) return std::move(*call.answer);
    if (call.lost) return base::fail(engine_gone());
    return base::fail(base::ErrorKind::unavailable, "the engine did not answer in time",
                      fmt::format("it had {} ms", call_timeout_ms), "try again later");
  }
  template <class Answer, class Make>
  base::Result<Answer> ask(Make make) {
    ASSIGN(wire::Frame frame, call(make));
    if (auto* answer = std::get_if<Answer>(&frame)) return std::move(*answer);
    return base::fail(refusal(frame));
  }

  // ---- on the channel's thread ----

  template <class Frame>
  bool answered(Frame& frame) {
    std::lock_guard lock(mutex_);
    auto found = calls_.find(frame.call);
    if (found == calls_.end()) return true;  // the caller gave up waiting
    found->second->answer = std::move(frame);
    found->second->answered.notify_all();
    return true;
  }

  bool take(wire::Frame frame) {
    return std::visit([this](auto& f) { return take(f); }, frame);
  }
  template <class Other>
  bool take(Other&) {
    return false;  // a frame of the other direction
  }
  bool take(wire::Welcome& f) {
    if (f.version != wire::version) return false;
    {
      std::lock_guard lock(mutex_);
      models_ = std::move(f.models);
      unusable_ = std::move(f.unusable);
      ready_ = true;
    }
    if (callbacks_.on_ready) callbacks_.on_ready();
    return true;
  }
  bool take(wire::Models& f) {
    {
      std::lock_guard lock(mutex_);
      models_ = std::move(f.models);
    }
    if (callbacks_.on_models_changed) callbacks_.on_models_changed();
    return true;
  }
  bool take(wire::Stats& f) {
    std::lock_guard lock(mutex_);
    stats_ = f.stats;
    return true;
  }
  bool take(wire::RequestEvent& f) {
    std::shared_ptr<EventSink> sink;
    {
      std::lock_guard lock(mutex_);
      auto found = requests_.find(f.request_id);
      if (found == requests_.end()) return true;  // refused or given up meanwhile
      sink = found->second;
      if (std::holds_alternative<End>(f.event)) requests_.erase(found);
    }
    (*sink)(f.request_id, f.event);
    return true;
  }
  bool take(wire::Refused& f) { return answered(f); }
  bool take(wire::Started& f) { return answered(f); }
  bool take(wire::Ids& f) { return answered(f); }
  bool take(wire::Text& f) { return answered(f); }
  bool take(wire::Size& f) { return answered(f); }

  void lost(Closed why) {
    end_everything();
    if (why != Closed::by_us && callbacks_.on_lost) callbacks_.on_lost();
  }

  void end_everything() {
    std::map<uint64_t, std::shared_ptr<EventSink>> ended;
    {
      std::lock_guard lock(mutex_);
      ready_ = false;
      for (ModelStatus& model : models_) model.loaded = false;
      ended.swap(requests_);
      for (auto& [number, call] : calls_) {
        call->lost = true;
        call->answered.notify_all();
      }
    }
    End end;
    end.reason = EndReason::failed;
    end.error = engine_gone();
    for (auto& [id, sink] : ended) (*sink)(id, end);
  }

  Callbacks callbacks_;
  std::mutex lifetime_;  // attach and detach, one at a time
  mutable std::mutex mutex_;
  std::shared_ptr<Channel> channel_;
  bool ready_ = false;
  int64_t attached_ = 0;
  std::vector<ModelStatus> models_;
  std::vector<UnusableModel> unusable_;
  EngineStats stats_;
  uint64_t next_call_ = 1;
  std::map<uint64_t, Call*> calls_;
  std::map<uint64_t, std::shared_ptr<EventSink>> requests_;
};

}  // namespace

std::unique_ptr<ChildClient> ChildClient::make(Callbacks callbacks) {
  return std::make_unique<Client>(std::move(callbacks));
}

}  // namespace engine
