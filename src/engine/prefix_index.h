// PrefixIndex: full pages of computed keys and values, found again by what stands in them. A page
// may be shared only by requests of one account whose ids from position 0 to the page's end are
// the same and have the same origin (a prompt's or a sampled id):
//
//   root(account 7) -- [ids 0..63, 64 of the prompt] -- [64..127, 64] -- [128..191, 20]
//                                                  \--- [64..127, 50]
//
// What a page holds besides ids (a picture stands where the ids only count, or the ids are codes of
// a picture) is told in numbers, its contents, which must be the same, too.
//
// A node is found by a hash of (account, parent, ids, number of prompt ids, contents), then
// compared in full: a collision can never hand out another account's page. Only full pages are
// entered, so a page that is still being written has one owner.
//
// The index holds one reference of every page it lists. A page that nobody else holds is
// evictable: the least recently used leaf goes first, a parent never before its children.
//
// One thread (the model thread) owns it.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <span>
#include <unordered_map>
#include <vector>

#include "model/kv.h"

namespace engine {

class PrefixIndex {
 public:
  using Node = uint64_t;  // serial number, never used twice
  static constexpr Node root = 0;

  explicit PrefixIndex(model::KvPool& pool) : pool_(pool) {}
  ~PrefixIndex() { clear(); }
  PrefixIndex(const PrefixIndex&) = delete;
  PrefixIndex& operator=(const PrefixIndex&) = delete;

  using Contents = std::vector<uint64_t>;
  // Of the page whose first position this is.
  using ContentsOf = std::function<Contents(int first)>;

  // The longest known prefix of `ids`, at most `pages_max` pages. `prompt_length`: ids from there
  // on were sampled. Every returned page carries a reference for the caller.
  struct Match {
    std::vector<model::PageId> pages;
    Node last = root;  // parent for the next insert
  };
  Match match(uint64_t account, std::span<const int32_t> ids, int prompt_length, int pages_max,
              const ContentsOf& contents_of = {});

  // Lists a page that has just become full: `ids` are its page_tokens ids, `prompt_ids` how many of
  // them (from its first on) belong to the prompt. `parent` is what match() or the last insert()
  // gave for this sequence. If the same page is listed already, the caller's reference is exchanged
  // for one of that page (its contents are the same bit for bit, by the runner's promise), so that
  // a sequence always holds its whole chain and no parent is evicted under a running child.
  struct Listed {
    Node node;
    model::PageId page;  // the one to use from now on
  };
  Listed insert(Node parent, uint64_t account, std::span<const int32_t> ids, int prompt_ids,
                model::PageId page, Contents contents = {});

  int evictable() const;  // pages that only the index holds
  bool evict_one();       // false: none is evictable
  int size() const { return static_cast<int>(nodes_.size()); }
  void clear();

 private:
  struct Entry {
    uint64_t account;
    Node parent;
    std::vector<int32_t> ids;  // (page_tokens)
    int prompt_ids;
    Contents contents;
    model::PageId page;
    int children = 0;
    uint64_t hash;
    std::list<Node>::iterator recent;
  };
  struct Key {
    uint64_t account;
    Node parent;
    std::span<const int32_t> ids;
    int prompt_ids;
    const Contents& contents;
    uint64_t hash() const;
  };
  const Node* find(const Key& key, uint64_t hash) const;
  void touch(Node node);
  void remove(Node node);

  model::KvPool& pool_;
  std::unordered_map<Node, Entry> nodes_;
  std::unordered_multimap<uint64_t, Node> by_hash_;
  std::list<Node> recent_;  // most recently used first; a parent stands before its children
  Node next_ = 1;
};

}  // namespace engine
