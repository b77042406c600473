// Where things lie on this machine: the XDG directories of a person, /var/lib and /etc for the
// service (running as root without NAUTILE_HOME and HOME pointing elsewhere is still a person's
// run; the service unit sets NAUTILE_HOME). NAUTILE_HOME moves all of it.
#pragma once

#include <string>

#include "base/result.h"

namespace app {

struct Places {
  std::string data;         // state and models; created with 0700
  std::string models;       // data + "/models"
  std::string config_file;  // nautile.toml; need not exist
};

base::Result<Places> find_places();
// Makes `path` and its parents, the last one with `mode`.
base::Result<void> make_directories(const std::string& path, unsigned mode);

// Text of a whole small file, at most `bytes_max`.
base::Result<std::string> read_file(const std::string& path, uint64_t bytes_max);
// Writes through a temporary name in the same directory, fsync, rename: a crash leaves the old file
// or the new one.
base::Result<void> write_file_atomically(const std::string& path, std::string_view bytes,
                                         unsigned mode);
// What a verb was told to write, 0644: "-" is standard output (what does not arrive there is found
// by finish_output()), a file is replaced whole or not at all, what is no file (a pipe, a device)
// is written to.
base::Result<void> write_output(const std::string& path, std::string_view bytes);

}  // namespace app
