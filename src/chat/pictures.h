// Pictures in the gate's memory: those that a page has sent and no message holds yet, and the way
// from an id to the bytes of all that are held. A message holds its pictures itself (NodePicture):
// they go with it, and nothing here keeps them.
//
// Threads: one at a time (the gate's loop thread).
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace chat {

struct Picture {
  std::string id;
  std::string bytes;  // PNG, JPEG or WebP, as it came; nobody here has looked into it
};
struct NodePicture {
  std::string id;
  std::shared_ptr<const Picture> picture;  // null: this server has not (or no longer) got it
};

class Pictures {
 public:
  // Of those that no message holds: the oldest go when there are more.
  static constexpr uint64_t waiting_bytes_max = 96ull << 20;
  static constexpr size_t waiting_max = 64;

  // The same id again changes nothing: a page that tries again repeats nothing.
  std::shared_ptr<const Picture> put(std::string id, std::string bytes);
  // Null: there is none of that id.
  std::shared_ptr<const Picture> find(std::string_view id) const;
  // A message holds it from now on.
  void taken(std::string_view id);
  uint64_t waiting_bytes() const { return waiting_bytes_; }

 private:
  std::map<std::string, std::weak_ptr<const Picture>, std::less<>> all_;
  std::deque<std::shared_ptr<const Picture>> waiting_;  // oldest first
  uint64_t waiting_bytes_ = 0;
};

// "image/png", "image/jpeg", "image/webp" by the first bytes; "" for anything else.
std::string_view picture_type(std::string_view bytes);

}  // namespace chat
