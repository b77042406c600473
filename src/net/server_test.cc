// The server over real loopback sockets. No sleeps: every wait is for bytes or for the end of a
// connection, and deadlines under test are set to tens of milliseconds.
#include "net/server.h"

#include <algorithm>
#include <arpa/inet.h>
#include <condition_variable>
#include <cstring>
#include <future>
#include <gtest/gtest.h>
#include <mutex>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

#include "base/sanitized.h"

namespace net {
namespace {

constexpr int patience_ms = 10'000;

class Client {
 public:
  explicit Client(int port, int receive_buffer_bytes = 0) {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (receive_buffer_bytes > 0) {
      ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof(int));
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }
  ~Client() { ::close(fd_); }
  Client(const Client&) = delete;

  bool connected() const { return connected_; }
  Client& send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) break;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return *this;
  }
  // Reads until `got` ends with or contains `mark`; what came is returned.
  std::string until(std::string_view mark) {
    while (got_.find(mark) == std::string::npos && read_some()) {
    }
    return std::exchange(got_, {});
  }
  // Reads until the server ends the connection.
  std::string to_end() {
    while (read_some()) {
    }
    ended_ = true;
    return std::exchange(got_, {});
  }
  bool was_reset() const { return reset_; }

 private:
  bool read_some() {
    pollfd wait{fd_, POLLIN, 0};
    if (::poll(&wait, 1, patience_ms) <= 0) {
      ADD_FAILURE() << "nothing came within " << patience_ms << " ms; so far: " << got_;
      return false;
    }
    char buffer[4096];
    const ssize_t size = ::recv(fd_, buffer, sizeof(buffer), 0);
    reset_ = size < 0 && errno == ECONNRESET;
    if (size > 0) got_.append(buffer, static_cast<size_t>(size));
    return size > 0;
  }
  int fd_ = -1;
  bool connected_ = false, ended_ = false, reset_ = false;
  std::string got_;
};

class Running {
 public:
  explicit Running(Handler handler, ServerLimits limits = {}, FaultForm fault_form = {},
                   LargeBody large_body = {}) {
    auto listener = open_listener("127.0.0.1", 0);
    EXPECT_TRUE(listener.has_value());
    port = *listener_port(*listener);
    auto made = make_server(*listener, limits, std::move(handler), std::move(fault_form),
                            std::move(large_body));
    EXPECT_TRUE(made.has_value());
    server = std::move(*made);
    thread_ = std::thread([this] { server->run(); });
  }
  ~Running() { stop(); }
  void stop() {
    if (!thread_.joinable()) return;
    server->stop();
    thread_.join();
  }
  // What the loop has done up to now is visible after this.
  void settle() {
    std::promise<void> done;
    server->post([&] { done.set_value(); });
    done.get_future().wait();
  }
  int port = 0;
  std::unique_ptr<Server> server;

 private:
  std::thread thread_;
};

// Echoes method, path and body.
void echo(std::shared_ptr<Exchange> exchange) {
  const Request& request = exchange->request();
  exchange->respond({200,
                     {{"content-type", "text/plain"}},
                     request.method + " " + request.path + " " + request.body});
}

// Keeps what the handler was given, for the test's thread.
class Shelf {
 public:
  Handler handler() {
    return [this](std::shared_ptr<Exchange> exchange) {
      const std::scoped_lock lock(mutex_);
      held_.push_back(std::move(exchange));
      changed_.notify_all();
    };
  }
  std::shared_ptr<Exchange> take() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::milliseconds(patience_ms), [&] { return !held_.empty(); });
    if (held_.empty()) return nullptr;
    auto first = held_.front();
    held_.erase(held_.begin());
    return first;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<Exchange>> held_;
};

const std::string get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const std::string get_close = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

TEST(Server, AnswersAndKeepsTheConnection) {
  Running running(echo);
  Client client(running.port);
  for (int i = 0; i < 3; ++i) {
    const std::string answer = client.send(get).until("GET / ");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
    EXPECT_NE(answer.find("content-length: 6\r\n"), std::string::npos);
    EXPECT_NE(answer.find("date: "), std::string::npos);
  }
  EXPECT_NE(client.send(get_close).to_end().find("connection: close"), std::string::npos);
}

TEST(Server, AnswersPipelinedRequestsInOrder) {
  Running running(echo);
  Client client(running.port);
  const std::string answers =
      client
          .send(
              "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\n"
              "Content-Length: 2\r\n\r\nhi\r\nGET /3 HTTP/1.1\r\nHost: a\r\n"
              "Connection: close\r\n\r\n")
          .to_end();
  const size_t one = answers.find("GET /1 "), two = answers.find("POST /2 hi"),
               three = answers.find("GET /3 ");
  EXPECT_LT(one, two);
  EXPECT_LT(two, three);
  EXPECT_NE(three, std::string::npos);
}

TEST(Server, TooMuchPipeliningEndsTheConnection) {
  Shelf shelf;
  Running running(shelf.handler(), {.header_bytes_max = 1024});
  Client client(running.port);
  client.send(get);
  auto exchange = shelf.take();
  for (int i = 0; i < 100; ++i) client.send(get);
  Client second(running.port);  // the loop has read the first client's bytes once this one is in
  second.send(get);
  auto other = shelf.take();
  exchange->respond({200, {}, "first"});
  other->respond({200, {}, "x"});
  const std::string answer = client.to_end();
  EXPECT_NE(answer.find("first"), std::string::npos);
  EXPECT_NE(answer.find("connection: close"), std::string::npos);
}

TEST(Server, SpeaksHttp10) {
  Running running([](std::shared_ptr<Exchange> exchange) {
    if (exchange->request().path == "/stream") {
      exchange->begin_stream(200, {});
      exchange->write("one");
      exchange->end_stream();
    } else {
      exchange->respond({200, {}, "plain"});
    }
  });
  Client plain(running.port);
  EXPECT_NE(plain.send("GET / HTTP/1.0\r\n\r\n").to_end().find("connection: close"),
            std::string::npos);
  Client kept(running.port);
  EXPECT_NE(kept.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                .until("plain")
                .find("connection: keep-alive"),
            std::string::npos);
  Client stream(running.port);
  const std::string answer =
      stream.send("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").to_end();
  EXPECT_EQ(answer.find("chunked"), std::string::npos);
  EXPECT_TRUE(answer.ends_with("\r\n\r\none")) << answer;
}

TEST(Server, HeadHasTheLengthAndNoBody) {
  Running running(echo);
  Client client(running.port);
  const std::string answer =
      client.send("HEAD /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").to_end();
  EXPECT_NE(answer.find("content-length: 8\r\n"), std::string::npos);
  EXPECT_TRUE(answer.ends_with("\r\n\r\n"));
}

TEST(Server, SaysContinueWhenAsked) {
  Running running(echo, {.body_bytes_max = 100});
  Client client(running.port);
  client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
  EXPECT_EQ(client.until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_NE(client.send("abc").until("POST / abc").find("200 OK"), std::string::npos);
  Client large(running.port);
  large.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 101\r\n\r\n");
  EXPECT_TRUE(large.to_end().starts_with("HTTP/1.1 413 "));
}

TEST(Server, RefusesAndClosesWhatIsMalformed) {
  Running running(echo);
  for (const char* bytes :
       {"\x16\x03\x01", "GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"}) {
    Client client(running.port);
    // What follows a refused request is never read as a request.
    const std::string answer = client.send(bytes).send(get).to_end();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 ")) << bytes << answer;
    EXPECT_EQ(answer.find("200 OK"), std::string::npos);
  }
  EXPECT_EQ(running.server->stats().malformed, 5);
  EXPECT_EQ(running.server->stats().requests, 0);
}

TEST(Server, AHeaderHasAnAbsoluteDeadline) {
  Running running(echo, {.header_deadline_ms = 40});
  Client silent(running.port);
  EXPECT_EQ(silent.to_end(), "");
  Client slow(running.port);
  slow.send("GET / HT");
  EXPECT_TRUE(slow.to_end().starts_with("HTTP/1.1 408 "));
  Client second_is_slow(running.port);  // the deadline counts from the first byte after an answer
  second_is_slow.send(get).until("GET / ");
  EXPECT_TRUE(second_is_slow.send("G").to_end().starts_with("HTTP/1.1 408 "));
  EXPECT_EQ(running.server->stats().timed_out, 3);
}

TEST(Server, AByteNowAndThenDoesNotExtendTheDeadline) {
  Running running(echo, {.header_deadline_ms = 60});
  Client client(running.port);
  const auto start = std::chrono::steady_clock::now();
  std::thread dripper([&] {
    for (int i = 0; i < 2000; ++i) {
      client.send("G");
      Client(running.port).send(get_close).to_end();  // the pace: one whole request a byte
      if (std::chrono::steady_clock::now() - start > std::chrono::milliseconds(150)) break;
    }
  });
  EXPECT_TRUE(client.to_end().find(" 4") != std::string::npos);
  dripper.join();
  EXPECT_GE(running.server->stats().timed_out, 1);
}

TEST(Server, ABodyHasAMinimumRate) {
  Running running(echo, {.body_rate_bytes_per_s_min = 1000, .body_grace_ms = 30});
  Client client(running.port);
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n" + std::string(20, 'x'));
  EXPECT_TRUE(client.to_end().starts_with("HTTP/1.1 408 "));
}

TEST(Server, AnIdleConnectionEnds) {
  Running running(echo, {.idle_keep_alive_ms = 20});
  Client client(running.port);
  client.send(get).until("GET / ");
  EXPECT_EQ(client.to_end(), "");
  EXPECT_EQ(running.server->stats().timed_out, 0);
}

TEST(Server, StreamsFromAnyThread) {
  Shelf shelf;
  Running running(shelf.handler());
  Client client(running.port);
  client.send(get);
  auto exchange = shelf.take();
  ASSERT_NE(exchange, nullptr);
  exchange->begin_stream(200, {{"content-type", "text/event-stream"}});
  EXPECT_NE(client.until("\r\n\r\n").find("transfer-encoding: chunked"), std::string::npos);
  EXPECT_TRUE(exchange->write("hello"));
  EXPECT_EQ(client.until("hello\r\n"), "5\r\nhello\r\n");
  EXPECT_TRUE(exchange->write("bye"));
  exchange->end_stream();
  EXPECT_FALSE(exchange->write("late"));
  EXPECT_NE(client.until("0\r\n\r\n").find("bye"), std::string::npos);
  client.send(get);
  shelf.take()->respond({200, {}, "again"});
  EXPECT_NE(client.until("again").find("200 OK"), std::string::npos);
}

TEST(Server, WritesThatComeTogetherLeaveTogether) {
  Running running([](std::shared_ptr<Exchange> exchange) {
    exchange->begin_stream(200, {});
    for (int i = 0; i < 10; ++i) exchange->write("ab");
    exchange->end_stream();
  });
  Client client(running.port);
  EXPECT_TRUE(
      client.send(get_close).to_end().ends_with("\r\n\r\n14\r\nabababababababababab\r\n0\r\n\r\n"));
}

TEST(Server, AStreamLetGoIsCutNotEnded) {
  Running running([](std::shared_ptr<Exchange> exchange) {
    exchange->begin_stream(200, {});
    exchange->write("half");
  });
  Client client(running.port);
  const std::string answer = client.send(get).to_end();
  EXPECT_TRUE(answer.ends_with("4\r\nhalf\r\n")) << answer;  // no last chunk
  Client old(running.port);
  old.send("GET / HTTP/1.0\r\n\r\n").to_end();
  EXPECT_TRUE(old.was_reset());
}

TEST(Server, AnUnansweredRequestIsA500) {
  Running running([](std::shared_ptr<Exchange>) {});
  Client client(running.port);
  EXPECT_TRUE(client.send(get_close).to_end().starts_with("HTTP/1.1 500 "));
  Running throwing([](std::shared_ptr<Exchange>) { throw std::runtime_error("x"); });
  Client other(throwing.port);
  EXPECT_TRUE(other.send(get_close).to_end().starts_with("HTTP/1.1 500 "));
}

TEST(Server, TellsWhenTheClientLeaves) {
  Shelf shelf;
  Running running(shelf.handler());
  std::promise<void> left;
  auto client = std::make_unique<Client>(running.port);
  client->send(get);
  auto exchange = shelf.take();
  exchange->begin_stream(200, {});
  exchange->on_disconnect([&] { left.set_value(); });
  client.reset();
  left.get_future().wait();
  EXPECT_FALSE(exchange->write("x"));
  std::promise<void> late;  // asked for afterwards, it is told at once
  exchange->on_disconnect([&] { late.set_value(); });
  late.get_future().wait();
}

TEST(Server, AReaderThatTakesNothingIsDropped) {
  Shelf shelf;
  Running running(shelf.handler(), {.write_deadline_ms = 50, .stream_buffer_bytes_max = 32 << 20});
  Client client(running.port, 4096);
  client.send(get);
  auto exchange = shelf.take();
  std::promise<void> left;
  exchange->begin_stream(200, {});
  exchange->on_disconnect([&] { left.set_value(); });
  EXPECT_TRUE(exchange->write(std::string(16 << 20, 'x')));
  left.get_future().wait();
  EXPECT_EQ(running.server->stats().timed_out, 1);
}

TEST(Server, AStreamsBufferIsBounded) {
  Shelf shelf;
  Running running(shelf.handler(), {.stream_buffer_bytes_max = 64 * 1024});
  Client client(running.port, 4096);
  client.send(get);
  auto exchange = shelf.take();
  std::promise<void> left;
  exchange->begin_stream(200, {});
  exchange->on_disconnect([&] { left.set_value(); });
  int64_t written = 0;
  while (exchange->write(std::string(16 * 1024, 'x')) && written < (64 << 20)) {
    written += 16 * 1024;
    running.settle();
  }
  EXPECT_LT(written, 8 << 20);  // 64 KiB here, the rest in the kernel's two buffers
  left.get_future().wait();
  EXPECT_EQ(running.server->stats().overflowed, 1);
}

TEST(Server, OneLargeWriteIsTakenWhereNothingWaits) {
  Shelf shelf;
  Running running(shelf.handler(), {.stream_buffer_bytes_max = 64 * 1024});
  Client client(running.port);
  client.send(get);
  auto exchange = shelf.take();
  exchange->begin_stream(200, {});
  EXPECT_TRUE(exchange->write(std::string(1 << 20, 'x') + ";"));
  const std::string got = client.until(";");
  EXPECT_EQ(std::count(got.begin(), got.end(), 'x'), 1 << 20);
  exchange->end_stream();
}

TEST(Server, OnlyWhoIsVouchedForMaySendALargeBody) {
  const ServerLimits limits{.body_bytes_max = 1000, .large_body_bytes_max = 100'000};
  Running running(echo, limits, {}, [](const Request& head) {
    return head.path == "/pictures" && head.header("x-key") == "right";
  });
  const auto status = [&](const std::string& path, const std::string& key, const std::string& body,
                          bool chunked) {
    Client client(running.port);
    std::string text = "POST " + path + " HTTP/1.1\r\nHost: x\r\nX-Key: " + key + "\r\n";
    text += chunked ? "Transfer-Encoding: chunked\r\n\r\n" +
                          fmt::format("{:x}\r\n{}\r\n0\r\n\r\n", body.size(), body)
                    : fmt::format("Content-Length: {}\r\n\r\n{}", body.size(), body);
    client.send(text);
    return client.until("\r\n").substr(9, 3);
  };
  for (const bool chunked : {false, true}) {
    EXPECT_EQ(status("/pictures", "right", std::string(90'000, 'x'), chunked), "200");
    EXPECT_EQ(status("/pictures", "right", std::string(100'001, 'x'), chunked), "413");
    EXPECT_EQ(status("/pictures", "wrong", std::string(1'001, 'x'), chunked), "413");
    EXPECT_EQ(status("/other", "right", std::string(1'001, 'x'), chunked), "413");
    EXPECT_EQ(status("/other", "wrong", std::string(1'000, 'x'), chunked), "200");
  }
}

TEST(Server, AStalledReaderDelaysNobody) {
  Shelf shelf;
  Running running(shelf.handler());
  Client stalled(running.port, 4096), lively(running.port);
  stalled.send(get);
  auto to_stalled = shelf.take();
  to_stalled->begin_stream(200, {});
  lively.send(get);
  auto to_lively = shelf.take();
  to_lively->begin_stream(200, {});
  bool stalled_open = true;
  for (int i = 0; i < 200; ++i) {
    stalled_open = stalled_open && to_stalled->write(std::string(60'000, 'x'));
    ASSERT_TRUE(to_lively->write("tick" + std::to_string(i) + ";"));
    ASSERT_NE(lively.until(std::to_string(i) + ";").find("tick"), std::string::npos);
  }
  EXPECT_FALSE(stalled_open);
}

TEST(Server, AFullHouseGivesUpTheSlowestHeader) {
  Running running(echo, {.connections_max = 10, .connections_per_prefix_max = 8});
  std::vector<std::unique_ptr<Client>> slow;
  for (int i = 0; i < 8; ++i) {
    slow.push_back(std::make_unique<Client>(running.port));
    slow.back()->send("GET / HTTP");
  }
  Client member(running.port);
  EXPECT_NE(member.send(get).until("GET / ").find("200 OK"), std::string::npos);
  EXPECT_EQ(slow[0]->to_end(), "");
  EXPECT_EQ(running.server->stats().evicted, 1);
  EXPECT_EQ(running.server->stats().open, 8);
}

TEST(Server, WhenAllAreBeingAnsweredNewcomersAreToldSo) {
  Shelf shelf;
  Running running(shelf.handler(), {.connections_per_prefix_max = 2});
  Client one(running.port), two(running.port);
  one.send(get);
  two.send(get);
  auto first = shelf.take(), second = shelf.take();
  Client three(running.port);
  const std::string answer = three.to_end();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 ")) << answer;
  EXPECT_NE(answer.find("retry-after: "), std::string::npos);
  first->respond({200, {}, "1"});
  second->respond({200, {}, "2"});
  EXPECT_NE(one.until("\r\n\r\n1").find("200 OK"), std::string::npos);
}

TEST(Server, FaultsAndRefusalsHaveTheFormThatTheCallerGives) {
  Shelf shelf;
  const FaultForm form = [](int status, std::string_view reason) {
    return Response{status, {{"content-type", "text/x-form"}}, "<" + std::string(reason) + ">", {}};
  };
  Running running(shelf.handler(), {.body_bytes_max = 1000, .connections_per_prefix_max = 1}, form);
  Client one(running.port);
  one.send(get);
  auto first = shelf.take();
  Client two(running.port);
  const std::string full = two.to_end();
  EXPECT_TRUE(full.starts_with("HTTP/1.1 503 ")) << full;
  EXPECT_NE(full.find("text/x-form"), std::string::npos) << full;
  EXPECT_TRUE(full.ends_with("<Too many connections are open.>")) << full;
  first->respond({200, {}, "1", {}});
  one.until("\r\n\r\n1");
  one.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4000\r\n\r\n");
  const std::string large = one.to_end();
  EXPECT_TRUE(large.starts_with("HTTP/1.1 413 ")) << large;
  EXPECT_TRUE(large.ends_with("<The body is larger than this server takes.>")) << large;
}

TEST(Server, UnfinishedBodiesShareABudget) {
  Running running(echo, {.body_bytes_max = 1 << 20, .body_bytes_total_max = 300'000});
  const std::string head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n";
  Client hog(running.port);
  hog.send(head + std::string(350'000, 'x'));
  Client second(running.port);
  second.send(head + std::string(350'000, 'x'));
  hog.to_end();  // the older one is given up
  Client small(running.port);
  small.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
  EXPECT_NE(small.until("POST / hello").find("200 OK"), std::string::npos);
}

TEST(Server, StaticBodiesAreSentWhole) {
  const std::string file(3'000'000, 'f');
  Running running(
      [&file](std::shared_ptr<Exchange> exchange) { exchange->respond({.static_body = file}); });
  Client client(running.port);
  const std::string answer = client.send(get_close).to_end();
  EXPECT_EQ(answer.size() - answer.find("\r\n\r\n") - 4, file.size());
}

TEST(Server, StopEndsStreamsAndReturns) {
  Shelf shelf;
  auto running = std::make_unique<Running>(shelf.handler());
  Client idle(running->port), streaming(running->port);
  streaming.send(get);
  auto exchange = shelf.take();
  std::promise<void> left;
  exchange->on_disconnect([&] { left.set_value(); });
  exchange->begin_stream(200, {});
  exchange->write("part");
  std::thread reader([&] {
    EXPECT_TRUE(streaming.to_end().ends_with("part\r\n"));
    EXPECT_EQ(idle.to_end(), "");
  });
  running->stop();
  left.get_future().wait();
  reader.join();
  running.reset();
  EXPECT_FALSE(exchange->write("after the server is gone"));
}

TEST(Server, AWaitingConnectionIsSmall) {
  const auto resident_kib = [] {
    std::FILE* file = std::fopen("/proc/self/statm", "r");
    long size = 0, resident = 0;
    EXPECT_EQ(std::fscanf(file, "%ld %ld", &size, &resident), 2);
    std::fclose(file);
    return resident * 4;
  };
  Running running(echo);
  std::vector<std::unique_ptr<Client>> clients;
  const auto connect = [&](int count) {
    for (int i = 0; i < count; ++i) {
      clients.push_back(std::make_unique<Client>(running.port));
      clients.back()->send("GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ");
    }
    Client(running.port).send(get_close).to_end();
  };
  connect(50);
  const long before = resident_kib();
  connect(400);
  // Sanitizers pad and shadow every allocation.
  const long each_kib_max = base::sanitized ? 64 : 4;
  EXPECT_LE((resident_kib() - before) / 400, each_kib_max);
}

TEST(Listener, OnlyLoopback) {
  for (const char* host : {"0.0.0.0", "::", "10.0.0.1", "192.168.1.5", "::ffff:127.0.0.1"}) {
    const auto refused = open_listener(host, 0);
    ASSERT_FALSE(refused.has_value()) << host;
    EXPECT_EQ(refused.error().kind, base::ErrorKind::unsupported);
    EXPECT_NE(refused.error().why.find("TLS"), std::string::npos);
  }
  EXPECT_FALSE(open_listener("example.com", 0).has_value());
  EXPECT_FALSE(open_listener("127.0.0.1", 70000).has_value());
  const auto one = open_listener("localhost", 0);
  ASSERT_TRUE(one.has_value());
  const auto taken = open_listener("127.0.0.1", *listener_port(*one));
  ASSERT_FALSE(taken.has_value());
  EXPECT_NE(taken.error().why.find("another program"), std::string::npos);
  ::close(*one);
}

}  // namespace
}  // namespace net
