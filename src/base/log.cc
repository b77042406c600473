#include "base/log.h"

#include <ctime>
#include <fmt/format.h>
#include <string>
#include <unistd.h>

namespace base {
namespace {

const char* level_name(LogLevel level) {
  switch (level) {
    case LogLevel::error:
      return "error";
    case LogLevel::warning:
      return "warning";
    case LogLevel::info:
      return "info";
    case LogLevel::debug:
      return "debug";
  }
  return "?";
}

const char* event_name(LogEvent event) {
  switch (event) {
    case LogEvent::process_started:
      return "process.started";
    case LogEvent::process_ready:
      return "process.ready";
    case LogEvent::process_exited:
      return "process.exited";
    case LogEvent::process_restarted:
      return "process.restarted";
    case LogEvent::process_stopping:
      return "process.stopping";
    case LogEvent::seal_layer_on:
      return "seal.layer_on";
    case LogEvent::seal_layer_off:
      return "seal.layer_off";
    case LogEvent::listener_open:
      return "listener.open";
    case LogEvent::connections_refused:
      return "net.connections_refused";
    case LogEvent::requests_malformed:
      return "net.requests_malformed";
    case LogEvent::engine_attached:
      return "engine.attached";
    case LogEvent::engine_lost:
      return "engine.lost";
    case LogEvent::model_loading:
      return "model.loading";
    case LogEvent::model_loaded:
      return "model.loaded";
    case LogEvent::model_load_failed:
      return "model.load_failed";
    case LogEvent::model_unloaded:
      return "model.unloaded";
    case LogEvent::request_refused:
      return "request.refused";
    case LogEvent::request_ended:
      return "request.ended";
    case LogEvent::preempted:
      return "request.preempted";
    case LogEvent::setup_done:
      return "session.setup_done";
    case LogEvent::signin_refused:
      return "session.signin_refused";
    case LogEvent::session_created:
      return "session.created";
    case LogEvent::session_revoked:
      return "session.revoked";
    case LogEvent::state_write_failed:
      return "state.write_failed";
    case LogEvent::pull_started:
      return "pull.started";
    case LogEvent::pull_ended:
      return "pull.ended";
    case LogEvent::internal_fault:
      return "internal.fault";
  }
  return "?";
}

const char* key_name(LogKey key) {
  switch (key) {
    case LogKey::pid:
      return "pid";
    case LogKey::exit_status:
      return "exit_status";
    case LogKey::signal:
      return "signal";
    case LogKey::port:
      return "port";
    case LogKey::restarts:
      return "restarts";
    case LogKey::layer:
      return "layer";
    case LogKey::errno_value:
      return "errno";
    case LogKey::count:
      return "count";
    case LogKey::bytes:
      return "bytes";
    case LogKey::tokens:
      return "tokens";
    case LogKey::prompt_tokens:
      return "prompt_tokens";
    case LogKey::cached_tokens:
      return "cached_tokens";
    case LogKey::completion_tokens:
      return "completion_tokens";
    case LogKey::duration_ms:
      return "duration_ms";
    case LogKey::wait_ms:
      return "wait_ms";
    case LogKey::status:
      return "status";
    case LogKey::error_kind:
      return "error_kind";
    case LogKey::request:
      return "request";
    case LogKey::account_hash:
      return "account";
    case LogKey::model_index:
      return "model_index";
    case LogKey::threads:
      return "threads";
  }
  return "?";
}

std::string field_text(const LogField& field) {
  const std::string key = key_name(field.key);
  if (const auto* number = std::get_if<int64_t>(&field.value)) {
    return fmt::format(" {}={}", key, *number);
  }
  if (const auto* hash = std::get_if<LogHash>(&field.value)) {
    return fmt::format(" {}={:016x}", key, hash->value);
  }
  return fmt::format(" {}={}ms", key, std::get<LogDurationMs>(field.value).value);
}

}  // namespace

void Log::write(LogLevel level, LogEvent event, std::initializer_list<LogField> fields) {
  if (level > least_) return;
  const int64_t now_ms = clock_.wall_unix_ms();
  const time_t seconds = static_cast<time_t>(now_ms / 1000);
  tm utc{};
  gmtime_r(&seconds, &utc);
  std::string line =
      fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z {} {}", utc.tm_year + 1900,
                  utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, now_ms % 1000,
                  level_name(level), event_name(event));
  for (const LogField& field : fields) line += field_text(field);
  line += '\n';
  // One write a line, so that lines of several processes do not mix. A log that cannot be written
  // stops nobody.
  [[maybe_unused]] const ssize_t written = ::write(fd_, line.data(), line.size());
}

}  // namespace base
