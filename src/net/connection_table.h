// Who may hold a connection: numbers in, decisions out; no sockets and no clock.
//
// A full table does not keep newcomers out: it gives up the connection that has been reading its
// header for the longest time (an honest header takes one round trip, a slow attack lives there),
// then the one that has been idle for the longest, then the oldest unfinished body, then the one
// that has not taken its answer for the longest. Connections whose answer is being made are never
// given up. All operations are O(1), memory is bounded by the
// connections admitted.
//
// Threads: the loop's only.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <unordered_map>

namespace net {

class ConnectionTable {
 public:
  enum class Phase : uint8_t { header, idle, body, blocked, busy };

  ConnectionTable(int connections_max, int per_prefix_max)
      : connections_max_(connections_max), per_prefix_max_(per_prefix_max) {}

  // Room for one more from `prefix`? If not, `evict` names the connection that must go first (the
  // caller ends it, calls leave(), and then admits); if there is none either, refuse.
  struct Decision {
    bool admit = false;
    std::optional<uint64_t> evict;
  };
  Decision arrive(uint64_t prefix) const;

  void enter(uint64_t id, uint64_t prefix);  // in Phase::header; ids are unique
  void move(uint64_t id, Phase phase);
  void leave(uint64_t id);
  // The connection to give up when descriptors or body memory run out; none: all are busy.
  std::optional<uint64_t> victim() const { return oldest(all_); }
  std::optional<uint64_t> oldest_body() const;

  int size() const { return static_cast<int>(entries_.size()); }
  int prefixes() const { return static_cast<int>(prefixes_.size()); }

 private:
  using Line = std::list<uint64_t>;   // oldest first
  using Lines = std::array<Line, 4>;  // header, idle, body, blocked
  struct Prefix {
    int count = 0;
    Lines lines;
  };
  struct Entry {
    uint64_t prefix = 0;
    Phase phase = Phase::header;
    Line::iterator in_all, in_prefix;  // valid unless busy
  };
  static std::optional<uint64_t> oldest(const Lines& lines);
  void place(Entry& entry, uint64_t id, Phase phase);
  void take_out(Entry& entry);

  int connections_max_, per_prefix_max_;
  Lines all_;
  std::unordered_map<uint64_t, Entry> entries_;
  std::unordered_map<uint64_t, Prefix> prefixes_;
};

}  // namespace net
