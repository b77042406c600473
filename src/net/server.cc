// The event loop and its connections. Asio waits for descriptors and timers; the bytes are moved by
// recv and send directly, through one scratch buffer, so a connection that waits owns no buffer.
//
//   header --whole head--> body --whole body--> busy --answer out--> header (keep-alive)
//      \________________________ refused __________________\_______> linger --> closed
//
// Every state but busy has an absolute deadline; busy is the handler's time, and gets one as soon
// as the client stops taking bytes.
#include "net/server.h"

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <fmt/format.h>
#include <map>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>
#include <unordered_map>

#include "base/check.h"
#include "net/address.h"
#include "net/connection_table.h"
#include "net/exchange.h"
#include "net/http_parser.h"
#include "net/response_head.h"

namespace net {
namespace {

namespace asio = boost::asio;
using Context = std::shared_ptr<asio::io_context>;
using ErrorCode = boost::system::error_code;
using Descriptor = asio::posix::stream_descriptor;

constexpr size_t scratch_bytes = 64 * 1024;
constexpr size_t kept_capacity_bytes_max = 1024;     // buffers above are given back when empty
constexpr int64_t body_free_bytes = 64 * 1024;       // of each body; only the rest is budgeted
constexpr size_t write_turn_bytes_max = 512 * 1024;  // then others have their turn
constexpr int kernel_unsent_bytes_max = 128 * 1024;  // TCP_NOTSENT_LOWAT: what the kernel holds
constexpr int accept_turn_max = 64;
constexpr int accept_pause_ms = 50;                 // descriptors ran out and nobody can go
constexpr int linger_ms = 1'000;                    // for a client to read why it was refused
constexpr size_t discarded_bytes_max = 256 * 1024;  // of what is read and not wanted
constexpr int stop_linger_ms = 100;
constexpr int stop_grace_ms = 2'000;
constexpr std::string_view refused_full =
    "HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\nx-should-retry: false\r\n"
    "content-length: 0\r\nconnection: close\r\n\r\n";

class Connection;

class ServerImpl final : public Server {
 public:
  ServerImpl(int listener, ServerLimits limits, Handler handler);
  ~ServerImpl() override;

  void run() override;
  void stop() override;
  void post(std::function<void()> callback) override;
  void after_ms(int64_t delay_ms, std::function<void()> callback) override;
  ServerStats stats() const override;

  // ---- what connections use (loop thread) ----
  const ServerLimits& limits() const { return limits_; }
  const Handler& handler() const { return handler_; }
  const Context& context() const { return context_; }
  const base::Clock& clock() const { return clock_; }
  ConnectionTable& table() { return table_; }
  char* scratch() { return scratch_.get(); }
  bool stopping() const { return stopping_; }
  void set_deadline(Connection& connection, int64_t at_ms);  // 0: none
  // Room for `bytes` more of unfinished bodies, giving up others' if need be, never `id`'s.
  bool reserve_body(uint64_t id, int64_t bytes);
  void release_body(int64_t bytes) { body_bytes_total_ -= bytes; }
  void forget(uint64_t id);

  std::atomic<int64_t> accepted{0}, refused{0}, timed_out{0}, malformed{0}, requests{0};
  std::atomic<int64_t> evicted{0}, overflowed{0};

 private:
  void wait_accept();
  void accept_turn();
  void admit(int fd, const PeerAddress& peer);
  bool evict(std::optional<uint64_t> id);
  void arm();
  void on_timer();
  void begin_stop();
  void end_if_stopped();

  ServerLimits limits_;
  Handler handler_;
  base::SystemClock clock_;
  Context context_;
  asio::executor_work_guard<asio::io_context::executor_type> guard_;
  Descriptor listener_;
  asio::steady_timer timer_, stop_timer_, accept_timer_;
  int64_t armed_ms_ = 0;
  std::multimap<int64_t, Connection*> deadlines_;
  std::unordered_map<uint64_t, std::shared_ptr<Connection>> connections_;
  ConnectionTable table_;
  std::unique_ptr<char[]> scratch_;
  uint64_t next_id_ = 1;
  int64_t body_bytes_total_ = 0;
  std::atomic<int> open_{0};
  bool stopping_ = false;
};

class Connection final : public std::enable_shared_from_this<Connection> {
 public:
  Connection(ServerImpl& server, int fd, uint64_t id, const PeerAddress& peer)
      : server_(server), socket_(*server.context(), fd), id_(id), peer_(peer.text) {}

  void start();
  void on_deadline();
  void evict();
  void on_stop();

  // The server's own bookkeeping of the deadline.
  std::multimap<int64_t, Connection*>::iterator deadline_entry;
  bool has_deadline = false;

 private:
  enum class State : uint8_t { header, body, busy, linger, closed };

  void wait_readable();
  void on_readable();
  void received(std::string_view bytes);
  void process();
  bool read_head();  // false: wait for more, or refused
  bool read_body();
  void begin_body(RequestHead head);
  void dispatch();
  void refuse(const HttpFault& fault, std::atomic<int64_t>& counter);
  void look();
  void put_head();
  bool refill();  // false: nothing to send now
  void flush();
  void blocked();
  void sent(size_t bytes);
  void finish();
  void linger();
  void close(bool reset);
  int64_t now_ms() const { return server_.clock().monotonic_ms(); }
  int64_t body_deadline_ms() const;
  int64_t write_deadline_ms() const;
  size_t out_size() const { return out_.size() + (shared_out_ ? shared_out_->size() : 0); }

  ServerImpl& server_;
  Descriptor socket_;
  const uint64_t id_;
  State state_ = State::header;
  bool reading_ = false;      // a wait for bytes is under way
  bool write_waits_ = false;  // a wait for room is under way
  bool in_request_ = false;   // the first byte of a header has come
  bool skipped_empty_line_ = false;
  bool served_one_ = false;
  bool keep_alive_ = true;
  bool pipelined_too_much_ = false;
  bool head_put_ = false;
  bool chunked_out_ = false;
  bool tail_put_ = false;  // nothing follows what is in out_
  bool reset_at_end_ = false;
  std::string peer_;
  std::string in_;  // bytes received and not yet understood
  HeadScan scan_;
  std::unique_ptr<RequestHead> head_;
  BodyDecoder decoder_;
  int64_t since_ms_ = 0;  // when this header, body or backlog began
  int64_t body_reserved_ = 0;
  std::shared_ptr<Outbox> outbox_;
  std::string out_;  // then shared_out_: what goes out now
  std::shared_ptr<const std::string> shared_out_;
  size_t out_sent_ = 0;
  bool backlogged_ = false;
  int64_t progress_ms_ = 0, backlog_sent_ = 0, discarded_ = 0;
};

// ---- reading -----------------------------------------------------------------------------------

void Connection::start() {
  since_ms_ = now_ms();
  server_.set_deadline(*this, since_ms_ + server_.limits().header_deadline_ms);
  wait_readable();
}

void Connection::wait_readable() {
  if (reading_ || state_ == State::closed) return;
  reading_ = true;
  auto on_ready = [self = shared_from_this()](const ErrorCode& error) {
    self->reading_ = false;
    if (!error) self->on_readable();
  };
  socket_.async_wait(Descriptor::wait_read, std::move(on_ready));
}

void Connection::on_readable() {
  if (state_ == State::closed) return;
  const ssize_t got =
      ::recv(socket_.native_handle(), server_.scratch(), scratch_bytes, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return wait_readable();
  if (got <= 0) return close(false);
  received(std::string_view(server_.scratch(), static_cast<size_t>(got)));
  wait_readable();
}

void Connection::received(std::string_view bytes) {
  if (state_ == State::linger) {
    discarded_ += static_cast<int64_t>(bytes.size());
    if (discarded_ > static_cast<int64_t>(discarded_bytes_max)) close(true);
    return;
  }
  if (state_ != State::busy) {
    in_.append(bytes);
    return process();
  }
  // The next request came before this answer is out. Little of it is kept until then; a client
  // that sends more is told so by the end of the connection.
  if (in_.size() + bytes.size() > static_cast<size_t>(server_.limits().header_bytes_max)) {
    pipelined_too_much_ = true;
  }
  if (!pipelined_too_much_) return void(in_.append(bytes));
  in_ = std::string();
  discarded_ += static_cast<int64_t>(bytes.size());
  if (discarded_ > static_cast<int64_t>(discarded_bytes_max)) close(true);
}

void Connection::process() {
  if (state_ == State::header && !read_head()) return;
  if (state_ == State::body && read_body()) dispatch();
}

bool Connection::read_head() {
  if (!in_request_ && !skipped_empty_line_ && in_.starts_with("\r\n")) {
    in_.erase(0, 2);  // RFC 9112 2.2: old clients end a body with one
    skipped_empty_line_ = true;
  }
  if (in_.empty() || (!skipped_empty_line_ && in_ == "\r")) return false;
  if (!in_request_) {
    in_request_ = true;
    if (served_one_) {  // the first header's time runs from the accept
      since_ms_ = now_ms();
      server_.set_deadline(*this, since_ms_ + server_.limits().header_deadline_ms);
      server_.table().move(id_, ConnectionTable::Phase::header);
    }
  }
  const auto size = scan_.scan(in_, server_.limits());
  if (!size) return refuse(size.error(), server_.malformed), false;
  if (!*size) return false;
  auto head = parse_head(std::string_view(in_).substr(0, **size), server_.limits());
  if (!head) return refuse(head.error(), server_.malformed), false;
  in_.erase(0, **size);
  begin_body(std::move(*head));
  return state_ == State::body;
}

void Connection::begin_body(RequestHead head) {
  head_ = std::make_unique<RequestHead>(std::move(head));
  keep_alive_ = head_->keep_alive;
  decoder_ = head_->chunked ? BodyDecoder::chunked(server_.limits().body_bytes_max)
                            : BodyDecoder::counted(head_->content_length);
  state_ = State::body;
  since_ms_ = now_ms();
  if (decoder_.done()) return;
  server_.table().move(id_, ConnectionTable::Phase::body);
  server_.set_deadline(*this, body_deadline_ms());
  if (!head_->expects_continue || !in_.empty()) return;
  constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
  // The send buffer is empty here: either all of it goes out, or the client is away.
  if (::send(socket_.native_handle(), go_on.data(), go_on.size(), MSG_DONTWAIT | MSG_NOSIGNAL) !=
      static_cast<ssize_t>(go_on.size())) {
    close(true);
  }
}

bool Connection::read_body() {
  std::string& body = head_->request.body;
  const auto used = decoder_.feed(in_, body);
  if (!used) return refuse(used.error(), server_.malformed), false;
  in_.erase(0, *used);
  if (in_.empty() && in_.capacity() > kept_capacity_bytes_max) in_ = std::string();
  const int64_t budgeted =
      std::max<int64_t>(0, static_cast<int64_t>(body.size()) - body_free_bytes) - body_reserved_;
  if (budgeted > 0) {
    if (!server_.reserve_body(id_, budgeted)) {
      return refuse({503, "Too many large requests are under way."}, server_.refused), false;
    }
    body_reserved_ += budgeted;
  }
  return decoder_.done();
}

int64_t Connection::body_deadline_ms() const {
  const auto& limits = server_.limits();
  const int64_t got = head_ ? static_cast<int64_t>(head_->request.body.size()) : 0;
  return since_ms_ + limits.body_grace_ms + got * 1000 / limits.body_rate_bytes_per_s_min;
}

void Connection::dispatch() {
  state_ = State::busy;
  served_one_ = true;
  server_.set_deadline(*this, 0);
  server_.table().move(id_, ConnectionTable::Phase::busy);
  ++server_.requests;
  outbox_ = std::make_shared<Outbox>();
  // Both may outlive the server, in an answer that somebody still holds.
  const std::weak_ptr<asio::io_context> weak_context = server_.context();
  outbox_->wake = [weak_context, weak = weak_from_this()] {
    auto look = [weak] {
      if (const auto self = weak.lock()) self->look();
    };
    if (const auto context = weak_context.lock()) asio::post(*context, std::move(look));
  };
  auto post = [weak_context](std::function<void()> callback) {
    if (const auto context = weak_context.lock()) asio::post(*context, std::move(callback));
  };
  Request request = std::move(head_->request);
  request.peer = peer_;
  // The method and version are still needed for the answer's form.
  head_->request = Request{.method = request.method};
  auto exchange =
      make_exchange(outbox_, std::move(request),
                    static_cast<size_t>(server_.limits().stream_buffer_bytes_max), std::move(post));
  try {
    server_.handler()(std::move(exchange));
  } catch (const std::exception&) {
    // The exchange is gone by now, and has answered with a 500 or cut its stream.
  }
}

void Connection::refuse(const HttpFault& fault, std::atomic<int64_t>& counter) {
  ++counter;
  state_ = State::busy;
  keep_alive_ = false;
  server_.set_deadline(*this, 0);
  server_.table().move(id_, ConnectionTable::Phase::busy);
  Headers headers = {{"content-type", "text/plain; charset=utf-8"}, {"cache-control", "no-store"}};
  if (fault.status == 503) headers.emplace_back("retry-after", "2");
  const std::string body = std::string(fault.reason) + "\n";
  HeadForm form{.keep_alive = false, .content_length = static_cast<int64_t>(body.size())};
  out_ = response_head(fault.status, headers, form, server_.clock().wall_unix_ms() / 1000) + body;
  head_put_ = tail_put_ = true;
  in_ = std::string();
  flush();
}

// ---- answering ---------------------------------------------------------------------------------

void Connection::look() {
  if (state_ != State::busy || !outbox_) return;
  bool overflowed = false;
  {
    const std::scoped_lock lock(outbox_->mutex);
    outbox_->wake_posted = false;
    overflowed = outbox_->overflowed;
  }
  if (overflowed) {
    ++server_.overflowed;
    return close(true);
  }
  if (!head_put_) put_head();
  flush();
}

void Connection::put_head() {
  Response response;
  bool is_stream = false;
  {
    const std::scoped_lock lock(outbox_->mutex);
    if (!outbox_->begun) return;
    response = std::move(outbox_->response);
    is_stream = outbox_->is_stream;
  }
  const bool is_head = head_->request.method == "HEAD";
  if (response.status < 200 || response.status > 599) response.status = 500;
  if (pipelined_too_much_ || server_.stopping() || asks_to_close(response.headers)) {
    keep_alive_ = false;
  }
  HeadForm form{.version_minor = head_->version_minor};
  if (is_stream) {
    chunked_out_ = form.chunked = head_->version_minor == 1 && has_body(response.status);
    if (!form.chunked && has_body(response.status)) keep_alive_ = false;
    if (is_head || !has_body(response.status)) tail_put_ = true;
  } else {
    const size_t size = response.shared_body ? response.shared_body->size() : response.body.size();
    form.content_length = static_cast<int64_t>(size);
    tail_put_ = true;
  }
  form.keep_alive = keep_alive_;
  out_ =
      response_head(response.status, response.headers, form, server_.clock().wall_unix_ms() / 1000);
  head_put_ = true;
  if (is_stream || is_head || !has_body(response.status)) return;
  if (response.shared_body) {
    shared_out_ = std::move(response.shared_body);
  } else {
    out_ += response.body;
  }
}

bool Connection::refill() {
  if (tail_put_ || !outbox_) return false;
  const std::scoped_lock lock(outbox_->mutex);
  if (!outbox_->pending.empty()) {
    if (chunked_out_) {
      out_ = fmt::format("{:x}\r\n", outbox_->pending.size());
      out_.append(outbox_->pending).append("\r\n");
      outbox_->pending.clear();
    } else {
      out_ = std::move(outbox_->pending);
      outbox_->pending = std::string();
    }
  }
  if (outbox_->ended) {
    tail_put_ = true;
    // A cut stream must not look like a whole one: chunked, it lacks its last chunk; otherwise only
    // a reset can say so.
    if (outbox_->aborted) keep_alive_ = false;
    reset_at_end_ = outbox_->aborted && !chunked_out_;
    if (chunked_out_ && !outbox_->aborted) out_ += "0\r\n\r\n";
  }
  outbox_->taken_unsent = out_.size();
  return !out_.empty();
}

void Connection::flush() {
  if (write_waits_ || state_ != State::busy || !head_put_) return;
  size_t turn = 0;
  while (out_sent_ < out_size() || refill()) {
    const bool in_first = out_sent_ < out_.size();
    const std::string_view part =
        in_first ? std::string_view(out_).substr(out_sent_)
                 : std::string_view(*shared_out_).substr(out_sent_ - out_.size());
    const ssize_t took = ::send(socket_.native_handle(), part.data(),
                                std::min(part.size(), scratch_bytes), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (took < 0 && errno == EINTR) continue;
    if (took < 0 && errno == EAGAIN) return blocked();
    if (took < 0) return close(false);
    sent(static_cast<size_t>(took));
    turn += static_cast<size_t>(took);
    if (turn >= write_turn_bytes_max) {
      auto go_on = [weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->flush();
      };
      return asio::post(*server_.context(), std::move(go_on));
    }
  }
  if (backlogged_) {
    backlogged_ = false;
    server_.set_deadline(*this, 0);
    server_.table().move(id_, ConnectionTable::Phase::busy);
  }
  if (tail_put_) finish();
}

void Connection::sent(size_t bytes) {
  out_sent_ += bytes;
  if (backlogged_) {
    backlog_sent_ += static_cast<int64_t>(bytes);
    progress_ms_ = now_ms();
  }
  if (out_sent_ < out_size()) return;
  out_sent_ = 0;
  out_.clear();
  if (out_.capacity() > kept_capacity_bytes_max) out_ = std::string();
  shared_out_.reset();
  if (!outbox_) return;
  const std::scoped_lock lock(outbox_->mutex);
  outbox_->taken_unsent = 0;
}

void Connection::blocked() {
  if (!backlogged_) {
    backlogged_ = true;
    since_ms_ = progress_ms_ = now_ms();
    backlog_sent_ = 0;
    server_.table().move(id_, ConnectionTable::Phase::blocked);
  }
  server_.set_deadline(*this, write_deadline_ms());
  write_waits_ = true;
  auto on_ready = [self = shared_from_this()](const ErrorCode& error) {
    self->write_waits_ = false;
    if (!error) self->flush();
  };
  socket_.async_wait(Descriptor::wait_write, std::move(on_ready));
}

// Two bounds: something must be taken within the write deadline, and over the whole backlog at
// least the minimum rate, so a byte now and then does not hold the answer's memory.
int64_t Connection::write_deadline_ms() const {
  const auto& limits = server_.limits();
  const int64_t by_rate = since_ms_ + backlog_sent_ * 1000 / limits.body_rate_bytes_per_s_min;
  return std::min(progress_ms_, by_rate) + limits.write_deadline_ms;
}

void Connection::finish() {
  server_.release_body(std::exchange(body_reserved_, 0));
  if (const auto outbox = std::exchange(outbox_, nullptr)) {
    // The head is all that a HEAD request gets: whoever still writes is told to stop.
    const bool done = head_->request.method != "HEAD";
    done ? outbox->finished() : outbox->client_gone();
  }
  head_.reset();
  if (reset_at_end_) return close(true);
  if (!keep_alive_ || pipelined_too_much_ || server_.stopping()) return linger();
  state_ = State::header;
  in_request_ = skipped_empty_line_ = false;
  head_put_ = tail_put_ = chunked_out_ = false;
  scan_ = HeadScan();
  if (in_.empty()) in_ = std::string();
  server_.table().move(id_, ConnectionTable::Phase::idle);
  server_.set_deadline(*this, now_ms() + server_.limits().idle_keep_alive_ms);
  process();  // what was pipelined; no recursion, since answers come through the loop
}

// Closing with unread bytes would reset the connection, and the client would lose the answer that
// says why. So it gets a moment to read and hang up first.
void Connection::linger() {
  state_ = State::linger;
  in_ = std::string();
  ::shutdown(socket_.native_handle(), SHUT_WR);
  server_.table().move(id_, ConnectionTable::Phase::idle);
  server_.set_deadline(*this, now_ms() + (server_.stopping() ? stop_linger_ms : linger_ms));
  wait_readable();
}

void Connection::close(bool reset) {
  if (state_ == State::closed) return;
  state_ = State::closed;
  const auto self = shared_from_this();
  server_.set_deadline(*this, 0);
  server_.release_body(std::exchange(body_reserved_, 0));
  if (reset) {  // frees the kernel's buffers at once, and tells the client that it was cut
    const struct linger now { 1, 0 };
    ::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  }
  ErrorCode ignored;
  socket_.close(ignored);
  out_ = in_ = std::string();
  shared_out_.reset();
  server_.forget(id_);
  if (outbox_) std::exchange(outbox_, nullptr)->client_gone();
}

void Connection::on_deadline() {
  const int64_t now = now_ms();
  if (state_ == State::linger) return close(true);
  if (state_ == State::header && !in_request_) {
    if (!served_one_) ++server_.timed_out;  // connected and never said a word
    return close(false);
  }
  if (state_ == State::header) {
    return refuse({408, "The header did not arrive in time."}, server_.timed_out);
  }
  if (state_ == State::body) {
    if (body_deadline_ms() > now) return server_.set_deadline(*this, body_deadline_ms());
    return refuse({408, "The body arrives too slowly."}, server_.timed_out);
  }
  if (backlogged_) {
    if (write_deadline_ms() > now) return server_.set_deadline(*this, write_deadline_ms());
    ++server_.timed_out;
    close(true);
  }
}

void Connection::evict() {
  ++server_.evicted;
  close(true);
}

void Connection::on_stop() {
  if (state_ != State::busy) return close(false);
  keep_alive_ = false;
  bool cut = false;
  if (outbox_) {
    const std::scoped_lock lock(outbox_->mutex);
    if (outbox_->is_stream && !outbox_->ended) cut = outbox_->ended = outbox_->aborted = true;
  }
  if (!cut) return;
  std::function<void()> callback;
  {
    const std::scoped_lock lock(outbox_->mutex);
    callback.swap(outbox_->disconnected);
  }
  if (callback) callback();
  look();  // what was written before still goes out
}

// ---- the server --------------------------------------------------------------------------------

ServerImpl::ServerImpl(int listener, ServerLimits limits, Handler handler)
    : limits_(limits),
      handler_(std::move(handler)),
      context_(std::make_shared<asio::io_context>(1)),
      guard_(asio::make_work_guard(*context_)),
      listener_(*context_, listener),
      timer_(*context_),
      stop_timer_(*context_),
      accept_timer_(*context_),
      table_(limits.connections_max, limits.connections_per_prefix_max),
      scratch_(std::make_unique<char[]>(scratch_bytes)) {
  wait_accept();
}

ServerImpl::~ServerImpl() {
  while (!connections_.empty()) connections_.begin()->second->evict();
}

void ServerImpl::run() { context_->run(); }

void ServerImpl::stop() {
  asio::post(*context_, [this] { begin_stop(); });
}

void ServerImpl::post(std::function<void()> callback) {
  asio::post(*context_, std::move(callback));
}

void ServerImpl::after_ms(int64_t delay_ms, std::function<void()> callback) {
  auto timer = std::make_shared<asio::steady_timer>(*context_);
  timer->expires_after(std::chrono::milliseconds(delay_ms));
  auto on_time = [timer, callback = std::move(callback)](const ErrorCode& error) {
    if (!error) callback();
  };
  timer->async_wait(std::move(on_time));
}

ServerStats ServerImpl::stats() const {
  ServerStats out;
  out.accepted = accepted;
  out.refused_full = refused;
  out.timed_out = timed_out;
  out.malformed = malformed;
  out.requests = requests;
  out.evicted = evicted;
  out.overflowed = overflowed;
  out.open = open_;
  return out;
}

void ServerImpl::wait_accept() {
  auto on_ready = [this](const ErrorCode& error) {
    if (error || stopping_) return;
    accept_turn();
  };
  listener_.async_wait(Descriptor::wait_read, std::move(on_ready));
}

void ServerImpl::accept_turn() {
  for (int i = 0; i < accept_turn_max; ++i) {
    sockaddr_storage address{};
    socklen_t size = sizeof(address);
    const int fd = ::accept4(listener_.native_handle(), reinterpret_cast<sockaddr*>(&address),
                             &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      admit(fd, peer_address(address));
      continue;
    }
    if (errno == EAGAIN) break;
    const bool exhausted =
        errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
    if (!exhausted || evict(table_.victim())) continue;
    accept_timer_.expires_after(std::chrono::milliseconds(accept_pause_ms));
    auto again = [this](const ErrorCode& error) {
      if (!error && !stopping_) wait_accept();
    };
    return accept_timer_.async_wait(std::move(again));
  }
  wait_accept();
}

void ServerImpl::admit(int fd, const PeerAddress& peer) {
  const auto decision = table_.arrive(peer.prefix);
  if (!decision.admit) {
    ++refused;
    (void)!::send(fd, refused_full.data(), refused_full.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    ::close(fd);
    return;
  }
  evict(decision.evict);
  const int one = 1;
  const unsigned give_up_ms = static_cast<unsigned>(limits_.write_deadline_ms);
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  ::setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &kernel_unsent_bytes_max, sizeof(int));
  ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &give_up_ms, sizeof(give_up_ms));
  ++accepted;
  const uint64_t id = next_id_++;
  std::shared_ptr<Connection> connection;
  try {
    connection = std::make_shared<Connection>(*this, fd, id, peer);
  } catch (const boost::system::system_error&) {  // epoll has no room for it
    ::close(fd);
    return;
  }
  table_.enter(id, peer.prefix);
  connections_.emplace(id, connection);
  ++open_;
  connection->start();
}

bool ServerImpl::evict(std::optional<uint64_t> id) {
  if (!id) return false;
  const auto found = connections_.find(*id);
  CHECK(found != connections_.end(), "the table knows exactly the open connections");
  const auto connection = found->second;
  connection->evict();
  return true;
}

void ServerImpl::forget(uint64_t id) {
  table_.leave(id);
  connections_.erase(id);
  --open_;
  if (stopping_) end_if_stopped();
}

bool ServerImpl::reserve_body(uint64_t id, int64_t bytes) {
  while (body_bytes_total_ + bytes > limits_.body_bytes_total_max) {
    const auto oldest = table_.oldest_body();
    if (!oldest || *oldest == id || !evict(oldest)) return false;
  }
  body_bytes_total_ += bytes;
  return true;
}

void ServerImpl::set_deadline(Connection& connection, int64_t at_ms) {
  if (connection.has_deadline) {
    if (connection.deadline_entry->first == at_ms) return;
    deadlines_.erase(connection.deadline_entry);
  }
  connection.has_deadline = at_ms != 0;
  if (at_ms == 0) return;
  connection.deadline_entry = deadlines_.emplace(at_ms, &connection);
  arm();
}

// The timer is moved only to an earlier time: one that comes too early costs a look, moving it for
// every request would cost a system call each.
void ServerImpl::arm() {
  if (deadlines_.empty()) return;
  const int64_t first = deadlines_.begin()->first;
  if (armed_ms_ != 0 && armed_ms_ <= first) return;
  armed_ms_ = first;
  const int64_t delay = std::max<int64_t>(0, first - clock_.monotonic_ms());
  timer_.expires_after(std::chrono::milliseconds(delay + 1));
  auto on_time = [this](const ErrorCode& error) {
    if (!error) on_timer();
  };
  timer_.async_wait(std::move(on_time));
}

void ServerImpl::on_timer() {
  armed_ms_ = 0;
  const int64_t now = clock_.monotonic_ms();
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const auto connection = deadlines_.begin()->second->shared_from_this();
    set_deadline(*connection, 0);
    connection->on_deadline();
  }
  arm();
}

void ServerImpl::begin_stop() {
  if (stopping_) return;
  stopping_ = true;
  ErrorCode ignored;
  listener_.close(ignored);
  std::vector<std::shared_ptr<Connection>> all;
  for (const auto& [id, connection] : connections_) all.push_back(connection);
  for (const auto& connection : all) connection->on_stop();
  stop_timer_.expires_after(std::chrono::milliseconds(stop_grace_ms));
  auto on_time = [this](const ErrorCode& error) {
    if (!error) context_->stop();
  };
  stop_timer_.async_wait(std::move(on_time));
  end_if_stopped();
}

void ServerImpl::end_if_stopped() {
  if (connections_.empty()) context_->stop();
}

}  // namespace

base::Result<std::unique_ptr<Server>> make_server(int listener, ServerLimits limits,
                                                  Handler handler) {
  try {
    return std::unique_ptr<Server>(
        std::make_unique<ServerImpl>(listener, limits, std::move(handler)));
  } catch (const boost::system::system_error& error) {
    return base::fail(base::ErrorKind::io, "the event loop cannot start", error.what());
  }
}

}  // namespace net
