#include "format/output_file.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace format {
namespace {

using base::ErrorKind;
using base::fail;

constexpr uint64_t spare_bytes = 64 << 20;  // left to the rest of the machine

std::string directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

tl::unexpected<base::Error> refused(const std::string& path, std::string_view what, int why) {
  const bool full = why == ENOSPC || why == EDQUOT || why == EFBIG;
  return fail(full ? ErrorKind::out_of_disk : ErrorKind::io,
              fmt::format("{}: cannot be {}", base::shown_name(path), what), std::strerror(why),
              full ? "free some space, or name another place for the file"
                   : "check that the folder exists and is yours to write in");
}

base::Result<void> check_space(const std::string& path, const std::string& partial,
                               uint64_t bytes) {
  struct statvfs space {};
  if (::statvfs(directory_of(path).c_str(), &space) != 0) return refused(path, "made", errno);
  uint64_t free = static_cast<uint64_t>(space.f_bavail) * space.f_frsize;
  struct stat left {};  // what a killed process left will be overwritten
  if (::stat(partial.c_str(), &left) == 0) free += static_cast<uint64_t>(left.st_blocks) * 512;
  if (free >= bytes + spare_bytes) return {};
  return fail(ErrorKind::out_of_disk,
              fmt::format("{}: needs {:.2f} GiB", base::shown_name(path),
                          static_cast<double>(bytes) / (1 << 30)),
              fmt::format("{:.2f} GiB are free there", static_cast<double>(free) / (1 << 30)),
              "free some space, or name another place for the file");
}

}  // namespace

base::Result<std::unique_ptr<OutputFile>> OutputFile::create(const std::string& path,
                                                             uint64_t bytes, bool replace) {
  if (path.find('\0') != std::string::npos) return refused("", "made", EINVAL);
  struct stat there {};
  const bool exists = ::lstat(path.c_str(), &there) == 0;
  if (exists && (!replace || !S_ISREG(there.st_mode))) {
    return fail(ErrorKind::wrong_usage, fmt::format("{}: exists", base::shown_name(path)),
                S_ISREG(there.st_mode) ? "nothing is overwritten unasked"
                                       : "it is not a file that could be replaced",
                S_ISREG(there.st_mode) ? "give another name, or --force to replace it"
                                       : "give the name of a file");
  }
  const std::string partial = path + ".partial";
  TRY(check_space(path, partial, bytes));
  const int descriptor = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (descriptor < 0) return refused(partial, "made", errno);
  // It may have been given its final name, or taken away, between opening and locking.
  struct stat held {
  }, named{};
  if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0 || ::fstat(descriptor, &held) != 0 ||
      ::stat(partial.c_str(), &named) != 0 || held.st_ino != named.st_ino) {
    ::close(descriptor);
    return fail(ErrorKind::unavailable,
                fmt::format("{}: another process writes it", base::shown_name(partial)), "",
                "wait until it is done, or give another name");
  }
  auto file = std::unique_ptr<OutputFile>(new OutputFile(path, descriptor));
  if (::ftruncate(descriptor, 0) != 0) return refused(partial, "emptied", errno);
  // A file system that cannot take space beforehand is written to as it is.
  if (bytes > 0 && ::fallocate(descriptor, 0, 0, static_cast<off_t>(bytes)) != 0 &&
      errno != EOPNOTSUPP && errno != ENOSYS) {
    return refused(partial, "given its space", errno);
  }
  if (::ftruncate(descriptor, static_cast<off_t>(bytes)) != 0) {
    return refused(partial, "given its size", errno);
  }
  return file;
}

OutputFile::~OutputFile() {
  if (!finished_) ::unlink(partial_.c_str());
  ::close(descriptor_);
}

base::Result<void> OutputFile::write_at(uint64_t offset, std::span<const uint8_t> bytes) const {
  while (!bytes.empty()) {
    const ssize_t done =
        ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return refused(partial_, "written", done < 0 ? errno : EIO);
    offset += static_cast<uint64_t>(done);
    bytes = bytes.subspan(static_cast<size_t>(done));
  }
  return {};
}

base::Result<void> OutputFile::finish() {
  if (::fsync(descriptor_) != 0) return refused(partial_, "written to the disk", errno);
  if (::rename(partial_.c_str(), path_.c_str()) != 0) return refused(path_, "named", errno);
  finished_ = true;
  const int directory = ::open(directory_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory >= 0) {
    ::fsync(directory);
    ::close(directory);
  }
  return {};
}

}  // namespace format
