#include "net/loop.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <unistd.h>

namespace net {
namespace {

namespace asio = boost::asio;
using ErrorCode = boost::system::error_code;
using Descriptor = asio::posix::stream_descriptor;

class AsioWatch final : public Watch {
 public:
  AsioWatch(asio::io_context& context, int fd) : descriptor_(context, fd) {}
  int fd() const override { return const_cast<Descriptor&>(descriptor_).native_handle(); }
  void on_readable(std::function<void()> callback) override {
    wait(Descriptor::wait_read, std::move(callback));
  }
  void on_writable(std::function<void()> callback) override {
    wait(Descriptor::wait_write, std::move(callback));
  }
  void close() override {
    ErrorCode ignored;
    descriptor_.close(ignored);
  }

 private:
  void wait(Descriptor::wait_type what, std::function<void()> callback) {
    auto on_ready = [callback = std::move(callback)](const ErrorCode& error) {
      if (!error) callback();
    };
    descriptor_.async_wait(what, std::move(on_ready));
  }
  Descriptor descriptor_;
};

class AsioTimer final : public Timer {
 public:
  explicit AsioTimer(asio::io_context& context) : timer_(context) {}
  void after_ms(int64_t delay_ms, std::function<void()> callback) override {
    timer_.expires_after(std::chrono::milliseconds(delay_ms));
    auto on_time = [callback = std::move(callback)](const ErrorCode& error) {
      if (!error) callback();
    };
    timer_.async_wait(std::move(on_time));
  }

 private:
  asio::steady_timer timer_;
};

class AsioLoop final : public Loop {
 public:
  AsioLoop() : context_(1), guard_(asio::make_work_guard(context_)) {}
  void run() override { context_.run(); }
  void stop() override { context_.stop(); }
  void post(std::function<void()> callback) override { asio::post(context_, std::move(callback)); }
  std::unique_ptr<Watch> watch(int fd) override {
    try {
      return std::make_unique<AsioWatch>(context_, fd);
    } catch (const boost::system::system_error&) {
      ::close(fd);
      return nullptr;
    }
  }
  std::unique_ptr<Timer> timer() override { return std::make_unique<AsioTimer>(context_); }

 private:
  asio::io_context context_;
  asio::executor_work_guard<asio::io_context::executor_type> guard_;
};

}  // namespace

std::shared_ptr<Loop> Loop::make() { return std::make_shared<AsioLoop>(); }

}  // namespace net
