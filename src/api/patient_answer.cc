#include "api/patient_answer.h"

namespace api {

void PatientAnswer::watch() {
  // Weak: the exchange keeps its callback, and this keeps the exchange.
  exchange_->on_disconnect([weak = weak_from_this()] {
    const auto answer = weak.lock();
    if (answer == nullptr || answer->closed_) return;
    answer->closed_ = true;
    answer->cancel_all();
  });
  arm_keep_alive();
}

void PatientAnswer::on_queued(const engine::Queued& queued) {
  queued_ = queued;
  admit();
}

void PatientAnswer::admit() {
  if (!stream_ || headers_sent_) return;
  headers_sent_ = true;
  exchange_->begin_stream(200, {{"content-type", "text/event-stream; charset=utf-8"},
                                {"cache-control", "no-store"},
                                {"x-accel-buffering", "no"},
                                {"x-queue-position", std::to_string(queued_.position)}});
}

void PatientAnswer::end_stream() {
  if (!closed_) exchange_->end_stream();
  closed_ = true;
}

void PatientAnswer::respond(const base::Json& body) {
  closed_ = true;
  if (headers_sent_) {
    exchange_->write(body.dump());
    exchange_->end_stream();
  } else {
    exchange_->respond(json_response(body));
  }
}

void PatientAnswer::fail(const ApiError& error) {
  closed_ = true;
  cancel_all();
  if (!headers_sent_) {
    exchange_->respond(error_response(error));
    return;
  }
  const std::string body = error_json(error).dump();
  exchange_->write(stream_ ? "data: " + body + "\n\n" : body);
  exchange_->end_stream();
}

void PatientAnswer::send(const std::string& bytes) {
  if (closed_ || bytes.empty()) return;
  last_write_ms_ = context_.now_ms();
  if (exchange_->write(bytes)) return;
  closed_ = true;
  cancel_all();
}

void PatientAnswer::arm_keep_alive() {
  context_.after_ms(keep_alive_ms, [weak = weak_from_this()] {
    const auto answer = weak.lock();
    if (answer == nullptr || answer->closed_ || answer->waited_too_long()) return;
    answer->keep_alive();
    answer->arm_keep_alive();
  });
}

void PatientAnswer::keep_alive() {
  const int64_t now = context_.now_ms();
  if (stream_) {
    if (!headers_sent_ || now - last_write_ms_ < keep_alive_ms) return;
    send(started_ ? std::string(": keep-alive\n\n")
                  : fmt::format(": keep-alive position={} wait_ms={}-{}\n\n", queued_.position,
                                queued_.wait_ms_low, queued_.wait_ms_high));
    return;
  }
  // A plain answer keeps its status open as long as it can: an error then still has its code.
  if (now - arrived_ms_ < plain_patience_ms) return;
  if (!headers_sent_) {
    headers_sent_ = true;
    exchange_->begin_stream(200, {{"content-type", "application/json; charset=utf-8"},
                                  {"cache-control", "no-store"},
                                  {"x-accel-buffering", "no"},
                                  {"x-queue-position", std::to_string(queued_.position)}});
  }
  send("\n");
}

// Looked at with every beat: a timer of ten minutes for each request would hold its memory so long.
bool PatientAnswer::waited_too_long() {
  if (started_ || context_.now_ms() - arrived_ms_ < start_deadline_ms) return false;
  ApiError error;
  error.status = 503;
  error.code = "queue_timeout";
  error.message = "nothing had started after 10 minutes in the queue: try again later";
  error.retry_after_ms = 60'000;
  fail(error);
  return true;
}

}  // namespace api
