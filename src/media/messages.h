// What a reader of pictures and its keeper say to each other, over a socket that keeps messages
// whole (AF_UNIX, SEQPACKET). Little-endian structures, at most one descriptor with each:
//
//   reader -> keeper   Request + memory file, sealed, that holds the picture's bytes
//   keeper -> reader   Reply hello      a keeper begins; whatever its predecessor had begun is lost
//                      Reply begun      the request `id` has a child now
//                      Reply done       + memory file with a ResultHead, then the texts of the
//                                       error or (side, side, 3) bytes
//                      Reply over_time, late, ended, malformed    no result, and why
//
// The child that reads a picture may have been taken over by it, and the reader by a model file:
// neither side believes the other's numbers.
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

#include "base/descriptor.h"
#include "media/fit.h"

namespace media {

inline constexpr uint32_t request_magic = 0x3151504E, reply_magic = 0x3152504E;  // "NPQ1", "NPR1"
inline constexpr uint32_t result_magic = 0x3153504E;                             // "NPS1"

struct Request {
  uint32_t magic = request_magic;
  int32_t side = 0, min_side = 0, background = 0;  // Fit
  uint64_t id = 0;
};
enum class ReplyKind : uint32_t { hello = 1, begun, done, over_time, late, ended, malformed };
struct Reply {
  uint32_t magic = reply_magic;
  ReplyKind kind = ReplyKind::hello;
  uint64_t id = 0;
};
struct ResultHead {
  uint32_t magic = result_magic;
  uint32_t error = 0;  // 0: none, pixels follow; else base::ErrorKind + 1
  uint32_t what_bytes = 0, why_bytes = 0, next_bytes = 0;
};
static_assert(sizeof(Request) == 24 && sizeof(Reply) == 16 && sizeof(ResultHead) == 20);

inline constexpr uint32_t error_text_bytes_max = 1024;  // of each part
inline constexpr uint64_t result_bytes_max =
    sizeof(ResultHead) + uint64_t{fit_side_max} * fit_side_max * 3;

using base::Descriptor;
using base::Sent;
enum class Received { yes, nothing, gone };  // nothing: none is there, or one of a wrong size

// Never block.
template <class T>
requires std::is_trivially_copyable_v<T> Sent send_one(int socket, const T& value, int fd = -1) {
  return base::send_message(socket, &value, sizeof(T), fd);
}
template <class T>
requires std::is_trivially_copyable_v<T> Received receive_one(int socket, T* value,
                                                              Descriptor* fd) {
  using What = base::ReceivedBytes::What;
  base::ReceivedBytes got = base::receive_message(socket, value, sizeof(T), base::Wait::no);
  if (got.what != What::message) {
    return got.what == What::gone ? Received::gone : Received::nothing;
  }
  *fd = std::move(got.fd);
  return got.whole && got.count == sizeof(T) ? Received::yes : Received::nothing;
}

}  // namespace media
