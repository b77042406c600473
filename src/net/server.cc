// The listener, the deadlines and the table of connections around the event loop.
#include "net/server.h"

#include <algorithm>
#include <cerrno>
#include <malloc.h>
#include <map>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>
#include <unordered_map>

#include "base/check.h"
#include "net/address.h"
#include "net/connection.h"
#include "net/loop.h"
#include "net/response_head.h"

namespace net {
namespace {

constexpr int kernel_unsent_bytes_max = 128 * 1024;  // TCP_NOTSENT_LOWAT: what the kernel holds
constexpr int accept_turn_max = 64;
constexpr int accept_pause_ms = 50;  // descriptors ran out and nobody can go
constexpr int crowd_least = 128;
constexpr int trim_delay_ms = 500;  // what the last of them held is freed by then
constexpr int stop_grace_ms = 2'000;

class ServerImpl final : public Server, public ConnectionHost {
 public:
  ServerImpl(int listener, ServerLimits limits, Handler handler, FaultForm fault_form,
             LargeBody large_body);
  ~ServerImpl() override;

  bool start();  // false: the listener cannot be watched
  void run() override;
  void stop() override;
  void post(std::function<void()> callback) override;
  void after_ms(int64_t delay_ms, std::function<void()> callback) override;
  ServerStats stats() const override;

  // What connections ask of their host.
  void set_deadline(Connection& connection, int64_t at_ms) override;
  bool reserve_body(uint64_t id, int64_t bytes) override;
  void release_body(int64_t bytes) override { body_bytes_total_ -= bytes; }
  void forget(uint64_t id) override;

 private:
  const std::string& full_answer();
  void wait_accept();
  void accept_turn();
  void admit(int fd, const PeerAddress& peer);
  bool evict(std::optional<uint64_t> id);
  void arm();
  void on_timer();
  void begin_stop();
  void end_if_stopped();
  void trim_after_a_crowd();

  std::unique_ptr<Watch> listener_;
  std::unique_ptr<Timer> timer_, stop_timer_, accept_timer_, trim_timer_;
  std::string full_answer_;
  int64_t full_answer_unix_s_ = 0;  // when that was made
  int64_t armed_ms_ = 0;
  std::multimap<int64_t, Connection*> deadlines_;
  std::unordered_map<uint64_t, std::shared_ptr<Connection>> connections_;
  uint64_t next_id_ = 1;
  int64_t body_bytes_total_ = 0;
  std::atomic<int> open_{0};
  int peak_open_ = 0;  // since the last trim
};

// ---- the server --------------------------------------------------------------------------------

ServerImpl::ServerImpl(int listener, ServerLimits limits, Handler handler, FaultForm fault_form,
                       LargeBody large_body)
    : ConnectionHost(limits, std::move(handler), std::move(fault_form), std::move(large_body)),
      listener_(loop->watch(listener)),
      timer_(loop->timer()),
      stop_timer_(loop->timer()),
      accept_timer_(loop->timer()),
      trim_timer_(loop->timer()) {}

// Made once a second, for its date: a flood asks for it thousands of times.
const std::string& ServerImpl::full_answer() {
  const int64_t now_s = clock.wall_unix_ms() / 1000;
  if (full_answer_.empty() || full_answer_unix_s_ != now_s) {
    const Response answer = fault_answer(503, "Too many connections are open.");
    HeadForm form{.keep_alive = false, .content_length = static_cast<int64_t>(answer.body.size())};
    full_answer_ = response_head(answer.status, answer.headers, form, now_s) + answer.body;
    full_answer_unix_s_ = now_s;
  }
  return full_answer_;
}

bool ServerImpl::start() {
  if (listener_) wait_accept();
  return listener_ != nullptr;
}

ServerImpl::~ServerImpl() {
  while (!connections_.empty()) connections_.begin()->second->evict();
}

void ServerImpl::run() { loop->run(); }

void ServerImpl::stop() {
  loop->post([this] { begin_stop(); });
}

void ServerImpl::post(std::function<void()> callback) { loop->post(std::move(callback)); }

void ServerImpl::after_ms(int64_t delay_ms, std::function<void()> callback) {
  // The timer lives in its own callback, which the loop holds until it is due.
  std::shared_ptr<Timer> timer = loop->timer();
  timer->after_ms(delay_ms, [timer, callback = std::move(callback)] { callback(); });
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
  listener_->on_readable([this] {
    if (!stopping) accept_turn();
  });
}

void ServerImpl::accept_turn() {
  for (int i = 0; i < accept_turn_max; ++i) {
    sockaddr_storage address{};
    socklen_t size = sizeof(address);
    const int fd = ::accept4(listener_->fd(), reinterpret_cast<sockaddr*>(&address), &size,
                             SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      admit(fd, peer_address(address));
      continue;
    }
    if (errno == EAGAIN) break;
    const bool exhausted =
        errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
    if (!exhausted || evict(table.victim())) continue;
    return accept_timer_->after_ms(accept_pause_ms, [this] {
      if (!stopping) wait_accept();
    });
  }
  wait_accept();
}

void ServerImpl::admit(int fd, const PeerAddress& peer) {
  const auto decision = table.arrive(peer.prefix);
  if (!decision.admit) {
    ++refused;
    const std::string& answer = full_answer();
    (void)!::send(fd, answer.data(), answer.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    ::close(fd);
    return;
  }
  evict(decision.evict);
  const int one = 1;
  const unsigned give_up_ms = static_cast<unsigned>(limits.write_deadline_ms);
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  ::setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &kernel_unsent_bytes_max, sizeof(int));
  ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &give_up_ms, sizeof(give_up_ms));
  ++accepted;
  const uint64_t id = next_id_++;
  auto socket = loop->watch(fd);
  if (!socket) return;
  auto connection = std::make_shared<Connection>(*this, std::move(socket), id, peer.text);
  table.enter(id, peer.prefix);
  connections_.emplace(id, connection);
  peak_open_ = std::max(peak_open_, ++open_);
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
  table.leave(id);
  connections_.erase(id);
  --open_;
  trim_after_a_crowd();
  if (stopping) end_if_stopped();
}

// What a crowd took lies in the allocator's free lists between what is still in use; only asking
// gives it back to the machine. Once a crowd, when three quarters have left.
void ServerImpl::trim_after_a_crowd() {
  if (peak_open_ < crowd_least || open_ > peak_open_ / 4) return;
  peak_open_ = open_;
  trim_timer_->after_ms(trim_delay_ms, [] { ::malloc_trim(0); });
}

bool ServerImpl::reserve_body(uint64_t id, int64_t bytes) {
  while (body_bytes_total_ + bytes > limits.body_bytes_total_max) {
    const auto oldest = table.oldest_body();
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
  const int64_t delay = std::max<int64_t>(0, first - clock.monotonic_ms());
  timer_->after_ms(delay + 1, [this] { on_timer(); });
}

void ServerImpl::on_timer() {
  armed_ms_ = 0;
  const int64_t now = clock.monotonic_ms();
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const auto connection = deadlines_.begin()->second->shared_from_this();
    set_deadline(*connection, 0);
    connection->on_deadline();
  }
  arm();
}

void ServerImpl::begin_stop() {
  if (stopping) return;
  stopping = true;
  listener_->close();
  std::vector<std::shared_ptr<Connection>> all;
  for (const auto& [id, connection] : connections_) all.push_back(connection);
  for (const auto& connection : all) connection->on_stop();
  stop_timer_->after_ms(stop_grace_ms, [this] { loop->stop(); });
  end_if_stopped();
}

void ServerImpl::end_if_stopped() {
  if (connections_.empty()) loop->stop();
}

}  // namespace

base::Result<std::unique_ptr<Server>> make_server(int listener, ServerLimits limits,
                                                  Handler handler, FaultForm fault_form,
                                                  LargeBody large_body) {
  auto server = std::make_unique<ServerImpl>(listener, limits, std::move(handler),
                                             std::move(fault_form), std::move(large_body));
  if (!server->start()) {
    return base::fail(base::ErrorKind::io, "the event loop cannot start",
                      "the kernel refuses to watch the listening socket");
  }
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace net
