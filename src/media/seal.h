// The confinement of the keeper and of the child that decodes one picture: each allows itself a
// handful of system calls and nothing that could open, connect or run anything. (The server's own
// seal, which has more layers, lies around the keeper there; here is what also holds in a program
// that forks a keeper for itself.) A layer that the machine does not have is left out.
//
// Called while the process has one thread. There is no way back.
#pragma once

#include <cstdint>
#include <linux/filter.h>
#include <vector>

namespace media {

// A system call filter, ready to be put on: making one allocates, putting it on does not.
using CallFilter = std::vector<sock_filter>;
CallFilter child_filter();  // empty: there is no seccomp

// No new privileges, no core, no files (Landlock), then only what keeping needs: messages,
// anonymous memory, fork, wait.
void seal_keeper();

struct ChildLimits {
  uint64_t memory_bytes = 0;  // of address space, all told; 0: not limited
  uint64_t output_bytes = 0;  // of the file that it writes
  int cpu_seconds = 0;
};
// After fork. Nothing stays but arithmetic, memory and writing to what is open.
void seal_child(const ChildLimits& limits, const CallFilter& filter);

// Address space of this process now, bytes; 0: it cannot be known.
uint64_t address_space_bytes();

}  // namespace media
