#include "chat/pictures.h"

#include <algorithm>

namespace chat {

std::shared_ptr<const Picture> Pictures::put(std::string id, std::string bytes) {
  if (auto known = find(id)) return known;
  std::erase_if(all_, [](const auto& one) { return one.second.expired(); });
  auto made = std::make_shared<const Picture>(Picture{std::move(id), std::move(bytes)});
  all_[made->id] = made;
  waiting_.push_back(made);
  waiting_bytes_ += made->bytes.size();
  while (waiting_.size() > waiting_max ||
         (waiting_bytes_ > waiting_bytes_max && waiting_.size() > 1)) {
    waiting_bytes_ -= waiting_.front()->bytes.size();
    waiting_.pop_front();
  }
  return made;
}

std::shared_ptr<const Picture> Pictures::find(std::string_view id) const {
  const auto at = all_.find(id);
  return at == all_.end() ? nullptr : at->second.lock();
}

void Pictures::taken(std::string_view id) {
  const auto at = std::find_if(waiting_.begin(), waiting_.end(),
                               [&](const auto& one) { return one->id == id; });
  if (at == waiting_.end()) return;
  waiting_bytes_ -= (*at)->bytes.size();
  waiting_.erase(at);
}

std::string_view picture_type(std::string_view bytes) {
  if (bytes.starts_with("\x89PNG\r\n\x1a\n")) return "image/png";
  if (bytes.starts_with("\xff\xd8\xff")) return "image/jpeg";
  if (bytes.starts_with("RIFF") && bytes.size() >= 12 && bytes.substr(8, 4) == "WEBP") {
    return "image/webp";
  }
  return "";
}

}  // namespace chat
