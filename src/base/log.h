// The log that cannot hold user text: a line is an event of an enum and fields whose keys are an
// enum and whose values are numbers, hashes or durations. There is no overload that takes a
// string, so no prompt, name, header or path can slip in. Any thread may write.
//
// One line a call on the given descriptor: 2026-11-25T18:03:52.114Z info gate.started pid=4711
#pragma once

#include <cstdint>
#include <initializer_list>
#include <variant>

#include "base/clock.h"

namespace base {

enum class LogLevel : uint8_t { error, warning, info, debug };

enum class LogEvent : uint8_t {
  process_started,
  process_ready,
  process_exited,
  process_restarted,
  process_stopping,
  seal_layer_on,
  seal_layer_off,
  listener_open,
  connections_refused,
  requests_malformed,
  engine_attached,
  engine_lost,
  model_loading,
  model_loaded,
  model_load_failed,
  model_unloaded,
  request_refused,
  request_ended,
  preempted,
  setup_done,
  signin_refused,
  session_created,
  session_revoked,
  state_write_failed,
  pull_started,
  pull_ended,
  internal_fault
};

enum class LogKey : uint8_t {
  pid,
  exit_status,
  signal,
  port,
  restarts,
  layer,
  errno_value,
  count,
  bytes,
  tokens,
  prompt_tokens,
  cached_tokens,
  completion_tokens,
  duration_ms,
  wait_ms,
  status,
  error_kind,
  request,
  account_hash,
  model_index,
  threads
};

struct LogHash {
  uint64_t value;
};  // printed in hex
struct LogDurationMs {
  int64_t value;
};

struct LogField {
  LogKey key;
  std::variant<int64_t, LogHash, LogDurationMs> value;
};

class Log {
 public:
  Log(const Clock& clock, int descriptor, LogLevel least)
      : clock_(clock), fd_(descriptor), least_(least) {}
  void write(LogLevel level, LogEvent event, std::initializer_list<LogField> fields = {});

 private:
  const Clock& clock_;
  int fd_;
  LogLevel least_;
};

}  // namespace base
