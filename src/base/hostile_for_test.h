// What tests of hostile input share: the corpus as files, and what handling it took.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace base {

// Time of this thread alone: what is judged does not wait, and other programs do not count.
inline double cpu_seconds() {
  struct timespec now {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// "VmRSS:" or "VmHWM:" of this process, in bytes.
inline uint64_t memory_now(std::string_view field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field)) return std::stoull(line.substr(field.size() + 1)) << 10;
  }
  return 0;
}

// VmHWM counts from here.
inline void reset_peak_memory() { std::ofstream("/proc/self/clear_refs") << "5"; }

inline std::string file_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// The cases of tests/golden/hostile of these kinds ("png jpeg"), expanded into a folder of the
// build; empty if expand.py failed.
inline std::string expand_hostile_cases(const std::string& folder, const std::string& kinds) {
  const std::string out = std::string(NAUTILE_BINARY_DIR) + "/" + folder;
  const std::string command = "python3 " + std::string(NAUTILE_SOURCE_DIR) +
                              "/tests/golden/hostile/expand.py " + out + " --kind " + kinds +
                              " > " + out + ".log 2>&1";
  std::filesystem::create_directories(out);
  return std::system(command.c_str()) == 0 ? out : std::string();
}

}  // namespace base
