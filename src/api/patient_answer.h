// PatientAnswer: what answers of the public API have in common while they are made: headers that
// wait for the queue, so that a refusal has its status; a sign of life while nothing comes; the end
// of the compute when the client goes away.
//
//   waiting ──first event──> admitted ──> streaming ──> closed
//      │                        └─(no stream)─ collecting ──┘
//      └──refused──> an error with its status        a failure later: an error frame
//
// Threads: loop thread only. Lives as long as an engine callback or a timer holds it.
#pragma once

#include <memory>
#include <string>

#include "api/context.h"

namespace api {

class PatientAnswer : public std::enable_shared_from_this<PatientAnswer> {
 public:
  static constexpr int64_t keep_alive_ms = 5'000;
  static constexpr int64_t plain_patience_ms = 10'000;  // before a plain answer sends its headers
  static constexpr int64_t start_deadline_ms = 600'000;

  virtual ~PatientAnswer() = default;
  PatientAnswer(const PatientAnswer&) = delete;
  PatientAnswer& operator=(const PatientAnswer&) = delete;

 protected:
  PatientAnswer(Context& context, std::shared_ptr<net::Exchange> exchange, bool stream)
      : context_(context),
        exchange_(std::move(exchange)),
        stream_(stream),
        arrived_ms_(context.now_ms()),
        last_write_ms_(arrived_ms_) {}

  virtual void cancel_all() = 0;

  // Once, when a shared_ptr holds this.
  void watch();
  void on_queued(const engine::Queued& queued);
  void admit();
  void send(const std::string& bytes);
  void end_stream();                     // of a stream
  void respond(const base::Json& body);  // otherwise
  void fail(const ApiError& error);

  Context& context_;
  const std::shared_ptr<net::Exchange> exchange_;
  const bool stream_;
  const int64_t arrived_ms_;
  bool closed_ = false, started_ = false;

 private:
  void arm_keep_alive();
  void keep_alive();
  bool waited_too_long();

  bool headers_sent_ = false;
  int64_t last_write_ms_;
  engine::Queued queued_;
};

}  // namespace api
