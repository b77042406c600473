#include "engine/prefix_index.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace engine {
namespace {

uint64_t fold(uint64_t hash, uint64_t value) {
  hash ^= value + 0x9e3779b97f4a7c15ull + (hash << 6) + (hash >> 2);
  hash *= 0xff51afd7ed558ccdull;
  return hash ^ (hash >> 33);
}

}  // namespace

uint64_t PrefixIndex::Key::hash() const {
  uint64_t hash = fold(fold(fold(0, account), parent), static_cast<uint64_t>(prompt_ids));
  for (int32_t id : ids) hash = fold(hash, static_cast<uint32_t>(id));
  for (uint64_t number : contents) hash = fold(hash, number);
  return hash;
}

const PrefixIndex::Node* PrefixIndex::find(const Key& key, uint64_t hash) const {
  auto [begin, end] = by_hash_.equal_range(hash);
  for (auto it = begin; it != end; ++it) {
    const Entry& e = nodes_.at(it->second);
    if (e.account == key.account && e.parent == key.parent && e.prompt_ids == key.prompt_ids &&
        std::equal(e.ids.begin(), e.ids.end(), key.ids.begin(), key.ids.end()) &&
        e.contents == key.contents) {
      return &it->second;
    }
  }
  return nullptr;
}

PrefixIndex::Match PrefixIndex::match(uint64_t account, std::span<const int32_t> ids,
                                      int prompt_length, int pages_max,
                                      const ContentsOf& contents_of) {
  Match match;
  int pages = std::min(pages_max, static_cast<int>(ids.size()) / model::page_tokens);
  for (int i = 0; i < pages; ++i) {
    int start = i * model::page_tokens;
    auto page_ids = ids.subspan(static_cast<size_t>(start), model::page_tokens);
    int prompt_ids = std::clamp(prompt_length - start, 0, model::page_tokens);
    const Contents contents = contents_of ? contents_of(start) : Contents();
    const Key key{account, match.last, page_ids, prompt_ids, contents};
    const Node* node = find(key, key.hash());
    if (!node) break;
    const Entry& entry = nodes_.at(*node);
    pool_.add_reference(entry.page);
    match.pages.push_back(entry.page);
    match.last = *node;
  }
  if (match.last != root) touch(match.last);
  return match;
}

PrefixIndex::Listed PrefixIndex::insert(Node parent, uint64_t account, std::span<const int32_t> ids,
                                        int prompt_ids, model::PageId page, Contents contents) {
  CHECK(ids.size() == model::page_tokens, "only full pages are listed");
  CHECK(parent == root || nodes_.contains(parent), "a sequence holds the pages of its chain");
  const Key key{account, parent, ids, prompt_ids, contents};
  const uint64_t hash = key.hash();
  if (const Node* known = find(key, hash)) {
    model::PageId shared = nodes_.at(*known).page;
    if (shared != page) {
      pool_.add_reference(shared);
      pool_.release(page);
    }
    touch(*known);
    return {*known, shared};
  }
  Node node = next_++;
  pool_.add_reference(page);
  recent_.push_front(node);
  nodes_.emplace(node, Entry{account,
                             parent,
                             {ids.begin(), ids.end()},
                             prompt_ids,
                             std::move(contents),
                             page,
                             0,
                             hash,
                             recent_.begin()});
  by_hash_.emplace(hash, node);
  if (parent != root) ++nodes_.at(parent).children;
  touch(node);
  return {node, page};
}

void PrefixIndex::touch(Node node) {
  // From the leaf to the root, so that a parent ends up before its children.
  while (node != root) {
    Entry& entry = nodes_.at(node);
    recent_.splice(recent_.begin(), recent_, entry.recent);
    node = entry.parent;
  }
}

int PrefixIndex::evictable() const {
  int count = 0;
  for (const auto& [node, entry] : nodes_) count += pool_.references(entry.page) == 1;
  return count;
}

bool PrefixIndex::evict_one() {
  for (auto it = recent_.rbegin(); it != recent_.rend(); ++it) {
    const Entry& entry = nodes_.at(*it);
    if (entry.children == 0 && pool_.references(entry.page) == 1) {
      remove(*it);
      return true;
    }
  }
  return false;
}

void PrefixIndex::remove(Node node) {
  auto found = nodes_.find(node);
  Entry& entry = found->second;
  auto [begin, end] = by_hash_.equal_range(entry.hash);
  for (auto it = begin; it != end; ++it) {
    if (it->second == node) {
      by_hash_.erase(it);
      break;
    }
  }
  if (entry.parent != root) --nodes_.at(entry.parent).children;
  recent_.erase(entry.recent);
  pool_.release(entry.page);
  nodes_.erase(found);
}

void PrefixIndex::clear() {
  for (auto& [node, entry] : nodes_) pool_.release(entry.page);
  nodes_.clear();
  by_hash_.clear();
  recent_.clear();
}

}  // namespace engine
