#include "engine/child_server.h"

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "engine/channel.h"

namespace engine {
namespace {

// How often the counters cross the wire while requests run. When the engine comes to rest they are
// sent at once, so that an idle engine's numbers are the last ones.
constexpr int64_t stats_interval_ns = 50'000'000;
constexpr size_t questions_max = 4096;
constexpr uint64_t pictures_waiting_bytes_max = 128ull << 20;

// Questions that take a moment (templates, tokenising) are answered on a thread of their own, so
// that a cancel is never behind them; those with pictures, which may take seconds, on another.
class Questions {
 public:
  Questions() : thread_([this] { run(); }) {}
  ~Questions() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    asked_.notify_all();
    thread_.join();
  }
  // `bytes`: of the pictures in it. False: too much waits already.
  bool ask(std::function<void()> question, uint64_t bytes) {
    {
      std::lock_guard lock(mutex_);
      bool large = bytes > 0 && bytes_ > 0 && bytes_ + bytes > pictures_waiting_bytes_max;
      if (waiting_.size() >= questions_max || large) return false;
      bytes_ += bytes;
      waiting_.push_back({std::move(question), bytes});
    }
    asked_.notify_all();
    return true;
  }

 private:
  void run() {
    for (;;) {
      Question question;
      {
        std::unique_lock lock(mutex_);
        asked_.wait(lock, [&] { return stopping_ || !waiting_.empty(); });
        if (stopping_) return;
        question = std::move(waiting_.front());
        waiting_.pop_front();
      }
      question.answer();
      std::lock_guard lock(mutex_);
      bytes_ -= question.bytes;
    }
  }
  struct Question {
    std::function<void()> answer;
    uint64_t bytes = 0;
  };
  std::mutex mutex_;
  std::condition_variable asked_;
  std::deque<Question> waiting_;
  uint64_t bytes_ = 0;  // of pictures, with the question that is being answered
  bool stopping_ = false;
  std::thread thread_;
};

class Server {
 public:
  Server(int fd, const MakeEngine& make_engine) {
    // Opening models takes a moment: the gate's hello waits in the socket meanwhile.
    Engine::Hooks hooks;
    hooks.models_changed = [this] {
      if (welcomed()) send(wire::Models{engine_->models()});
    };
    hooks.stats_changed = [this](const EngineStats& stats) { send_stats(stats); };
    engine_ = make_engine(std::move(hooks));
    auto channel = std::make_unique<Channel>(
        fd, Channel::Options{wire::to_engine_bytes_max, wire::to_gate_bytes_max},
        Channel::Handlers{.on_frame = [this](wire::Frame frame) { return take(std::move(frame)); },
                          .on_closed = [this](Closed why) { closed(why); }});
    std::lock_guard lock(mutex_);
    channel_ = std::move(channel);
    opened_.notify_all();
  }

  int serve() {
    {
      std::unique_lock lock(mutex_);
      opened_.wait(lock, [&] { return closed_; });
    }
    // Questions first (they use the engine), the engine next (it sends events), then the channel.
    questions_.reset();
    picture_questions_.reset();
    engine_.reset();
    channel_.reset();
    return why_ == Closed::protocol ? 1 : 0;
  }

 private:
  // After the gate's hello; by then the constructor is through.
  bool welcomed() {
    std::lock_guard lock(mutex_);
    return welcomed_;
  }

  void send(const wire::Frame& frame) {
    Channel* channel = nullptr;
    {
      std::lock_guard lock(mutex_);
      if (!welcomed_) return;
      channel = channel_.get();
    }
    if (channel) (void)channel->send(frame);  // closed: serve() is about to end everything
  }

  void send_stats(const EngineStats& stats) {
    int64_t now = clock_.monotonic_ns();
    bool at_rest = stats.running == 0 && stats.waiting == 0;
    if (!at_rest && now - stats_sent_ns_ < stats_interval_ns) return;
    stats_sent_ns_ = now;
    send(wire::Stats{stats});
  }

  void closed(Closed why) {
    std::lock_guard lock(mutex_);
    closed_ = true;
    why_ = why;
    opened_.notify_all();
  }

  // ---- frames, on the channel's thread ----

  bool take(wire::Frame frame) {
    {
      // The constructor may still be putting the channel in its place.
      std::unique_lock lock(mutex_);
      opened_.wait(lock, [&] { return channel_ != nullptr; });
    }
    return std::visit([this](auto& f) { return take(f); }, frame);
  }
  template <class Other>
  bool take(Other&) {
    return false;
  }
  bool take(wire::Hello& f) {
    if (f.version != wire::version) return false;
    (void)channel_->send(
        wire::Welcome{wire::version, engine_->models(), engine_->unusable_models()});
    {
      std::lock_guard lock(mutex_);
      welcomed_ = true;
    }
    // What changed between the two lines above.
    (void)channel_->send(wire::Models{engine_->models()});
    (void)channel_->send(wire::Stats{engine_->stats()});
    return true;
  }
  bool take(wire::Cancel& f) {
    engine_->cancel(f.request_id);
    return true;
  }
  bool take(wire::AnswerNow& f) {
    engine_->answer_now(f.request_id);
    return true;
  }
  bool take(wire::Start& f) {
    return ask(std::move(f), [this](wire::Start& start) -> wire::Frame {
      auto started = engine_->start(std::move(start.request), [this](uint64_t id, const Event& e) {
        send(wire::RequestEvent{id, e});
      });
      if (!started) return wire::Refused{start.call, started.error()};
      return wire::Started{start.call};
    });
  }
  bool take(wire::Tokenize& f) {
    return ask(std::move(f), [this](wire::Tokenize& q) -> wire::Frame {
      auto ids = engine_->tokenize(q.model, q.text, q.parse_special, q.add_bos);
      if (!ids) return wire::Refused{q.call, ids.error()};
      return wire::Ids{q.call, std::move(*ids)};
    });
  }
  bool take(wire::Detokenize& f) {
    return ask(std::move(f), [this](wire::Detokenize& q) -> wire::Frame {
      auto text = engine_->detokenize(q.model, q.ids);
      if (!text) return wire::Refused{q.call, text.error()};
      return wire::Text{q.call, std::move(*text)};
    });
  }
  bool take(wire::MeasurePrompt& f) {
    return ask(std::move(f), [this](wire::MeasurePrompt& q) -> wire::Frame {
      auto size = engine_->prompt_size(q.model, q.prompt);
      if (!size) return wire::Refused{q.call, size.error()};
      return wire::Size{q.call, *size};
    });
  }

  template <class Question>
  static uint64_t picture_bytes(const Question&) {
    return 0;
  }
  static uint64_t picture_bytes(const wire::Start& start) {
    const auto* chat = std::get_if<ChatPrompt>(&start.request.prompt);
    uint64_t bytes = 0;
    for (size_t i = 0; chat && i < chat->messages.size(); ++i) {
      for (const Picture& picture : chat->messages[i].pictures) bytes += picture.bytes.size();
    }
    return bytes;
  }

  template <class Question, class Answer>
  bool ask(Question question, Answer answer) {
    auto shared = std::make_shared<Question>(std::move(question));
    uint64_t call = shared->call;
    const uint64_t bytes = picture_bytes(*shared);
    Questions& questions = bytes > 0 ? *picture_questions_ : *questions_;
    const auto answer_it = [this, shared, answer, call] {
      wire::Frame frame = answer(*shared);
      auto sent = channel_->send(frame);
      if (sent || sent.error().kind == base::ErrorKind::unavailable) return;
      (void)channel_->send(wire::Refused{call, sent.error()});  // the answer was too large
    };
    if (!questions.ask(answer_it, bytes)) {
      base::Error busy{base::ErrorKind::unavailable, "too many questions at once", "",
                       "try again in a second"};
      (void)channel_->send(wire::Refused{call, busy});
    }
    return true;
  }

  base::SystemClock clock_;
  std::mutex mutex_;
  std::condition_variable opened_;
  bool welcomed_ = false;
  bool closed_ = false;
  Closed why_ = Closed::by_us;
  int64_t stats_sent_ns_ = 0;  // the model thread's
  std::unique_ptr<Channel> channel_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Questions> questions_ = std::make_unique<Questions>();
  std::unique_ptr<Questions> picture_questions_ = std::make_unique<Questions>();
};

}  // namespace

int serve_engine(int fd, const MakeEngine& make_engine) { return Server(fd, make_engine).serve(); }

}  // namespace engine
