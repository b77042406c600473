// A fixture with a folder of its own in the system's temporary one; it goes with the test.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>
#include <string>

#include "base/check.h"

namespace base {

class ScratchTest : public testing::Test {
 protected:
  ScratchTest() {
    std::string name = (std::filesystem::temp_directory_path() / "nautile-XXXXXX").string();
    CHECK(::mkdtemp(name.data()) != nullptr, "a folder for the test");
    folder_ = name;
  }
  ~ScratchTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  std::filesystem::path folder_;
};

}  // namespace base
