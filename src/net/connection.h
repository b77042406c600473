// One client: from its first byte to its last. Bytes are moved by recv and send directly, through
// the host's one scratch buffer, so a connection that waits owns no buffer.
//
//   header --whole head--> body --whole body--> busy --answer out--> header (keep-alive)
//      \________________________ refused __________________\_______> linger --> closed
//
// Every state but busy has an absolute deadline; busy is the handler's time, and gets one as soon
// as the client stops taking bytes. Threads: the loop's only.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/clock.h"
#include "net/connection_table.h"
#include "net/exchange.h"
#include "net/http_parser.h"
#include "net/loop.h"
#include "net/server.h"

namespace net {

class Connection;

inline constexpr size_t scratch_bytes = 64 * 1024;

// What connections share; the server.
class ConnectionHost {
 public:
  ConnectionHost(ServerLimits limits_given, Handler handler_given, FaultForm fault_form_given,
                 LargeBody large_body_given)
      : limits(limits_given),
        handler(std::move(handler_given)),
        fault_form(std::move(fault_form_given)),
        large_body(std::move(large_body_given)),
        loop(Loop::make()),
        table(limits.connections_max, limits.connections_per_prefix_max),
        scratch(std::make_unique<char[]>(scratch_bytes)) {}
  virtual ~ConnectionHost() = default;
  virtual void set_deadline(Connection& connection, int64_t at_ms) = 0;  // 0: none
  // Room for `bytes` more of unfinished bodies, giving up others' if need be, never `id`'s.
  virtual bool reserve_body(uint64_t id, int64_t bytes) = 0;
  virtual void release_body(int64_t bytes) = 0;
  virtual void forget(uint64_t id) = 0;  // it has closed
  Response fault_answer(int status, std::string_view reason) const;

  const ServerLimits limits;
  const Handler handler;
  const FaultForm fault_form;
  const LargeBody large_body;
  const std::shared_ptr<Loop> loop;
  const base::SystemClock clock;
  ConnectionTable table;
  const std::unique_ptr<char[]> scratch;
  bool stopping = false;
  // Read by stats() from any thread.
  std::atomic<int64_t> accepted{0}, refused{0}, timed_out{0}, malformed{0}, requests{0};
  std::atomic<int64_t> evicted{0}, overflowed{0};
};

class Connection final : public std::enable_shared_from_this<Connection> {
 public:
  Connection(ConnectionHost& host, std::unique_ptr<Watch> socket, uint64_t id, std::string peer)
      : server_(host), socket_(std::move(socket)), id_(id), peer_(std::move(peer)) {}

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
  int64_t body_bytes_max(const RequestHead& head) const;
  void begin_body(RequestHead head, int64_t bytes_max);
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
  int64_t now_ms() const { return server_.clock.monotonic_ms(); }
  int64_t body_deadline_ms() const;
  int64_t write_deadline_ms() const;
  size_t out_size() const { return out_.size() + static_out_.size(); }

  ConnectionHost& server_;
  std::unique_ptr<Watch> socket_;
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
  std::string out_;  // then static_out_: what goes out now
  std::string_view static_out_;
  size_t out_sent_ = 0;
  bool backlogged_ = false;
  int64_t progress_ms_ = 0, backlog_sent_ = 0, discarded_ = 0;
};

}  // namespace net
