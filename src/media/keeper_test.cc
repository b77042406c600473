// The keeper and its children as processes: what they may not do, what it costs when they die, and
// that a request never waits for what will not come.
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include "base/sanitized.h"
#include "media/messages.h"
#include "media/pictures.h"
#include "media/samples_for_test.h"
#include "media/seal.h"

namespace media {
namespace {

std::span<const uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// As the supervisor keeps it: both ends of a socket, and a keeper on one of them.
class Kept {
 public:
  Kept() {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    ours_ = ends[0];
    theirs_ = Descriptor(ends[1]);
  }
  ~Kept() { kill(); }

  void start() {
    std::fflush(nullptr);
    keeper_ = ::fork();
    if (keeper_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::_exit(keeper_main(theirs_.get()));
    }
  }
  void kill() {
    if (keeper_ <= 0) return;
    ::kill(keeper_, SIGKILL);
    ::waitpid(keeper_, nullptr, 0);
    keeper_ = 0;
  }
  int wait_for_end() {
    int status = 0;
    ::waitpid(keeper_, &status, 0);
    keeper_ = 0;
    return status;
  }
  pid_t keeper() const { return keeper_; }
  int take_ours() { return std::exchange(ours_, -1); }
  void close_ours() { ::close(take_ours()); }
  void close_theirs() { theirs_.reset(); }

  // The child that reads a picture now; 0: there is none.
  pid_t child() const {
    const std::string pid = std::to_string(keeper_);
    std::ifstream file("/proc/" + pid + "/task/" + pid + "/children");
    pid_t child = 0;
    file >> child;
    return child;
  }

 private:
  int ours_ = -1;
  Descriptor theirs_;
  pid_t keeper_ = 0;
};

// Takes a good part of a second to read, so that there is something to kill.
const std::string& slow_picture() {
  static const std::string file = samples::white_png(8000, 8000);
  return file;
}

TEST(Keeper, ReadsAsThisProcessWould) {
  auto reader = start_picture_reader();
  ASSERT_TRUE(reader.has_value());
  for (const Fit fit : {Fit{}, Fit{96, 14, 127}, Fit{1024, 1, 0}}) {
    const std::string file = samples::jpeg({.width = 300, .height = 200});
    const auto there = (*reader)->fit(bytes_of(file), fit);
    ASSERT_TRUE(there.has_value()) << there.error().message();
    EXPECT_EQ(*there, *decode_and_fit(bytes_of(file), fit));
  }
  EXPECT_EQ((*reader)->fit({}, Fit{}).error().kind, base::ErrorKind::invalid_input);
  EXPECT_EQ((*reader)->fit(std::vector<uint8_t>(picture_bytes_max + 1), Fit{}).error().kind,
            base::ErrorKind::limit_exceeded);
  EXPECT_EQ((*reader)->fit(bytes_of("text"), Fit{2000, 1, 0}).error().kind,
            base::ErrorKind::invalid_input);
}

TEST(Keeper, AKilledChildCostsItsOwnPictureOnly) {
  Kept kept;
  kept.start();
  const auto reader = picture_reader(kept.take_ours());
  const std::string small = samples::png(20, 20);
  int unavailable = 0;
  // The child may end before it is found; then another is tried.
  for (int attempt = 0; attempt < 50 && unavailable == 0; ++attempt) {
    std::atomic<bool> over = false;
    base::Result<std::vector<uint8_t>> read;
    std::thread waiting([&] {
      read = reader->fit(bytes_of(slow_picture()), Fit{});
      over = true;
    });
    pid_t child = 0;
    while (!over && child == 0) child = kept.child();
    if (child != 0) ::kill(child, SIGKILL);
    waiting.join();
    if (read) continue;
    EXPECT_EQ(read.error().kind, base::ErrorKind::unavailable) << read.error().message();
    ++unavailable;
    EXPECT_TRUE(reader->fit(bytes_of(small), Fit{}).has_value());
  }
  EXPECT_EQ(unavailable, 1);
}

TEST(Keeper, AKilledKeeperIsFollowedByAnother) {
  Kept kept;
  kept.start();
  const auto reader = picture_reader(kept.take_ours());
  const std::string small = samples::png(20, 20);
  ASSERT_TRUE(reader->fit(bytes_of(small), Fit{}).has_value());
  int unavailable = 0;
  for (int attempt = 0; attempt < 50 && unavailable == 0; ++attempt) {
    std::atomic<bool> over = false;
    base::Result<std::vector<uint8_t>> read;
    std::thread waiting([&] {
      read = reader->fit(bytes_of(slow_picture()), Fit{});
      over = true;
    });
    pid_t child = 0;
    while (!over && child == 0) child = kept.child();
    kept.kill();
    kept.start();
    waiting.join();
    unavailable += !read;
    if (!read) {
      EXPECT_EQ(read.error().kind, base::ErrorKind::unavailable) << read.error().message();
    }
    if (child != 0 && !read) {  // it died with its keeper
      EXPECT_TRUE(::kill(child, 0) != 0 || kept.child() != child);
    }
    const auto next = reader->fit(bytes_of(small), Fit{});
    EXPECT_TRUE(next.has_value()) << next.error().message();
  }
  EXPECT_EQ(unavailable, 1);
}

TEST(Keeper, WhatNoKeeperHasSeenWaitsForTheNext) {
  Kept kept;
  const auto reader = picture_reader(kept.take_ours());
  base::Result<std::vector<uint8_t>> read;
  const std::string small = samples::png(20, 20);
  std::thread waiting([&] { read = reader->fit(bytes_of(small), Fit{}); });
  kept.start();
  waiting.join();
  ASSERT_TRUE(read.has_value()) << read.error().message();
  EXPECT_EQ(*read, *decode_and_fit(bytes_of(small), Fit{}));
}

TEST(Keeper, ItsEndWithoutSuccessorIsAnErrorAtOnce) {
  Kept kept;
  kept.start();
  kept.close_theirs();
  const auto reader = picture_reader(kept.take_ours());
  const std::string small = samples::png(20, 20);
  ASSERT_TRUE(reader->fit(bytes_of(small), Fit{}).has_value());
  kept.kill();
  const auto read = reader->fit(bytes_of(small), Fit{});
  ASSERT_FALSE(read.has_value());
  EXPECT_EQ(read.error().kind, base::ErrorKind::unavailable);
}

TEST(Keeper, EndsWhenNobodyCanAskAnyMore) {
  Kept kept;
  kept.start();
  kept.close_ours();
  EXPECT_EQ(kept.wait_for_end(), 0);
}

// Reads replies until one of `kind` comes.
bool expect_reply(int socket, ReplyKind kind) {
  for (;;) {
    pollfd wait{socket, POLLIN, 0};
    if (::poll(&wait, 1, 10'000) != 1) return false;
    Reply reply;
    Descriptor fd;
    if (receive_one(socket, &reply, &fd) != Received::yes) return false;
    if (reply.kind == kind) return true;
  }
}

TEST(Keeper, RefusesRequestsThatAreNone) {
  Kept kept;
  kept.start();
  const int socket = kept.take_ours();
  ASSERT_TRUE(expect_reply(socket, ReplyKind::hello));
  Request request;
  request.id = 1;
  request.side = 16, request.min_side = 1;
  // No memory; memory that could still shrink; a magic that is not ours; one that is too short.
  EXPECT_EQ(send_one(socket, request), Sent::yes);
  EXPECT_TRUE(expect_reply(socket, ReplyKind::malformed));
  const Descriptor open(::memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::write(open.get(), "data", 4), 4);
  ++request.id;
  EXPECT_EQ(send_one(socket, request, open.get()), Sent::yes);
  EXPECT_TRUE(expect_reply(socket, ReplyKind::malformed));
  ASSERT_EQ(::fcntl(open.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE), 0);
  request.magic ^= 1, ++request.id;
  EXPECT_EQ(send_one(socket, request, open.get()), Sent::yes);
  EXPECT_TRUE(expect_reply(socket, ReplyKind::malformed));
  EXPECT_EQ(base::send_message(socket, "x", 1, open.get()), Sent::yes);
  // A canvas of no size: the child refuses it.
  request.magic ^= 1, ++request.id, request.side = -5;
  EXPECT_EQ(send_one(socket, request, open.get()), Sent::yes);
  EXPECT_TRUE(expect_reply(socket, ReplyKind::done));
  ::close(socket);
  EXPECT_EQ(kept.wait_for_end(), 0);
}

// What a result says is not believed: a peer of ours that lies.
TEST(Reader, BelievesNoResult) {
  const auto answered = [](const std::string& file, ReplyKind kind) {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    const auto reader = picture_reader(ends[0]);
    const Descriptor peer(ends[1]);
    std::thread liar([&] {
      pollfd wait{peer.get(), POLLIN, 0};
      ::poll(&wait, 1, 10'000);
      Request request;
      Descriptor picture;
      if (receive_one(peer.get(), &request, &picture) != Received::yes) return;
      const Descriptor result(::memfd_create("lie", 0));
      if (::write(result.get(), file.data(), file.size()) < 0) return;
      Reply reply;
      reply.kind = kind;
      reply.id = request.id + 1;  // of another request: ignored
      send_one(peer.get(), reply);
      reply.id = request.id;
      send_one(peer.get(), reply, result.get());
    });
    const auto read = reader->fit(bytes_of("picture"), Fit{4, 1, 0});
    liar.join();
    return read ? base::ErrorKind::internal : read.error().kind;
  };
  const auto head = [](uint32_t error, uint32_t what) {
    ResultHead made;
    made.error = error;
    made.what_bytes = what;
    return std::string(reinterpret_cast<const char*>(&made), sizeof(made));
  };
  using base::ErrorKind;
  EXPECT_EQ(answered("", ReplyKind::done), ErrorKind::unavailable);
  EXPECT_EQ(answered(head(0, 0) + "too short", ReplyKind::done), ErrorKind::unavailable);
  EXPECT_EQ(answered(head(4'000'000, 0), ReplyKind::done), ErrorKind::unavailable);
  EXPECT_EQ(answered(head(1, 0xFFFFFFFF), ReplyKind::done), ErrorKind::unavailable);
  EXPECT_EQ(answered(head(1, 4) + "w\x1b\xff!", ReplyKind::done), ErrorKind::invalid_input);
  EXPECT_EQ(answered("", ReplyKind::over_time), ErrorKind::limit_exceeded);
  EXPECT_EQ(answered("", ReplyKind::late), ErrorKind::unavailable);
  EXPECT_EQ(answered("", static_cast<ReplyKind>(77)), ErrorKind::unavailable);
}

// Runs `attack` in a forked process after `seal`; its exit code is how many ways out were open.
template <class Seal>
int open_ways(const Seal& seal) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    seal();
    int open = 0;
    const auto tried = [&](long result) { open += result >= 0; };
    tried(::socket(AF_INET, SOCK_STREAM, 0));
    tried(::socket(AF_UNIX, SOCK_STREAM, 0));
    tried(::open("/etc/passwd", O_RDONLY));
    tried(::open("/proc/self/mem", O_RDWR));
    tried(::openat(AT_FDCWD, "/tmp", O_TMPFILE | O_RDWR, 0600));
    // What is not there: ENOENT says that it was looked for.
    const auto looked = [&](int result) { open += result == 0 || errno == ENOENT; };
    looked(::unlink("/tmp/nautile-no-such-file"));
    char* const none[] = {nullptr};
    looked(::execve("/tmp/nautile-no-such-file", none, none));
    if (seal.child) tried(::kill(::getppid(), 0));
    tried(::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
                  MAP_FAILED
              ? -1
              : 0);
    if (seal.child) tried(::fork());
    ::_exit(open);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

struct KeeperSeal {
  static constexpr bool child = false;
  void operator()() const { seal_keeper(); }
};
struct ChildSeal {
  static constexpr bool child = true;
  void operator()() const {
    const CallFilter filter = child_filter();
    seal_keeper();
    seal_child({0, 4096, 5}, filter);
  }
};
struct NoSeal {
  static constexpr bool child = true;
  void operator()() const {}
};

TEST(Seal, LeavesNoWayOut) {
  EXPECT_EQ(open_ways(KeeperSeal{}), 0);
  EXPECT_EQ(open_ways(ChildSeal{}), 0);
  EXPECT_GE(open_ways(NoSeal{}), 5);  // the test sees an open way
}

TEST(Seal, AChildThatTakesTooMuchIsEnded) {
  const auto ended_by = [](const auto& what) {
    std::fflush(nullptr);
    const pid_t child = ::fork();
    if (child == 0) {
      seal_child({address_space_bytes() + (16 << 20), 4096, 1}, child_filter());
      what();
      ::_exit(7);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
  };
  EXPECT_EQ(ended_by([] {
              for (std::atomic<int> i = 0;; ++i) {
              }
            }),
            SIGXCPU);
  if (base::sanitized) return;  // its address space has no limit
  EXPECT_EQ(ended_by([] {
              void* more = std::malloc(64 << 20);
              ::_exit(more == nullptr ? 3 : 4);
            }),
            -3);
}

}  // namespace
}  // namespace media
