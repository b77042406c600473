// Conversations of the one owner, in memory only: trees of messages whose siblings are versions.
// Nothing is written anywhere, so nothing has to be migrated once history is sealed (vault).
// Bounded: when a limit is reached the conversation untouched for longest goes, unless busy.
//
// Threads: one at a time (the gate's loop thread). Pointers stay valid until the next change.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "chat/pictures.h"
#include "engine/engine.h"

namespace chat {

enum class AnswerEnd : uint8_t { stop, length, cancelled, engine_died, server_stopped, failed };

// An answer that is pictures.
struct Drawing {
  int count = 1, side = 0;        // how many, and the pixels of each, each way
  std::vector<uint64_t> seeds;    // of each
  std::vector<NodePicture> done;  // of each; no bytes: not drawn (yet)
};

struct Node {
  std::string id;
  std::string parent;  // empty: a root
  bool from_person = false;
  std::string content;
  std::string reasoning;
  std::vector<NodePicture> pictures;  // of a person's message: shown before its text
  std::optional<Drawing> drawing;     // of an answer
  std::string model;
  std::optional<AnswerEnd> end;  // absent: still being written, or a person's
  std::optional<engine::Usage> usage;
  int64_t created_unix_ms = 0;
};

struct Conversation {
  std::string id;
  std::string title;
  std::string model;
  int64_t updated_unix_ms = 0;
  std::vector<Node> nodes;  // in order of creation
  bool busy = false;        // an answer is being written
};

struct ConversationLimits {
  int conversations_max = 200;
  int nodes_max = 5'000;              // of one conversation
  uint64_t bytes_max = 256ull << 20;  // of all, pictures included
  uint64_t message_bytes_max = 1ull << 20;
  int title_characters_max = 200;
};

class Conversations {
 public:
  explicit Conversations(const base::Clock& clock, ConversationLimits limits = {})
      : clock_(clock), limits_(limits) {}

  const ConversationLimits& limits() const { return limits_; }
  Conversation* find(std::string_view id);
  static Node* find_node(Conversation& conversation, std::string_view id);
  std::vector<const Conversation*> newest(size_t count) const;
  // Those whose title or a message holds `text`; ASCII letters match in either case.
  std::vector<const Conversation*> search(std::string_view text, size_t count) const;

  // The conversation, made if there is none of that id; may put an old one out.
  Conversation& open(const std::string& id);
  // Refused when the conversation is full or the parent is not in it. A known id changes nothing.
  base::Result<void> add(Conversation& conversation, Node node);
  void append(Conversation& conversation, std::string_view node, std::string_view reasoning,
              std::string_view content);
  void replace(Node& node, std::string reasoning, std::string content);
  // Picture `index` of the drawing of `node` is there.
  void put_drawn(Conversation& conversation, std::string_view node, size_t index,
                 std::shared_ptr<const Picture> picture);
  void touch(Conversation& conversation);
  bool erase(std::string_view id);
  // The node and what hangs below it; how many that were.
  int erase_node(Conversation& conversation, std::string_view node);
  uint64_t bytes() const { return bytes_; }

 private:
  void make_room();

  const base::Clock& clock_;
  ConversationLimits limits_;
  std::list<Conversation> conversations_;  // newest first
  uint64_t bytes_ = 0;
};

// The first `characters_max` characters of a question, white space made single.
std::string title_of(std::string_view question, int characters_max = 60);

}  // namespace chat
