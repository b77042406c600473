// Confinement of one process by itself, irrevocably, in the order of the privacy promise: new user
// and network namespace, Landlock for files, capabilities dropped, seccomp for the rest. Works as
// root and unprivileged. A layer that the machine does not have is reported, and the others hold.
//
// seal_process() must be called while the process has one thread (the kernel refuses a new user
// namespace afterwards), after everything that it needs has been opened and before anything foreign
// is read. There is no way back; descriptors that are already open stay usable.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace app {

struct SealPlan {
  std::vector<std::string> read_only;   // files, or directories with what is below them
  std::vector<std::string> read_write;  // directories
  bool accepts_connections = false;     // the gate: accept() on an inherited listener
  // For tests: leave a layer out, or hold Landlock to an older kernel's interface.
  bool namespaces = true, landlock = true, seccomp = true;
  int landlock_abi_max = 1000;
};

struct SealReport {
  bool user_namespace = false;  // not needed, and not made, as root
  bool network_namespace = false;
  int landlock_abi = 0;  // the interface in use; 0: none
  bool seccomp = false;
  bool no_new_privileges = false;
  std::vector<std::string> missing;  // for a person: which layer, and why

  int layers() const { return network_namespace + (landlock_abi > 0) + seccomp; }  // of three
  base::Json to_json() const;
  static base::Result<SealReport> from_json(const base::Json& json);
};

SealReport seal_process(const SealPlan& plan);

// No core dump, no reading by other processes of the same user. Also for processes that do not
// seal themselves.
void forbid_dumps();

// What the kernel says of a running process of ours; absent values could not be read.
struct KernelView {
  bool running = false;
  int seccomp_mode = -1;  // 2: filtered
  int no_new_privileges = -1;
  int threads = 0;
};
KernelView kernel_view(int pid);

}  // namespace app
