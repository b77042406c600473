#include "model/memory.h"

#include <algorithm>
#include <fmt/format.h>
#include <fstream>
#include <limits>
#include <string>
#include <unistd.h>

namespace model {
namespace {

constexpr uint64_t unknown = std::numeric_limits<uint64_t>::max();

uint64_t number_in(const std::string& path) {
  std::ifstream file(path);
  uint64_t value = 0;
  return file >> value ? value : unknown;  // "max" is no number: no limit
}

uint64_t meminfo_available_bytes() {
  std::ifstream file("/proc/meminfo");
  std::string key, unit;
  uint64_t kib = 0;
  while (file >> key >> kib) {
    if (key == "MemAvailable:") return kib << 10;
    std::getline(file, unit);
  }
  return unknown;
}

// A group's use counts the pages of files it has read; the kernel drops those when asked.
uint64_t droppable_bytes(const std::string& statistics) {
  std::ifstream file(statistics);
  std::string key;
  uint64_t value = 0;
  while (file >> key >> value) {
    if (key == "inactive_file" || key == "total_inactive_file") return value;
  }
  return 0;
}

uint64_t room(uint64_t limit, uint64_t current, uint64_t droppable) {
  if (limit == unknown || current == unknown) return unknown;
  current -= std::min(current, droppable);
  return limit > current ? limit - current : 0;
}

// Inside a container /sys/fs/cgroup is the own group; outside it is the root, which has no limit
// files.
uint64_t control_group_bytes() {
  const std::string v2 = "/sys/fs/cgroup/", v1 = "/sys/fs/cgroup/memory/memory.";
  return std::min(room(number_in(v2 + "memory.max"), number_in(v2 + "memory.current"),
                       droppable_bytes(v2 + "memory.stat")),
                  room(number_in(v1 + "limit_in_bytes"), number_in(v1 + "usage_in_bytes"),
                       droppable_bytes(v1 + "stat")));
}

std::string mib(uint64_t bytes) { return fmt::format("{} MiB", (bytes + (1 << 20) - 1) >> 20); }

std::string parts_text(const MemoryPlan& plan) {
  std::string text =
      fmt::format("weights {}, key/value cache {}, work space {}", mib(plan.weight_bytes),
                  mib(plan.kv_bytes), mib(plan.workspace_bytes));
  if (plan.picture_bytes > 0) text += ", pictures " + mib(plan.picture_bytes);
  if (plan.program_bytes > 0) text += ", program " + mib(plan.program_bytes);
  return text;
}

}  // namespace

uint64_t available_memory_bytes() {
  const uint64_t least = std::min(meminfo_available_bytes(), control_group_bytes());
  return least == unknown ? 0 : least;
}

uint64_t resident_memory_bytes() {
  std::ifstream file("/proc/self/statm");
  uint64_t size = 0, resident = 0;
  if (!(file >> size >> resident)) return 0;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

std::string memory_text(const MemoryPlan& plan) {
  return fmt::format("{} of memory: {}", mib(plan.total_bytes()), parts_text(plan));
}

base::Result<void> check_memory(const MemoryPlan& plan, uint64_t available_bytes) {
  if (plan.total_bytes() <= available_bytes) return {};
  return base::fail(
      base::ErrorKind::out_of_memory,
      fmt::format("the model needs {} of memory and {} is available", mib(plan.total_bytes()),
                  mib(available_bytes)),
      parts_text(plan),
      "choose a smaller model or quantisation, a shorter context, or free some memory");
}

}  // namespace model
