// The seal, attacked from inside: in a forked child that seals itself, as the real processes do.
#include "app/seal.h"

#include <arpa/inet.h>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <map>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include "app/self_attack.h"
#include "base/scratch_for_test.h"

namespace app {
namespace {

// Runs `body` in a child and gives back the JSON that it returned.
template <class Body>
base::Json in_child(Body body) {
  int pipe_ends[2];
  EXPECT_EQ(::pipe(pipe_ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string text = body().dump();
    const bool sent =
        ::write(pipe_ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size());
    ::_exit(sent ? 0 : 1);
  }
  ::close(pipe_ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t got; (got = ::read(pipe_ends[0], buffer, sizeof(buffer))) > 0;) {
    text.append(buffer, static_cast<size_t>(got));
  }
  ::close(pipe_ends[0]);
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0) << "the child ended early";
  auto json = base::parse_json(text, "the child");
  EXPECT_TRUE(json.has_value()) << text;
  return json ? *json : base::Json();
}

class SealTest : public base::ScratchTest {
 protected:
  void SetUp() override {
    root_ = folder_.string();
    for (const char* name : {"/allowed", "/readable", "/foreign"}) {
      std::filesystem::create_directory(root_ + name);
      std::ofstream(root_ + name + "/file") << "text";
    }
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    ASSERT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0);
    ASSERT_EQ(::listen(listener_, 64), 0);
    ASSERT_EQ(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    targets_.tcp_port = ntohs(address.sin_port);
    targets_.unix_path = root_ + "/socket";
    unix_listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un local{};
    local.sun_family = AF_UNIX;
    std::strncpy(local.sun_path, targets_.unix_path.c_str(), sizeof(local.sun_path) - 1);
    ASSERT_EQ(::bind(unix_listener_, reinterpret_cast<sockaddr*>(&local), sizeof(local)), 0);
    ASSERT_EQ(::listen(unix_listener_, 64), 0);
    targets_.foreign_file = root_ + "/foreign/file";
    targets_.foreign_directory = root_ + "/foreign";
  }
  void TearDown() override {
    ::close(listener_);
    ::close(unix_listener_);
  }
  SealPlan plan() const {
    SealPlan plan;
    plan.read_only = {root_ + "/readable", root_ + "/absent"};
    plan.read_write = {root_ + "/allowed"};
    return plan;
  }
  // The outcomes by name, after sealing with `plan`.
  std::map<std::string, bool> attack(const SealPlan& plan) {
    const base::Json list = in_child([&] {
      seal_process(plan);
      return attack_json(attack_self(targets_));
    });
    std::map<std::string, bool> refused;
    for (const base::Json& outcome : list.as_array()) {
      refused[outcome.find("name")->as_string()] = outcome.find("refused")->as_bool();
    }
    return refused;
  }
  std::string root_;
  AttackTargets targets_;
  int listener_ = -1, unix_listener_ = -1;
};

TEST_F(SealTest, UnsealedTheAttacksSucceed) {
  const base::Json list = in_child([&] { return attack_json(attack_self(targets_)); });
  int done = 0;
  for (const base::Json& outcome : list.as_array()) {
    const std::string& name = outcome.find("name")->as_string();
    if (outcome.find("needs_root")->as_bool()) continue;
    // A machine may refuse io_uring to everybody, and may have no IPv6.
    if (name == "io_uring" || name == "ipv6 socket") continue;
    EXPECT_FALSE(outcome.find("refused")->as_bool())
        << name << ": " << outcome.find("answer")->as_string();
    ++done;
  }
  EXPECT_GE(done, 10);
}

TEST_F(SealTest, SealedEveryAttackIsRefused) {
  for (const int abi : {1000, 2, 1}) {
    SealPlan sealed = plan();
    sealed.landlock_abi_max = abi;
    const auto refused = attack(sealed);
    EXPECT_GE(refused.size(), 26u);
    for (const auto& [name, was_refused] : refused) {
      EXPECT_TRUE(was_refused) << name << " with Landlock held to " << abi;
    }
  }
}

TEST_F(SealTest, EachLayerHoldsByItself) {
  SealPlan only = plan();
  only.namespaces = only.seccomp = false;
  auto refused = attack(only);
  EXPECT_TRUE(refused["read a foreign file"]);
  EXPECT_TRUE(refused["write a foreign file"]);
  EXPECT_FALSE(refused["udp datagram"]);  // Landlock alone lets it out: why there are three
  only = plan();
  only.landlock = only.seccomp = false;
  refused = attack(only);
  EXPECT_TRUE(refused["tcp connect"]);  // another loopback, with nobody on it
  EXPECT_TRUE(refused["udp datagram"]);
  EXPECT_FALSE(refused["tcp socket"]);
  only = plan();
  only.landlock = only.namespaces = false;
  refused = attack(only);
  for (const char* name : {"tcp socket", "udp datagram", "unix connect", "netlink socket",
                           "raw socket", "io_uring", "execve", "execveat", "ptrace",
                           "clone into a namespace", "x32 system call", "32-bit system call"}) {
    EXPECT_TRUE(refused[name]) << name;
  }
  EXPECT_FALSE(refused["read a foreign file"]);
}

TEST_F(SealTest, WhatIsAllowedStillWorks) {
  SealPlan gate = plan();
  gate.accepts_connections = true;
  const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(targets_.tcp_port));
  ASSERT_EQ(::connect(client, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  const base::Json result = in_child([&] {
    const SealReport report = seal_process(gate);
    const auto can_open = [&](const std::string& path, int flags) {
      return ::open((root_ + path).c_str(), flags | O_CLOEXEC, 0600) >= 0;
    };
    const int accepted = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    bool thread_ran = false;
    std::thread([&] { thread_ran = true; }).join();
    void* memory =
        ::mmap(nullptr, 1 << 21, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return base::Json::object(
        {{"read", can_open("/readable/file", O_RDONLY)},
         {"write to readable", can_open("/readable/file", O_WRONLY)},
         {"create", can_open("/allowed/new", O_RDWR | O_CREAT)},
         {"replace",
          ::rename((root_ + "/allowed/new").c_str(), (root_ + "/allowed/file").c_str()) == 0},
         {"accept", accepted >= 0},
         {"send", accepted >= 0 && ::send(accepted, "hi", 2, MSG_NOSIGNAL) == 2},
         {"thread", thread_ran},
         {"memory", memory != MAP_FAILED},
         {"report", report.to_json()}});
  });
  for (const char* name : {"read", "create", "replace", "accept", "send", "thread", "memory"}) {
    EXPECT_TRUE(result.find(name)->as_bool()) << name;
  }
  EXPECT_FALSE(result.find("write to readable")->as_bool());
  char bytes[2];
  EXPECT_EQ(::recv(client, bytes, 2, 0), 2);
  ::close(client);
  const auto report = SealReport::from_json(*result.find("report"));
  ASSERT_TRUE(report.has_value());
  EXPECT_TRUE(report->no_new_privileges);
  // What this machine lacks is named; the rest is on.
  EXPECT_EQ(report->layers() + static_cast<int>(report->missing.size()), 3);
}

TEST_F(SealTest, TheEngineCannotAccept) {
  const base::Json result = in_child([&] {
    seal_process(plan());
    const int got = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK);
    return base::Json(got < 0 && errno == EPERM);
  });
  EXPECT_TRUE(result.as_bool());
}

TEST(Seal, ReportsComeFromUsOnly) {
  EXPECT_FALSE(SealReport::from_json(base::Json("x")).has_value());
  EXPECT_FALSE(SealReport::from_json(base::Json::object()).has_value());
  const KernelView here = kernel_view(::getpid());
  EXPECT_TRUE(here.running);
  EXPECT_GE(here.threads, 1);
  EXPECT_FALSE(kernel_view(1 << 30).running);
}

}  // namespace
}  // namespace app
