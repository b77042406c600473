#include "app/places.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>

namespace app {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

base::Result<void> io_failure(const std::string& what) {
  const bool full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
  const auto kind = full              ? base::ErrorKind::out_of_disk
                    : errno == ENOENT ? base::ErrorKind::not_found
                                      : base::ErrorKind::io;
  return base::fail(kind, what, std::strerror(errno),
                    kind == base::ErrorKind::out_of_disk ? "free some space and try again"
                                                         : "check the path and its permissions");
}

}  // namespace

base::Result<Places> find_places() {
  Places places;
  const std::string home = environment("NAUTILE_HOME");
  const std::string person = environment("HOME");
  if (!home.empty()) {
    places.data = home;
    places.config_file = home + "/nautile.toml";
  } else if (person.empty()) {
    return base::fail(base::ErrorKind::wrong_usage, "there is no home directory to keep state in",
                      "neither NAUTILE_HOME nor HOME is set", "set NAUTILE_HOME to a directory");
  } else {
    const std::string data = environment("XDG_DATA_HOME");
    const std::string config = environment("XDG_CONFIG_HOME");
    places.data = (data.empty() ? person + "/.local/share" : data) + "/nautile";
    places.config_file = (config.empty() ? person + "/.config" : config) + "/nautile/nautile.toml";
  }
  places.models = places.data + "/models";
  return places;
}

base::Result<void> make_directories(const std::string& path, unsigned mode) {
  for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const bool last = slash == std::string::npos;
    const std::string part = path.substr(0, slash);
    if (mkdir(part.c_str(), last ? mode : 0755) != 0 && errno != EEXIST) {
      return io_failure("cannot make the directory " + part);
    }
    if (last) return {};
  }
}

base::Result<std::string> read_file(const std::string& path, uint64_t bytes_max) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    TRY(io_failure("cannot open " + path));
  }
  std::string text;
  char buffer[64 * 1024];
  ssize_t got = 0;
  while ((got = read(fd, buffer, sizeof buffer)) > 0) {
    text.append(buffer, static_cast<size_t>(got));
    if (text.size() > bytes_max) break;
  }
  close(fd);
  if (got < 0) {
    TRY(io_failure("cannot read " + path));
  }
  if (text.size() > bytes_max) {
    return base::fail(base::ErrorKind::limit_exceeded, path + " is too large",
                      fmt::format("at most {} bytes are read", bytes_max));
  }
  return text;
}

base::Result<void> write_file_atomically(const std::string& path, std::string_view bytes,
                                         unsigned mode) {
  const std::string partial = path + ".partial";
  const int fd = open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  if (fd < 0) return io_failure("cannot write " + partial);
  size_t done = 0;
  bool written = true;
  while (written && done < bytes.size()) {
    const ssize_t put = write(fd, bytes.data() + done, bytes.size() - done);
    written = put > 0 || (put < 0 && errno == EINTR);
    if (put > 0) done += static_cast<size_t>(put);
  }
  written = written && fchmod(fd, mode) == 0 && fsync(fd) == 0;
  const int saved = errno;
  close(fd);
  if (!written || rename(partial.c_str(), path.c_str()) != 0) {
    if (!written) errno = saved;
    auto failure = io_failure("cannot write " + path);
    unlink(partial.c_str());
    return failure;
  }
  return {};
}

base::Result<void> write_output(const std::string& path, std::string_view bytes) {
  if (path == "-") {
    std::fwrite(bytes.data(), 1, bytes.size(), stdout);
    return {};
  }
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  if (!std::filesystem::exists(status) || std::filesystem::is_regular_file(status)) {
    return write_file_atomically(path, bytes, 0644);
  }
  std::FILE* file = std::fopen(path.c_str(), "wb");
  bool written =
      file != nullptr && std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  int reason = errno;
  if (file != nullptr && std::fclose(file) != 0) {
    if (written) reason = errno;
    written = false;
  }
  if (written) return {};
  errno = reason;
  return io_failure("cannot write " + path);
}

}  // namespace app
