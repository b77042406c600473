#include "chat/conversations.h"

#include <algorithm>
#include <set>

namespace chat {
namespace {

constexpr uint64_t node_overhead_bytes = 256;

uint64_t bytes_of(const Node& node) {
  uint64_t sum = node.content.size() + node.reasoning.size() + node_overhead_bytes;
  const auto add = [&](const std::vector<NodePicture>& pictures) {
    for (const NodePicture& one : pictures) {
      sum += node_overhead_bytes + (one.picture != nullptr ? one.picture->bytes.size() : 0);
    }
  };
  add(node.pictures);
  if (node.drawing) add(node.drawing->done);
  return sum;
}

uint64_t bytes_of(const Conversation& conversation) {
  uint64_t sum = 0;
  for (const Node& node : conversation.nodes) sum += bytes_of(node);
  return sum;
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool holds(std::string_view text, std::string_view wanted) {
  return std::search(text.begin(), text.end(), wanted.begin(), wanted.end(),
                     [](char a, char b) { return lower(a) == lower(b); }) != text.end();
}

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

}  // namespace

std::string title_of(std::string_view question, int characters_max) {
  std::string out;
  int characters = 0;
  bool space = false;
  for (char c : question) {
    if (is_space(c)) {
      space = !out.empty();
      continue;
    }
    const bool starts_character = (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    if (starts_character) {
      if (characters + (space ? 1 : 0) >= characters_max) break;
      if (space) {
        out += ' ';
        ++characters;
      }
      ++characters;
    }
    space = false;
    out += c;
  }
  return out;
}

Conversation* Conversations::find(std::string_view id) {
  const auto at = std::find_if(conversations_.begin(), conversations_.end(),
                               [&](const Conversation& one) { return one.id == id; });
  return at == conversations_.end() ? nullptr : &*at;
}

Node* Conversations::find_node(Conversation& conversation, std::string_view id) {
  const auto at = std::find_if(conversation.nodes.begin(), conversation.nodes.end(),
                               [&](const Node& node) { return node.id == id; });
  return at == conversation.nodes.end() ? nullptr : &*at;
}

std::vector<const Conversation*> Conversations::newest(size_t count) const {
  std::vector<const Conversation*> out;
  for (const Conversation& one : conversations_) {
    if (out.size() >= count) break;
    out.push_back(&one);
  }
  return out;
}

std::vector<const Conversation*> Conversations::search(std::string_view text, size_t count) const {
  std::vector<const Conversation*> out;
  for (const Conversation& one : conversations_) {
    if (out.size() >= count) break;
    const bool found = holds(one.title, text) ||
                       std::any_of(one.nodes.begin(), one.nodes.end(),
                                   [&](const Node& node) { return holds(node.content, text); });
    if (found) out.push_back(&one);
  }
  return out;
}

void Conversations::make_room() {
  const auto full = [&] {
    return static_cast<int>(conversations_.size()) > limits_.conversations_max ||
           bytes_ > limits_.bytes_max;
  };
  // From the oldest; the first one is the one being written to now and stays in any case.
  for (auto at = conversations_.end(); full() && at != conversations_.begin();) {
    --at;
    if (at == conversations_.begin()) return;
    if (at->busy) continue;
    bytes_ -= bytes_of(*at);
    at = conversations_.erase(at);
  }
}

Conversation& Conversations::open(const std::string& id) {
  if (Conversation* known = find(id)) return *known;
  Conversation fresh;
  fresh.id = id;
  fresh.updated_unix_ms = clock_.wall_unix_ms();
  conversations_.push_front(std::move(fresh));
  make_room();
  return conversations_.front();
}

void Conversations::touch(Conversation& conversation) {
  conversation.updated_unix_ms = clock_.wall_unix_ms();
  const auto at = std::find_if(conversations_.begin(), conversations_.end(),
                               [&](const Conversation& one) { return &one == &conversation; });
  if (at != conversations_.end()) {
    conversations_.splice(conversations_.begin(), conversations_, at);
  }
}

base::Result<void> Conversations::add(Conversation& conversation, Node node) {
  if (find_node(conversation, node.id) != nullptr) return {};
  if (static_cast<int>(conversation.nodes.size()) >= limits_.nodes_max) {
    return base::fail(base::ErrorKind::limit_exceeded,
                      fmt::format("a conversation has at most {} messages", limits_.nodes_max), "",
                      "go on in a new one");
  }
  if (node.content.size() > limits_.message_bytes_max) {
    return base::fail(base::ErrorKind::limit_exceeded,
                      fmt::format("a message has at most {} bytes", limits_.message_bytes_max));
  }
  if (!node.parent.empty() && find_node(conversation, node.parent) == nullptr) {
    return base::fail(base::ErrorKind::invalid_input,
                      "a message's parent is not in its conversation");
  }
  if (node.created_unix_ms == 0) node.created_unix_ms = clock_.wall_unix_ms();
  bytes_ += bytes_of(node);
  if (conversation.title.empty() && node.from_person) conversation.title = title_of(node.content);
  conversation.nodes.push_back(std::move(node));
  touch(conversation);
  make_room();
  return {};
}

void Conversations::append(Conversation& conversation, std::string_view node,
                           std::string_view reasoning, std::string_view content) {
  Node* at = find_node(conversation, node);
  if (at == nullptr) return;
  at->reasoning += reasoning;
  at->content += content;
  bytes_ += reasoning.size() + content.size();
}

void Conversations::replace(Node& node, std::string reasoning, std::string content) {
  bytes_ -= bytes_of(node);
  node.reasoning = std::move(reasoning);
  node.content = std::move(content);
  bytes_ += bytes_of(node);
}

void Conversations::put_drawn(Conversation& conversation, std::string_view node, size_t index,
                              std::shared_ptr<const Picture> picture) {
  Node* at = find_node(conversation, node);
  if (at == nullptr || !at->drawing || index >= at->drawing->done.size()) return;
  bytes_ -= bytes_of(*at);
  at->drawing->done[index] = {picture->id, std::move(picture)};
  bytes_ += bytes_of(*at);
}

bool Conversations::erase(std::string_view id) {
  const auto at = std::find_if(conversations_.begin(), conversations_.end(),
                               [&](const Conversation& one) { return one.id == id; });
  if (at == conversations_.end()) return false;
  bytes_ -= bytes_of(*at);
  conversations_.erase(at);
  return true;
}

int Conversations::erase_node(Conversation& conversation, std::string_view node) {
  if (find_node(conversation, node) == nullptr) return 0;
  // Parents stand before their children, so one pass finds all descendants.
  std::set<std::string, std::less<>> gone = {std::string(node)};
  for (const Node& one : conversation.nodes) {
    if (!one.parent.empty() && gone.contains(one.parent)) gone.insert(one.id);
  }
  std::erase_if(conversation.nodes, [&](const Node& one) {
    if (!gone.contains(one.id)) return false;
    bytes_ -= bytes_of(one);
    return true;
  });
  return static_cast<int>(gone.size());
}

}  // namespace chat
