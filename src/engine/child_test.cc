// Gate's side and engine's side of the wire together: over a socketpair, in threads and in a
// process of its own that is killed.
#include <cstdio>
#include <future>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include "engine/channel.h"
#include "engine/child_client.h"
#include "engine/child_server.h"
#include "engine/fake_model_for_test.h"
#include "engine/open_models.h"

namespace engine {
namespace {

std::unique_ptr<Engine> fake_engine(Engine::Hooks hooks) {
  Engine::Parts parts;
  parts.sources.push_back(std::make_unique<FakeSource>(FakeSettings{}));
  parts.clock = std::make_shared<base::SystemClock>();
  parts.random = std::make_unique<base::SeededRandom>(1);
  parts.hooks = std::move(hooks);
  return std::make_unique<Engine>(EngineOptions{}, std::move(parts));
}

struct Pair {
  int gate = -1, engine = -1;
};
Pair make_pair_of_sockets() {
  int fds[2];
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  return {fds[0], fds[1]};
}

// An engine in a process of its own.
class Process {
 public:
  explicit Process(Pair pair) {
    pid_ = fork();
    if (pid_ == 0) {
      close(pair.gate);
      _exit(serve_engine(pair.engine, fake_engine));
    }
    close(pair.engine);
  }
  ~Process() { EXPECT_TRUE(reaped_) << "wait() or kill9() comes first"; }
  void kill9() {
    kill(pid_, SIGKILL);
    wait();
  }
  int wait() {
    int status = 0;
    EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
    reaped_ = true;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
  bool reaped_ = false;
};

// A client that tells when it is ready and when it lost its engine.
struct Gate {
  std::mutex mutex;
  std::condition_variable changed;
  int ready = 0, lost = 0;
  std::unique_ptr<ChildClient> client = ChildClient::make({.on_lost = [this] { count(lost); },
                                                           .on_ready = [this] { count(ready); },
                                                           .on_models_changed = nullptr});

  ~Gate() { client.reset(); }
  void count(int& counter) {
    std::lock_guard lock(mutex);
    ++counter;
    changed.notify_all();
  }
  int lost_so_far() {
    std::lock_guard lock(mutex);
    return lost;
  }
  bool wait_for(const int& counter, int value) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(60), [&] { return counter >= value; });
  }
};

Request question(uint64_t id, int tokens_max) {
  Request r;
  r.id = id;
  r.model = "fake";
  r.prompt = ChatPrompt{{{.role = "user", .content = "Guten Tag, why?"}}};
  r.tokens_max = tokens_max;
  r.sampling.seed = 5;
  r.ignore_end_tokens = true;
  r.logprobs_top = 3;
  return r;
}

TEST(Child, AnswersAsTheEngineInThisProcessDoes) {
  Pair pair = make_pair_of_sockets();
  auto served =
      std::async(std::launch::async, [&] { return serve_engine(pair.engine, fake_engine); });
  Gate gate;
  gate.client->attach(pair.gate);
  ASSERT_TRUE(gate.wait_for(gate.ready, 1));
  auto local = fake_engine({});
  Collector here, there;
  ASSERT_TRUE(local->start(question(1, 50), here.sink()).has_value());
  ASSERT_TRUE(gate.client->start(question(1, 50), there.sink()).has_value());
  End a = here.wait_end(1), b = there.wait_end(1);
  EXPECT_EQ(here.ids(1), there.ids(1));
  EXPECT_EQ(here.logprobs(1), there.logprobs(1));
  EXPECT_EQ(here.text(1, Part::answer), there.text(1, Part::answer));
  EXPECT_EQ(a.usage.prompt_tokens, b.usage.prompt_tokens);
  EXPECT_EQ(gate.client->models().at(0).id, "fake");
  EXPECT_EQ(*gate.client->tokenize("fake", "abc", false, false),
            *local->tokenize("fake", "abc", false, false));
  EXPECT_EQ(*gate.client->detokenize("fake", {97, 98}), "ab");
  EXPECT_EQ(gate.client->tokenize("none", "abc", false, false).error().kind,
            base::ErrorKind::not_found);
  auto prompt = std::get<ChatPrompt>(question(1, 1).prompt);
  EXPECT_EQ(gate.client->prompt_size("fake", prompt)->tokens, a.usage.prompt_tokens);
  auto refused = gate.client->start(
      [] {
        Request r = question(2, 5);
        r.sampling.top_p = 2;
        return r;
      }(),
      there.sink());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind, base::ErrorKind::invalid_input);
  gate.client->detach();
  EXPECT_EQ(served.get(), 0);
  EXPECT_FALSE(gate.client->ready());
  EXPECT_EQ(gate.lost_so_far(), 0);
}

std::unique_ptr<Engine> engine_that_draws(Engine::Hooks hooks) {
  Engine::Parts parts;
  FakeSettings settings;
  settings.janus = true;
  parts.sources.push_back(std::make_unique<FakeSource>(settings));
  parts.clock = std::make_shared<base::SystemClock>();
  parts.random = std::make_unique<base::SeededRandom>(1);
  parts.hooks = std::move(hooks);
  EngineOptions options;
  options.pictures = std::make_shared<FakeReader>();
  return std::make_unique<Engine>(options, std::move(parts));
}

TEST(Child, PicturesGoBothWays) {
  Pair pair = make_pair_of_sockets();
  auto served =
      std::async(std::launch::async, [&] { return serve_engine(pair.engine, engine_that_draws); });
  Gate gate;
  gate.client->attach(pair.gate);
  ASSERT_TRUE(gate.wait_for(gate.ready, 1));
  auto local = engine_that_draws({});
  EXPECT_TRUE(gate.client->models().at(0).sees);
  EXPECT_EQ(gate.client->models().at(0).drawn_side, local->models().at(0).drawn_side);
  Request seeing = question(1, 20), drawing = question(2, -1);
  std::get<ChatPrompt>(seeing.prompt).messages[0].pictures = {{0, std::string("\x89PNG\0", 5)}};
  drawing.prompt = DrawPrompt{"a whale", 2, 5.0, {}};
  Collector here, there;
  for (const Request& r : {seeing, drawing}) {
    ASSERT_TRUE(local->start(r, here.sink()).has_value());
    ASSERT_TRUE(gate.client->start(r, there.sink()).has_value());
    here.wait_end(r.id);
    there.wait_end(r.id);
  }
  EXPECT_EQ(here.ids(1), there.ids(1));
  EXPECT_EQ(here.logprobs(1), there.logprobs(1));
  auto drawn = there.all<Drawn>(2);
  ASSERT_EQ(drawn.size(), 2u);
  for (const Drawn& picture : here.all<Drawn>(2)) {
    EXPECT_TRUE(std::any_of(drawn.begin(), drawn.end(), [&](const Drawn& other) {
      return other.picture == picture.picture && other.seed == picture.seed &&
             other.png == picture.png && other.codes == picture.codes;
    }));
  }
  const auto& chat = std::get<ChatPrompt>(seeing.prompt);
  EXPECT_EQ(gate.client->prompt_size("fake", chat)->tokens, there.wait_end(1).usage.prompt_tokens);
  // Said by the client itself: the wire would be closed for it.
  std::get<ChatPrompt>(seeing.prompt).messages[0].pictures.resize(pictures_seen_max + 1);
  auto refused = gate.client->start(seeing, there.sink());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind, base::ErrorKind::invalid_input);
  EXPECT_TRUE(gate.client->ready());
  gate.client->detach();
  EXPECT_EQ(served.get(), 0);
}

TEST(Child, KilledInMidAnswerAndBackAgain) {
  // Both are forked before this process has threads: ThreadSanitizer counts what a fork loses.
  Pair pair = make_pair_of_sockets(), again = make_pair_of_sockets();
  Process first(pair), second(again);
  Gate gate;
  gate.client->attach(pair.gate);
  ASSERT_TRUE(gate.wait_for(gate.ready, 1));
  Collector collector;
  ASSERT_TRUE(gate.client->start(question(1, 900), collector.sink()).has_value());
  ASSERT_TRUE(collector.wait_until([](auto& events) {
    return !events[1].empty() && std::holds_alternative<Delta>(events[1].back());
  }));
  first.kill9();
  End end = collector.wait_end(1);
  EXPECT_EQ(end.reason, EndReason::failed);
  EXPECT_EQ(end.error.kind, base::ErrorKind::unavailable);
  ASSERT_TRUE(gate.wait_for(gate.lost, 1));
  EXPECT_FALSE(gate.client->ready());
  auto refused = gate.client->start(question(2, 5), collector.sink());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind, base::ErrorKind::unavailable);
  EXPECT_EQ(gate.client->models().size(), 1u) << "what is known stays known";

  gate.client->attach(again.gate);
  ASSERT_TRUE(gate.wait_for(gate.ready, 2));
  EXPECT_EQ(gate.client->stats().restarts, 1);
  ASSERT_TRUE(gate.client->start(question(3, 5), collector.sink()).has_value());
  EXPECT_EQ(collector.wait_end(3).reason, EndReason::length);
  gate.client->detach();
  EXPECT_EQ(second.wait(), 0);
}

TEST(Child, CancelGoesThroughTheWire) {
  Pair pair = make_pair_of_sockets();
  auto served =
      std::async(std::launch::async, [&] { return serve_engine(pair.engine, fake_engine); });
  Gate gate;
  gate.client->attach(pair.gate);
  ASSERT_TRUE(gate.wait_for(gate.ready, 1));
  Collector collector;
  collector.on_event = [&](uint64_t id, const Event& event) {
    if (std::holds_alternative<Delta>(event)) gate.client->cancel(id);  // from the sink itself
  };
  ASSERT_TRUE(gate.client->start(question(1, 900), collector.sink()).has_value());
  EXPECT_EQ(collector.wait_end(1).reason, EndReason::cancelled);
  gate.client->detach();
  EXPECT_EQ(served.get(), 0);
}

// What a taken-over engine may send.
TEST(Child, AnEngineThatBreaksTheRulesIsLost) {
  auto welcome = *wire::encode(wire::Welcome{wire::version, {}}, wire::to_gate_bytes_max);
  auto event = *wire::encode(wire::RequestEvent{99, Queued{1, 0, 0}}, wire::to_gate_bytes_max);
  std::string huge = "\xff\xff\xff\xff";
  huge.push_back(9);
  std::vector<std::string> lies = {
      std::string(64, 'x'),
      huge,
      welcome + *wire::encode(wire::Cancel{1}, wire::to_gate_bytes_max),  // the other direction
      *wire::encode(wire::Welcome{77, {}}, wire::to_gate_bytes_max),      // another version
      welcome + event.substr(0, 4) + std::string(1, '\x63') + event.substr(5),
  };
  for (const std::string& lie : lies) {
    Pair pair = make_pair_of_sockets();
    Gate gate;
    gate.client->attach(pair.gate);
    ASSERT_EQ(write(pair.engine, lie.data(), lie.size()), static_cast<ssize_t>(lie.size()));
    EXPECT_TRUE(gate.wait_for(gate.lost, 1));
    close(pair.engine);
  }
  // Events of nobody are ignored, and the connection stays.
  Pair pair = make_pair_of_sockets();
  Gate gate;
  gate.client->attach(pair.gate);
  std::string odd = event + welcome;
  ASSERT_EQ(write(pair.engine, odd.data(), odd.size()), static_cast<ssize_t>(odd.size()));
  EXPECT_TRUE(gate.wait_for(gate.ready, 1));
  EXPECT_EQ(gate.lost_so_far(), 0);
  close(pair.engine);
  EXPECT_TRUE(gate.wait_for(gate.lost, 1));
}

TEST(Child, AGateThatBreaksTheRulesEndsTheEngine) {
  Pair pair = make_pair_of_sockets();
  auto served =
      std::async(std::launch::async, [&] { return serve_engine(pair.engine, fake_engine); });
  std::string lie(64, '\xff');  // a frame of 4 GiB
  ASSERT_EQ(write(pair.gate, lie.data(), lie.size()), static_cast<ssize_t>(lie.size()));
  EXPECT_EQ(served.get(), 1);
  close(pair.gate);
}

TEST(Child, ASlowReaderHoldsTheWriterNotTheReader) {
  Pair pair = make_pair_of_sockets();
  std::promise<void> closed;
  std::atomic<int> received = 0;
  Channel channel(pair.gate, {1u << 20, 32u << 20},
                  {.on_frame = [&](wire::Frame) { return ++received > 0; },
                   .on_closed = [&](Closed) { closed.set_value(); }});
  // More than fits into the socket and the buffer: the sender waits, frames still come in.
  auto sender = std::async(std::launch::async, [&] {
    wire::Text text{1, std::string(1 << 20, 'x')};
    int sent = 0;
    while (sent < 64 && channel.send(text).has_value()) ++sent;
    return sent;
  });
  auto cancel = *wire::encode(wire::Cancel{1}, 100);
  ASSERT_EQ(write(pair.engine, cancel.data(), cancel.size()), static_cast<ssize_t>(cancel.size()));
  while (received == 0) std::this_thread::yield();
  channel.close();
  closed.get_future().wait();
  EXPECT_LT(sender.get(), 64);
  close(pair.engine);
}

// What cannot be opened is left out, and the gate hears of it with the reason.
TEST(Child, AModelThatCannotBeOpenedIsNamedToTheGate) {
  char name[] = "/tmp/nautile-notes-XXXXXX";
  const int file = mkstemp(name);
  ASSERT_GE(file, 0);
  ASSERT_EQ(write(file, "# My notes\n", 11), 11);
  close(file);
  EngineOptions options;
  options.models = {{"notes", name}};
  Pair pair = make_pair_of_sockets();
  std::thread engine([&] {
    serve_engine(pair.engine, [&](Engine::Hooks hooks) {
      return std::move(*open_engine(options, BrokenModel::leave_out, std::move(hooks)));
    });
  });
  std::promise<void> ready;
  auto client = ChildClient::make(
      {.on_lost = {}, .on_ready = [&] { ready.set_value(); }, .on_models_changed = {}});
  client->attach(pair.gate);
  ready.get_future().wait();
  EXPECT_TRUE(client->models().empty());
  const std::vector<UnusableModel> unusable = client->unusable_models();
  ASSERT_EQ(unusable.size(), 1u);
  EXPECT_EQ(unusable[0].id, "notes");
  EXPECT_EQ(unusable[0].error.kind, base::ErrorKind::invalid_input);
  EXPECT_FALSE(unusable[0].error.what.empty());
  client->detach();
  engine.join();
  std::remove(name);
}

}  // namespace
}  // namespace engine
