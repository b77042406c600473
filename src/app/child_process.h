// Starting our own program again as a child, and the messages between the supervisor and the gate.
//
// A child begins with exactly the descriptors that it is given, at fixed numbers, and nothing of
// the supervisor's memory: fork and then exec. It is killed if the supervisor dies, and Ctrl-C in
// the terminal reaches the supervisor only.
#pragma once

#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

#include "base/descriptor.h"
#include "base/json.h"
#include "base/result.h"

namespace app {

using Fd = base::Descriptor;

struct FdPair {
  Fd ours, theirs;
};
base::Result<FdPair> stream_pair();   // AF_UNIX, a byte stream
base::Result<FdPair> message_pair();  // AF_UNIX, whole messages

// What children find at which number.
namespace child_fd {
inline constexpr int engine_socket = 3, engine_settings = 4, engine_report = 5, engine_pictures = 6;
inline constexpr int gate_listener = 3, gate_control = 4, gate_settings = 5;
inline constexpr int pictures_socket = 3, pictures_report = 4;
inline constexpr int pull_settings = 3, pull_report = 4;
}  // namespace child_fd

// Anonymous memory that holds `json`, read from its start by the child.
base::Result<Fd> settings_memory(const base::Json& json);
base::Result<base::Json> read_settings(int fd);

// Runs this program as `nautile VERB` with fds[i] as descriptor 3 + i. Returns its process id.
base::Result<pid_t> start_child(const char* verb, const std::vector<int>& fds);

// How willingly the kernel ends this process when memory runs out: 0 to 1000.
inline constexpr int engine_oom_score = 500, pictures_oom_score = 1000;
void prefer_for_oom_killer(int score);

// One message, at most message_bytes_max of JSON, with at most one descriptor. Never blocks when
// sending: a receiver that does not read loses it.
inline constexpr size_t message_bytes_max = 64 * 1024;
bool send_message(int socket, const base::Json& json, int fd_to_pass = -1);
struct ReceivedMessage {
  base::Json json;
  Fd fd;
};
// Blocks. Nothing: the other end is gone.
std::optional<ReceivedMessage> receive_message(int socket);

}  // namespace app
