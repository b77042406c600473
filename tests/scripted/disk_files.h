// The site's files from a folder (web/dist), read once at the start: the browser tests need no new
// build of the program when the page changed.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "api/service.h"

namespace scripted {

class DiskFiles final : public api::StaticFiles {
 public:
  explicit DiskFiles(const std::string& folder);  // "": there are none
  const api::StaticFile* find(std::string_view path) const override;

 private:
  std::deque<std::string> texts_;  // what the views of files_ point into
  std::vector<api::StaticFile> files_;
};

}  // namespace scripted
