#include "format/byte_source.h"

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <sys/stat.h>
#include <unistd.h>

namespace format {
namespace {

using base::ErrorKind;
using base::fail;

std::string last_part(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  const size_t slash = path.rfind('/');
  if (slash != std::string_view::npos && slash + 1 < path.size()) path.remove_prefix(slash + 1);
  return std::string(path);
}

// File names are shown without quotes when they are ordinary.
std::string shown_file(std::string_view name) {
  std::string shown = base::shown_name(name);
  if (shown.size() == name.size() + 2) return shown.substr(1, name.size());
  return shown;
}

// Direct reads begin and end at multiples of this, in the file and in memory.
constexpr uint64_t direct_alignment_bytes = 4096;

struct FreeMemory {
  void operator()(uint8_t* memory) const { std::free(memory); }
};

class FileSource final : public ByteSource {
 public:
  FileSource(int descriptor, uint64_t size, std::string shown)
      : descriptor_(descriptor), size_(size), shown_(std::move(shown)) {}
  ~FileSource() override { ::close(descriptor_); }

  uint64_t size() const override { return size_; }
  const std::string& shown() const override { return shown_; }
  base::Result<void> read(uint64_t at, std::span<uint8_t> out) const override {
    if (at > size_ || out.size() > size_ - at) {
      return fail(
          ErrorKind::invalid_input,
          fmt::format("{}: {} bytes at {} are past the end of the file", shown_, out.size(), at),
          fmt::format("the file has {} bytes", size_));
    }
    return direct_.load(std::memory_order_relaxed) ? read_direct(at, out) : read_all(at, out, 0);
  }

  void bypass_page_cache() const override {
    const int flags = ::fcntl(descriptor_, F_GETFL);
    if (flags < 0 || ::fcntl(descriptor_, F_SETFL, flags | O_DIRECT) != 0) return;
    direct_.store(true, std::memory_order_relaxed);
  }

 private:
  // Whole aligned blocks, copied from there. A file system that takes O_DIRECT and then refuses the
  // alignment is read in the ordinary way.
  base::Result<void> read_direct(uint64_t at, std::span<uint8_t> out) const {
    const uint64_t begin = at / direct_alignment_bytes * direct_alignment_bytes;
    const uint64_t need = at + out.size() - begin;
    const uint64_t whole =
        (need + direct_alignment_bytes - 1) / direct_alignment_bytes * direct_alignment_bytes;
    const std::unique_ptr<uint8_t, FreeMemory> blocks(
        static_cast<uint8_t*>(std::aligned_alloc(direct_alignment_bytes, whole)));
    if (!blocks) return fail(ErrorKind::out_of_memory, "no memory to read " + shown_);
    TRY(read_all(begin, {blocks.get(), whole}, whole - need));
    std::memcpy(out.data(), blocks.get() + (at - begin), out.size());
    return {};
  }

  // The last `spare` bytes may be missing: they are past the end of the file.
  base::Result<void> read_all(uint64_t at, std::span<uint8_t> out, uint64_t spare) const {
    size_t done = 0;
    bool ordinary = false;  // direct reading was given up
    while (done < out.size() - spare) {
      const ssize_t got =
          ::pread(descriptor_, out.data() + done, out.size() - done, static_cast<off_t>(at + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == EINVAL && !ordinary) {
        ordinary = true;
        direct_.store(false, std::memory_order_relaxed);
        (void)::fcntl(descriptor_, F_SETFL, ::fcntl(descriptor_, F_GETFL) & ~O_DIRECT);
        continue;
      }
      if (got < 0) {
        return fail(ErrorKind::io, fmt::format("{}: cannot be read", shown_), strerror(errno),
                    "check the disk that the file lies on, or copy the file to another one");
      }
      if (got == 0) {
        return fail(ErrorKind::io, fmt::format("{}: became shorter while it was read", shown_), "",
                    "do not change a model file while it is loaded");
      }
      done += static_cast<size_t>(got);
    }
    return {};
  }

  int descriptor_;
  mutable std::atomic<bool> direct_{false};
  uint64_t size_;
  std::string shown_;
};

class MemorySource final : public ByteSource {
 public:
  MemorySource(std::span<const uint8_t> bytes, std::string_view name)
      : bytes_(bytes.begin(), bytes.end()), shown_(shown_file(name)) {}
  uint64_t size() const override { return bytes_.size(); }
  const std::string& shown() const override { return shown_; }
  base::Result<void> read(uint64_t at, std::span<uint8_t> out) const override {
    if (at > bytes_.size() || out.size() > bytes_.size() - at) {
      return fail(ErrorKind::invalid_input, fmt::format("{}: read past the end", shown_));
    }
    if (!out.empty()) std::memcpy(out.data(), bytes_.data() + at, out.size());
    return {};
  }

 private:
  std::vector<uint8_t> bytes_;
  std::string shown_;
};

// The path with every link resolved, or nothing (errno says why).
std::optional<std::string> resolved(const std::string& path) {
  char* real = ::realpath(path.c_str(), nullptr);
  if (real == nullptr) return std::nullopt;
  std::string out(real);
  ::free(real);
  return out;
}

bool is_inside(const std::string& path, const std::string& directory) {
  const std::string prefix = directory == "/" ? "/" : directory + "/";
  return path.size() > prefix.size() && path.compare(0, prefix.size(), prefix) == 0;
}

// models--org--name/snapshots/REVISION keeps its files as links into models--org--name/blobs.
std::optional<std::string> cache_blobs_of(const std::string& directory) {
  const size_t last = directory.rfind('/');
  if (last == std::string::npos || last == 0) return std::nullopt;
  const std::string parent = directory.substr(0, last);
  const std::string_view suffix = "/snapshots";
  if (parent.size() <= suffix.size() || !parent.ends_with(suffix)) return std::nullopt;
  return parent.substr(0, parent.size() - suffix.size()) + "/blobs";
}

base::Result<std::unique_ptr<ByteSource>> open_regular(const std::string& path, int extra_flags,
                                                       std::string shown) {
  // O_NONBLOCK: opening a pipe or a device by mistake must not wait.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | extra_flags);
  if (descriptor < 0) {
    const int why = errno;
    return fail(why == ENOENT || why == ENOTDIR ? ErrorKind::not_found : ErrorKind::io,
                fmt::format("{}: cannot be opened", shown), strerror(why));
  }
  struct stat status {};
  if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor);
    return fail(ErrorKind::invalid_input, fmt::format("{}: is not a regular file", shown));
  }
  return std::unique_ptr<ByteSource>(std::make_unique<FileSource>(
      descriptor, static_cast<uint64_t>(status.st_size), std::move(shown)));
}

}  // namespace

base::Result<std::unique_ptr<ByteSource>> open_file(const std::string& path) {
  if (path.empty() || path.find('\0') != std::string::npos) {
    return fail(ErrorKind::not_found, "the path of the model is empty or holds a NUL");
  }
  return open_regular(path, 0, shown_file(last_part(path)));
}

std::unique_ptr<ByteSource> memory_source(std::span<const uint8_t> bytes, std::string_view name) {
  return std::make_unique<MemorySource>(bytes, name);
}

base::Result<std::unique_ptr<ByteSource>> open_in_directory(const std::string& directory,
                                                            std::string_view name) {
  const std::string shown = shown_file(name);
  if (name.empty() || name == "." || name == ".." || name.size() > 255 ||
      name.find_first_of(std::string_view("/\\\0", 3)) != std::string_view::npos) {
    return fail(ErrorKind::invalid_input,
                fmt::format("{} is not a plain file name", base::shown_name(name)),
                "files of a model must stand in its own directory");
  }
  const auto home = resolved(directory);
  if (!home) {
    return fail(ErrorKind::not_found, fmt::format("{}: no such directory", shown_file(directory)));
  }
  const std::string entry = *home + "/" + std::string(name);
  struct stat status {};
  if (::lstat(entry.c_str(), &status) != 0) {
    return fail(errno == ENOENT ? ErrorKind::not_found : ErrorKind::io,
                fmt::format("{}: is missing", shown), strerror(errno));
  }
  if (!S_ISLNK(status.st_mode)) return open_regular(entry, O_NOFOLLOW, shown);
  const auto target = resolved(entry);
  if (!target) {
    return fail(ErrorKind::invalid_input, fmt::format("{}: is a link that leads nowhere", shown),
                strerror(errno));
  }
  const auto blobs = cache_blobs_of(*home);
  if (!is_inside(*target, *home) && !(blobs && is_inside(*target, *blobs))) {
    return fail(ErrorKind::invalid_input,
                fmt::format("{}: is a link to a place outside of the model's directory", shown), "",
                "copy the file itself into the directory");
  }
  return open_regular(*target, O_NOFOLLOW, shown);
}

base::Result<std::string> read_text(const ByteSource& source, uint64_t bytes_max) {
  if (source.size() > bytes_max) {
    return fail(ErrorKind::limit_exceeded, fmt::format("{}: has {} bytes, at most {} are read",
                                                       source.shown(), source.size(), bytes_max));
  }
  std::string text(source.size(), '\0');
  TRY(source.read(0, {reinterpret_cast<uint8_t*>(text.data()), text.size()}));
  return text;
}

}  // namespace format
