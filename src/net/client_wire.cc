#include "net/client_wire.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <optional>

namespace net {
namespace {

namespace asio = boost::asio;
namespace ssl = boost::asio::ssl;
using Tcp = asio::ip::tcp;
using ErrorCode = boost::system::error_code;
using SteadyClock = std::chrono::steady_clock;

constexpr size_t read_bytes = 256 * 1024;
constexpr auto cancel_poll = std::chrono::milliseconds(50);
constexpr size_t tunnel_answer_bytes_max = 16 * 1024;

struct Waited {
  ErrorCode error;
  size_t bytes = 0;
  bool finished = false, timed_out = false, cancelled = false;
  bool ok() const { return !timed_out && !cancelled && !error; }
};

class AsioWire final : public Wire {
 public:
  AsioWire(const Url& url, const std::function<bool()>& cancelled)
      : url_(url), cancelled_(cancelled), socket_(context_), resolver_(context_) {}

  base::Result<void> connect(const Proxy* proxy, ssl::context* tls, int timeout_ms);
  base::Result<void> write(std::string_view bytes, int timeout_ms) override;
  base::Result<bool> read(std::string& in, int timeout_ms) override;

 private:
  template <class Start>
  Waited wait(SteadyClock::time_point until, Start start);
  base::Result<void> reach(const Url& first, SteadyClock::time_point until);
  base::Result<void> tunnel(const Proxy& proxy, SteadyClock::time_point until);
  base::Result<void> shake_hands(ssl::context& tls, SteadyClock::time_point until);
  tl::unexpected<base::Error> failure(const Waited& waited, std::string why) const;

  const Url url_;
  const std::function<bool()>& cancelled_;
  asio::io_context context_{1};
  Tcp::socket socket_;
  Tcp::resolver resolver_;
  std::optional<ssl::stream<Tcp::socket&>> tls_;
};

SteadyClock::time_point after_ms(int timeout_ms) {
  return SteadyClock::now() + std::chrono::milliseconds(timeout_ms);
}

// Starts one operation and runs the loop until it has ended, by itself or because it was closed.
template <class Start>
Waited AsioWire::wait(SteadyClock::time_point until, Start start) {
  Waited waited;
  start([&waited](const ErrorCode& error, size_t bytes) {
    waited.error = error;
    waited.bytes = bytes;
    waited.finished = true;
  });
  context_.restart();
  while (!waited.finished) {
    context_.run_one_for(cancel_poll);
    if (waited.finished) break;
    waited.cancelled = cancelled_ && cancelled_();
    waited.timed_out = SteadyClock::now() >= until;
    if (!waited.cancelled && !waited.timed_out) continue;
    resolver_.cancel();
    ErrorCode ignored;
    socket_.close(ignored);
    context_.run();  // the operation ends now, and nothing refers to `waited` any more
  }
  return waited;
}

tl::unexpected<base::Error> AsioWire::failure(const Waited& waited, std::string why) const {
  if (waited.cancelled) return base::fail(base::ErrorKind::interrupted, "the transfer was stopped");
  if (waited.timed_out) why = "it did not answer in time";
  return base::fail(base::ErrorKind::unavailable, url_.origin() + " cannot be reached",
                    std::move(why),
                    "check the network, and HTTPS_PROXY where there is a proxy; the same command "
                    "goes on from here");
}

base::Result<void> AsioWire::reach(const Url& first, SteadyClock::time_point until) {
  Tcp::resolver::results_type found;
  Waited waited = wait(until, [&](auto done) {
    auto resolved = [&found, done](const ErrorCode& error, Tcp::resolver::results_type results) {
      found = std::move(results);
      done(error, 0);
    };
    resolver_.async_resolve(first.host, std::to_string(first.port), std::move(resolved));
  });
  if (!waited.ok()) return failure(waited, "there is no address for " + first.host);
  waited = wait(until, [&](auto done) {
    auto connected = [done](const ErrorCode& error, const Tcp::endpoint&) { done(error, 0); };
    asio::async_connect(socket_, found, std::move(connected));
  });
  if (!waited.ok()) return failure(waited, waited.error.message());
  ErrorCode ignored;
  socket_.set_option(Tcp::no_delay(true), ignored);
  socket_.set_option(asio::socket_base::keep_alive(true), ignored);
  return {};
}

base::Result<void> AsioWire::tunnel(const Proxy& proxy, SteadyClock::time_point until) {
  const std::string there =
      (url_.host.find(':') == std::string::npos ? url_.host : "[" + url_.host + "]") + ":" +
      std::to_string(url_.port);
  std::string ask = "CONNECT " + there + " HTTP/1.1\r\nHost: " + there + "\r\n";
  if (!proxy.authorization.empty()) ask += "Proxy-Authorization: " + proxy.authorization + "\r\n";
  ask += "\r\n";
  Waited waited =
      wait(until, [&](auto done) { asio::async_write(socket_, asio::buffer(ask), done); });
  if (!waited.ok()) return failure(waited, "the proxy closed the connection");
  std::string answer;
  // One byte at a time: what follows the head belongs to TLS.
  while (!answer.ends_with("\r\n\r\n")) {
    char byte = 0;
    waited = wait(until, [&](auto done) { socket_.async_read_some(asio::buffer(&byte, 1), done); });
    if (!waited.ok()) return failure(waited, "the proxy closed the connection");
    answer += byte;
    if (answer.size() > tunnel_answer_bytes_max)
      return failure({}, "the proxy's answer is too large");
  }
  if (!answer.starts_with("HTTP/1.") || answer.size() < 12 || answer.substr(8, 2) != " 2") {
    const std::string line = answer.substr(0, std::min<size_t>(answer.find('\r'), 80));
    return failure({}, "the proxy refused: " + base::shown_name(line));
  }
  return {};
}

base::Result<void> AsioWire::shake_hands(ssl::context& tls, SteadyClock::time_point until) {
  tls_.emplace(socket_, tls);
  SSL_set_tlsext_host_name(tls_->native_handle(), url_.host.c_str());
  tls_->set_verify_callback(ssl::host_name_verification(url_.host));
  const Waited waited = wait(until, [&](auto done) {
    auto shaken = [done](const ErrorCode& error) { done(error, 0); };
    tls_->async_handshake(ssl::stream_base::client, std::move(shaken));
  });
  if (waited.ok()) return {};
  const long verified = SSL_get_verify_result(tls_->native_handle());
  if (!waited.timed_out && !waited.cancelled && verified != X509_V_OK) {
    return base::fail(base::ErrorKind::invalid_input,
                      "the certificate of " + url_.origin() + " does not hold",
                      X509_verify_cert_error_string(verified),
                      "install the package ca-certificates and check the clock; a company's own "
                      "authority can be named in SSL_CERT_FILE");
  }
  return failure(waited, "TLS failed: " + waited.error.message());
}

base::Result<void> AsioWire::connect(const Proxy* proxy, ssl::context* tls, int timeout_ms) {
  const auto until = after_ms(timeout_ms);
  TRY(reach(proxy != nullptr ? proxy->url : url_, until));
  if (tls == nullptr) return {};
  if (proxy != nullptr) TRY(tunnel(*proxy, until));
  return shake_hands(*tls, until);
}

base::Result<void> AsioWire::write(std::string_view bytes, int timeout_ms) {
  const Waited waited = wait(after_ms(timeout_ms), [&](auto done) {
    const auto buffer = asio::buffer(bytes.data(), bytes.size());
    if (tls_) {
      asio::async_write(*tls_, buffer, done);
    } else {
      asio::async_write(socket_, buffer, done);
    }
  });
  if (!waited.ok()) return failure(waited, waited.error.message());
  return {};
}

base::Result<bool> AsioWire::read(std::string& in, int timeout_ms) {
  const size_t before = in.size();
  in.resize(before + read_bytes);
  const Waited waited = wait(after_ms(timeout_ms), [&](auto done) {
    const auto buffer = asio::buffer(in.data() + before, read_bytes);
    if (tls_) {
      tls_->async_read_some(buffer, done);
    } else {
      socket_.async_read_some(buffer, done);
    }
  });
  in.resize(before + (waited.ok() ? waited.bytes : 0));
  if (waited.ok()) return true;
  if (!waited.timed_out && !waited.cancelled && waited.error == asio::error::eof) return false;
  return failure(waited, waited.error.message());
}

class AsioWireMaker final : public WireMaker {
 public:
  explicit AsioWireMaker(std::function<bool()> cancelled) : cancelled_(std::move(cancelled)) {}

  base::Result<std::unique_ptr<Wire>> connect(const Url& url, const Proxy* proxy,
                                              int timeout_ms) override {
    try {
      if (url.tls && !tls_) {
        tls_.emplace(ssl::context::tls_client);
        tls_->set_options(ssl::context::default_workarounds | ssl::context::no_sslv2 |
                          ssl::context::no_sslv3 | ssl::context::no_tlsv1 |
                          ssl::context::no_tlsv1_1);
        tls_->set_default_verify_paths();
        tls_->set_verify_mode(ssl::verify_peer);
      }
      auto wire = std::make_unique<AsioWire>(url, cancelled_);
      TRY(wire->connect(proxy, url.tls ? &*tls_ : nullptr, timeout_ms));
      return std::unique_ptr<Wire>(std::move(wire));
    } catch (const std::exception& error) {
      return base::fail(base::ErrorKind::unavailable, url.origin() + " cannot be reached",
                        error.what(), "check the network; the same command goes on from here");
    }
  }

 private:
  const std::function<bool()> cancelled_;
  std::optional<ssl::context> tls_;
};

}  // namespace

std::unique_ptr<WireMaker> make_wire_maker(std::function<bool()> cancelled) {
  return std::make_unique<AsioWireMaker>(std::move(cancelled));
}

}  // namespace net
