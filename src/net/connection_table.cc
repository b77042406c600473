#include "net/connection_table.h"

#include "base/check.h"

namespace net {

std::optional<uint64_t> ConnectionTable::oldest(const Lines& lines) {
  for (const Line& line : lines) {
    if (!line.empty()) return line.front();
  }
  return std::nullopt;
}

std::optional<uint64_t> ConnectionTable::oldest_body() const {
  const Line& line = all_[static_cast<size_t>(Phase::body)];
  return line.empty() ? std::nullopt : std::optional(line.front());
}

ConnectionTable::Decision ConnectionTable::arrive(uint64_t prefix) const {
  const auto found = prefixes_.find(prefix);
  if (found != prefixes_.end() && found->second.count >= per_prefix_max_) {
    // One prefix pays for its own crowd, never another's.
    const auto own = oldest(found->second.lines);
    return {own.has_value(), own};
  }
  if (size() < connections_max_) return {true, std::nullopt};
  const auto any = oldest(all_);
  return {any.has_value(), any};
}

void ConnectionTable::place(Entry& entry, uint64_t id, Phase phase) {
  entry.phase = phase;
  if (phase == Phase::busy) return;
  Line& all = all_[static_cast<size_t>(phase)];
  Line& own = prefixes_[entry.prefix].lines[static_cast<size_t>(phase)];
  entry.in_all = all.insert(all.end(), id);
  entry.in_prefix = own.insert(own.end(), id);
}

void ConnectionTable::take_out(Entry& entry) {
  if (entry.phase == Phase::busy) return;
  all_[static_cast<size_t>(entry.phase)].erase(entry.in_all);
  prefixes_[entry.prefix].lines[static_cast<size_t>(entry.phase)].erase(entry.in_prefix);
}

void ConnectionTable::enter(uint64_t id, uint64_t prefix) {
  const auto [entry, fresh] = entries_.try_emplace(id);
  CHECK(fresh, "connection ids are counted up and never repeat");
  entry->second.prefix = prefix;
  ++prefixes_[prefix].count;
  place(entry->second, id, Phase::header);
}

void ConnectionTable::move(uint64_t id, Phase phase) {
  const auto found = entries_.find(id);
  if (found == entries_.end() || found->second.phase == phase) return;
  take_out(found->second);
  place(found->second, id, phase);
}

void ConnectionTable::leave(uint64_t id) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  take_out(found->second);
  const auto prefix = prefixes_.find(found->second.prefix);
  if (--prefix->second.count == 0) prefixes_.erase(prefix);
  entries_.erase(found);
}

}  // namespace net
