#include "pull/disk.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace pull {
namespace {

base::Error failure(const std::string& what) {
  switch (errno) {
    case ENOSPC:
      return {base::ErrorKind::out_of_disk, what, "the disk is full",
              "free some space; the same command goes on from here"};
    case EDQUOT:
    case EFBIG:
      return {base::ErrorKind::out_of_disk, what, "a quota or size limit of this user is reached",
              "raise the limit (ulimit -f, quota); the same command goes on from here"};
    case ENOENT:
      return {base::ErrorKind::not_found, what, std::strerror(errno), "check the path"};
    default:
      return {base::ErrorKind::io, what, std::strerror(errno),
              "check the path, its permissions and the disk"};
  }
}

class PosixFile final : public File {
 public:
  PosixFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~PosixFile() override { ::close(fd_); }

  base::Result<uint64_t> size() override {
    struct stat info {};
    if (::fstat(fd_, &info) != 0) return base::fail(failure("cannot read " + path_));
    return static_cast<uint64_t>(info.st_size);
  }
  base::Result<void> write_at(uint64_t offset, std::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t put = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (put < 0 && errno == EINTR) continue;
      if (put <= 0) return base::fail(failure("cannot write " + path_));
      bytes.remove_prefix(static_cast<size_t>(put));
      offset += static_cast<uint64_t>(put);
    }
    return {};
  }
  base::Result<size_t> read_at(uint64_t offset, char* out, size_t bytes) override {
    size_t done = 0;
    while (done < bytes) {
      const ssize_t got = ::pread(fd_, out + done, bytes - done, static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return base::fail(failure("cannot read " + path_));
      if (got == 0) break;
      done += static_cast<size_t>(got);
    }
    return done;
  }
  base::Result<void> sync() override {
    if (::fdatasync(fd_) != 0) return base::fail(failure("cannot write " + path_));
    return {};
  }
  base::Result<void> resize(uint64_t bytes) override {
    if (::ftruncate(fd_, static_cast<off_t>(bytes)) != 0) {
      return base::fail(failure("cannot write " + path_));
    }
    return {};
  }
  base::Result<void> reserve(uint64_t bytes) override {
    if (bytes == 0 || ::fallocate(fd_, 0, 0, static_cast<off_t>(bytes)) == 0) return {};
    if (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINTR) return resize(bytes);
    return base::fail(failure("there is no room for " + path_));
  }

 private:
  const int fd_;
  const std::string path_;
};

class PosixDisk final : public Disk {
 public:
  base::Result<std::unique_ptr<File>> open_alone(const std::string& path) override {
    for (;;) {
      const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
      if (fd < 0) return base::fail(failure("cannot write " + path));
      auto file = std::make_unique<PosixFile>(fd, path);
      if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
        return base::fail(base::ErrorKind::unavailable, "another pull is fetching " + path, "",
                          "wait until it is done, or stop it; nothing is lost");
      }
      // The other one may have given the file its final name between our open and our lock.
      struct stat here {
      }, there{};
      if (::fstat(fd, &here) == 0 && ::stat(path.c_str(), &there) == 0 &&
          here.st_ino == there.st_ino && here.st_dev == there.st_dev) {
        return std::unique_ptr<File>(std::move(file));
      }
    }
  }
  base::Result<std::unique_ptr<File>> open_to_read(const std::string& path) override {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return base::fail(failure("cannot open " + path));
    return std::unique_ptr<File>(std::make_unique<PosixFile>(fd, path));
  }
  std::optional<FileInfo> info(const std::string& path) override {
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return std::nullopt;
    return FileInfo{static_cast<uint64_t>(info.st_size),
                    static_cast<uint64_t>(info.st_blocks) * 512,
                    info.st_mtim.tv_sec * 1'000'000'000ll + info.st_mtim.tv_nsec};
  }
  base::Result<void> rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) return base::fail(failure("cannot name " + to));
    return sync_directory(to);
  }
  base::Result<void> remove(const std::string& path) override {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
      return base::fail(failure("cannot remove " + path));
    }
    return sync_directory(path);
  }
  base::Result<void> make_directories(const std::string& path) override {
    for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
      const std::string part = path.substr(0, slash);
      if (::mkdir(part.c_str(), 0755) != 0 && errno != EEXIST) {
        return base::fail(failure("cannot make the directory " + part));
      }
      if (slash == std::string::npos) return {};
    }
  }
  base::Result<uint64_t> free_bytes(const std::string& path) override {
    struct statvfs info {};
    if (::statvfs(path.c_str(), &info) != 0) return base::fail(failure("cannot look at " + path));
    return static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
  }
  base::Result<std::string> read_small(const std::string& path, size_t bytes_max) override {
    ASSIGN(const auto file, open_to_read(path));
    ASSIGN(const uint64_t bytes, file->size());
    if (bytes > bytes_max) {
      return base::fail(base::ErrorKind::limit_exceeded, path + " is too large",
                        fmt::format("at most {} bytes are read", bytes_max));
    }
    std::string text(bytes, '\0');
    ASSIGN(const size_t got, file->read_at(0, text.data(), text.size()));
    text.resize(got);
    return text;
  }
  base::Result<void> write_small(const std::string& path, std::string_view bytes) override {
    const std::string partial = path + ".new";
    {
      ASSIGN(const auto file, open_alone(partial));
      TRY(file->resize(0));
      TRY(file->write_at(0, bytes));
      TRY(file->sync());
    }
    return rename(partial, path);
  }

 private:
  static base::Result<void> sync_directory(const std::string& path) {
    const std::string directory = path.substr(0, std::max<size_t>(path.rfind('/'), 1));
    const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return base::fail(failure("cannot open " + directory));
    const bool synced = ::fsync(fd) == 0 || errno == EINVAL;
    ::close(fd);
    if (!synced) return base::fail(failure("cannot write " + directory));
    return {};
  }
};

}  // namespace

std::unique_ptr<Disk> make_disk() { return std::make_unique<PosixDisk>(); }

}  // namespace pull
