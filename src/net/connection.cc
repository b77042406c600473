#include "net/connection.h"

#include <algorithm>
#include <cerrno>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "net/response_head.h"

namespace net {
namespace {

constexpr size_t kept_capacity_bytes_max = 1024;     // buffers above are given back when empty
constexpr int64_t body_free_bytes = 64 * 1024;       // of each body; only the rest is budgeted
constexpr size_t write_turn_bytes_max = 512 * 1024;  // then others have their turn
constexpr int linger_ms = 1'000;                     // for a client to read why it was refused
constexpr int stop_linger_ms = 100;
constexpr size_t discarded_bytes_max = 256 * 1024;  // of what is read and not wanted

}  // namespace

// ---- reading -----------------------------------------------------------------------------------

void Connection::start() {
  since_ms_ = now_ms();
  server_.set_deadline(*this, since_ms_ + server_.limits.header_deadline_ms);
  wait_readable();
}

void Connection::wait_readable() {
  if (reading_ || state_ == State::closed) return;
  reading_ = true;
  socket_->on_readable([self = shared_from_this()] {
    self->reading_ = false;
    self->on_readable();
  });
}

void Connection::on_readable() {
  if (state_ == State::closed) return;
  const ssize_t got = ::recv(socket_->fd(), server_.scratch.get(), scratch_bytes, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return wait_readable();
  if (got <= 0) return close(false);
  received(std::string_view(server_.scratch.get(), static_cast<size_t>(got)));
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
  if (in_.size() + bytes.size() > static_cast<size_t>(server_.limits.header_bytes_max)) {
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
      server_.set_deadline(*this, since_ms_ + server_.limits.header_deadline_ms);
      server_.table.move(id_, ConnectionTable::Phase::header);
    }
  }
  const auto size = scan_.scan(in_, server_.limits);
  if (!size) return refuse(size.error(), server_.malformed), false;
  if (!*size) return false;
  ServerLimits widest = server_.limits;
  widest.body_bytes_max = std::max(widest.body_bytes_max, widest.large_body_bytes_max);
  auto head = parse_head(std::string_view(in_).substr(0, **size), widest);
  if (!head) return refuse(head.error(), server_.malformed), false;
  in_.erase(0, **size);
  const int64_t bytes_max = body_bytes_max(*head);
  if (head->content_length > bytes_max) {
    return refuse({413, "The body is larger than this server takes."}, server_.malformed), false;
  }
  begin_body(std::move(*head), bytes_max);
  return state_ == State::body;
}

// Only who may send a large body is asked about: for all others the common limit is decided without
// a look at the request.
int64_t Connection::body_bytes_max(const RequestHead& head) const {
  const ServerLimits& limits = server_.limits;
  const bool asks = head.chunked || head.content_length > limits.body_bytes_max;
  const bool large = asks && server_.large_body && server_.large_body(head.request);
  return large ? std::max(limits.large_body_bytes_max, limits.body_bytes_max)
               : limits.body_bytes_max;
}

void Connection::begin_body(RequestHead head, int64_t bytes_max) {
  head_ = std::make_unique<RequestHead>(std::move(head));
  keep_alive_ = head_->keep_alive;
  decoder_ = head_->chunked ? BodyDecoder::chunked(bytes_max)
                            : BodyDecoder::counted(head_->content_length);
  state_ = State::body;
  since_ms_ = now_ms();
  if (decoder_.done()) return;
  server_.table.move(id_, ConnectionTable::Phase::body);
  server_.set_deadline(*this, body_deadline_ms());
  if (!head_->expects_continue || !in_.empty()) return;
  constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
  // The send buffer is empty here: either all of it goes out, or the client is away.
  if (::send(socket_->fd(), go_on.data(), go_on.size(), MSG_DONTWAIT | MSG_NOSIGNAL) !=
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
  const auto& limits = server_.limits;
  const int64_t got = head_ ? static_cast<int64_t>(head_->request.body.size()) : 0;
  return since_ms_ + limits.body_grace_ms + got * 1000 / limits.body_rate_bytes_per_s_min;
}

void Connection::dispatch() {
  state_ = State::busy;
  served_one_ = true;
  server_.set_deadline(*this, 0);
  server_.table.move(id_, ConnectionTable::Phase::busy);
  ++server_.requests;
  outbox_ = std::make_shared<Outbox>();
  // Both may outlive the server, in an answer that somebody still holds.
  const std::weak_ptr<Loop> weak_loop = server_.loop;
  outbox_->wake = [weak_loop, weak = weak_from_this()] {
    const auto loop = weak_loop.lock();
    if (!loop) return;
    loop->post([weak] {
      if (const auto self = weak.lock()) self->look();
    });
  };
  auto post = [weak_loop](std::function<void()> callback) {
    if (const auto loop = weak_loop.lock()) loop->post(std::move(callback));
  };
  Request request = std::move(head_->request);
  request.peer = peer_;
  // The method and version are still needed for the answer's form.
  head_->request = Request{.method = request.method};
  auto exchange =
      make_exchange(outbox_, std::move(request),
                    static_cast<size_t>(server_.limits.stream_buffer_bytes_max), std::move(post));
  try {
    server_.handler(std::move(exchange));
  } catch (const std::exception&) {
    // The exchange is gone by now, and has answered with a 500 or cut its stream.
  }
}

Response ConnectionHost::fault_answer(int status, std::string_view reason) const {
  if (fault_form) return fault_form(status, reason);
  Response answer;
  answer.status = status;
  answer.headers = {{"content-type", "text/plain; charset=utf-8"}, {"cache-control", "no-store"}};
  if (status == 503) answer.headers.emplace_back("retry-after", "2");
  answer.body = std::string(reason) + "\n";
  return answer;
}

void Connection::refuse(const HttpFault& fault, std::atomic<int64_t>& counter) {
  ++counter;
  state_ = State::busy;
  keep_alive_ = false;
  server_.set_deadline(*this, 0);
  server_.table.move(id_, ConnectionTable::Phase::busy);
  const Response answer = server_.fault_answer(fault.status, fault.reason);
  HeadForm form{.keep_alive = false, .content_length = static_cast<int64_t>(answer.body.size())};
  out_ = response_head(answer.status, answer.headers, form, server_.clock.wall_unix_ms() / 1000) +
         answer.body;
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
  if (pipelined_too_much_ || server_.stopping || asks_to_close(response.headers)) {
    keep_alive_ = false;
  }
  HeadForm form{.version_minor = head_->version_minor};
  if (is_stream) {
    chunked_out_ = form.chunked = head_->version_minor == 1 && has_body(response.status);
    if (!form.chunked && has_body(response.status)) keep_alive_ = false;
    if (is_head || !has_body(response.status)) tail_put_ = true;
  } else {
    const size_t size =
        response.static_body.empty() ? response.body.size() : response.static_body.size();
    form.content_length = static_cast<int64_t>(size);
    tail_put_ = true;
  }
  form.keep_alive = keep_alive_;
  out_ =
      response_head(response.status, response.headers, form, server_.clock.wall_unix_ms() / 1000);
  head_put_ = true;
  if (is_stream || is_head || !has_body(response.status)) return;
  if (!response.static_body.empty()) {
    static_out_ = response.static_body;
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
    const std::string_view part = in_first ? std::string_view(out_).substr(out_sent_)
                                           : static_out_.substr(out_sent_ - out_.size());
    const ssize_t took = ::send(socket_->fd(), part.data(), std::min(part.size(), scratch_bytes),
                                MSG_DONTWAIT | MSG_NOSIGNAL);
    if (took < 0 && errno == EINTR) continue;
    if (took < 0 && errno == EAGAIN) return blocked();
    if (took < 0) return close(false);
    sent(static_cast<size_t>(took));
    turn += static_cast<size_t>(took);
    if (turn >= write_turn_bytes_max) {
      return server_.loop->post([weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->flush();
      });
    }
  }
  if (backlogged_) {
    backlogged_ = false;
    server_.set_deadline(*this, 0);
    server_.table.move(id_, ConnectionTable::Phase::busy);
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
  static_out_ = {};
  if (!outbox_) return;
  const std::scoped_lock lock(outbox_->mutex);
  outbox_->taken_unsent = 0;
}

void Connection::blocked() {
  if (!backlogged_) {
    backlogged_ = true;
    since_ms_ = progress_ms_ = now_ms();
    backlog_sent_ = 0;
    server_.table.move(id_, ConnectionTable::Phase::blocked);
  }
  server_.set_deadline(*this, write_deadline_ms());
  write_waits_ = true;
  socket_->on_writable([self = shared_from_this()] {
    self->write_waits_ = false;
    self->flush();
  });
}

// Two bounds: something must be taken within the write deadline, and over the whole backlog at
// least the minimum rate, so a byte now and then does not hold the answer's memory.
int64_t Connection::write_deadline_ms() const {
  const auto& limits = server_.limits;
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
  if (!keep_alive_ || pipelined_too_much_ || server_.stopping) return linger();
  state_ = State::header;
  in_request_ = skipped_empty_line_ = false;
  head_put_ = tail_put_ = chunked_out_ = false;
  scan_ = HeadScan();
  if (in_.empty()) in_ = std::string();
  server_.table.move(id_, ConnectionTable::Phase::idle);
  server_.set_deadline(*this, now_ms() + server_.limits.idle_keep_alive_ms);
  process();  // what was pipelined; no recursion, since answers come through the loop
}

// Closing with unread bytes would reset the connection, and the client would lose the answer that
// says why. So it gets a moment to read and hang up first.
void Connection::linger() {
  state_ = State::linger;
  in_ = std::string();
  ::shutdown(socket_->fd(), SHUT_WR);
  server_.table.move(id_, ConnectionTable::Phase::idle);
  server_.set_deadline(*this, now_ms() + (server_.stopping ? stop_linger_ms : linger_ms));
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
    ::setsockopt(socket_->fd(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  }
  socket_->close();
  out_ = in_ = std::string();
  static_out_ = {};
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

}  // namespace net
