#include "net/client.h"

#include <algorithm>

#include "net/answer_parser.h"
#include "net/client_wire.h"
#include "net/http_parser.h"
#include "net/http_text.h"

namespace net {
namespace {

constexpr int interim_answers_max = 8;                 // 100 Continue, 103 Early Hints
constexpr int64_t drained_body_bytes_max = 64 * 1024;  // of a redirect, to keep the connection

tl::unexpected<base::Error> refused(const Url& url, std::string why) {
  return base::fail(base::ErrorKind::invalid_input,
                    "the answer of " + url.origin() + " is not acceptable", std::move(why),
                    "try again later, or set another endpoint");
}

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// Drops everything: what a redirect says beside its Location.
class Drain final : public BodySink {
 public:
  base::Result<bool> head(const ClientAnswer&) override { return true; }
  base::Result<bool> bytes(std::string_view) override { return true; }
};

class HttpClient final : public Client {
 public:
  explicit HttpClient(ClientOptions options)
      : options_(std::move(options)), maker_(make_wire_maker(options_.cancelled)) {}

  base::Result<ClientAnswer> fetch(const ClientRequest& request, BodySink& sink) override;

 private:
  base::Result<AnswerHead> ask(const Url& url, const ClientRequest& request);
  base::Result<AnswerHead> ask_once(const Url& url, const std::string& text, bool head);
  base::Result<void> deliver(const AnswerHead& head, const Url& url, BodySink& sink);
  base::Result<bool> more();  // false: the end of the connection
  base::Result<Url> next_url(const Url& url, const AnswerHead& head, int redirects) const;
  std::string head_text(const Url& url, const ClientRequest& request) const;
  void drop() {
    wire_.reset();
    in_.clear();
  }

  const ClientOptions options_;
  const std::unique_ptr<WireMaker> maker_;
  std::unique_ptr<Wire> wire_;  // to wire_url_'s origin
  Url wire_url_;
  std::string in_;      // received and not yet used
  bool heard_ = false;  // a byte of this answer has come
};

std::string HttpClient::head_text(const Url& url, const ClientRequest& request) const {
  const Proxy* proxy = options_.proxy.for_url(url);
  // A proxy that makes no tunnel wants the whole address.
  const bool whole = proxy != nullptr && !url.tls;
  std::string text = request.method + " " + (whole ? url.text() : url.target) + " HTTP/1.1\r\n";
  text += "host: " + url.authority() + "\r\n";
  if (!options_.user_agent.empty()) text += "user-agent: " + options_.user_agent + "\r\n";
  text += "accept-encoding: identity\r\n";
  if (whole && !proxy->authorization.empty()) {
    text += "proxy-authorization: " + proxy->authorization + "\r\n";
  }
  for (const auto& [name, value] : request.headers) {
    text.append(name).append(": ").append(value).append("\r\n");
  }
  if (!request.authorization.empty() && url.same_origin(request.url)) {
    text += "authorization: " + request.authorization + "\r\n";
  }
  return text + "\r\n";
}

base::Result<bool> HttpClient::more() {
  auto got = wire_->read(in_, options_.limits.stall_timeout_ms);
  if (!got) {
    drop();
    return base::fail(std::move(got).error());
  }
  heard_ = heard_ || !in_.empty();
  return *got;
}

base::Result<AnswerHead> HttpClient::ask_once(const Url& url, const std::string& text, bool head) {
  heard_ = false;
  TRY(wire_->write(text, options_.limits.stall_timeout_ms));
  for (int interim = 0; interim < interim_answers_max; ++interim) {
    size_t checked = 0;
    for (;;) {
      const auto size = find_answer_head(in_, checked, options_.limits);
      if (!size) return refused(url, size.error());
      if (*size) {
        const auto parsed =
            parse_answer_head(std::string_view(in_).substr(0, **size), head, options_.limits);
        if (!parsed) return refused(url, parsed.error());
        in_.erase(0, **size);
        if (parsed->status >= 200) return *parsed;
        break;
      }
      ASSIGN(const bool open, more());
      if (!open) {
        return base::fail(base::ErrorKind::unavailable, url.origin() + " closed the connection",
                          "before it had answered", "the same command goes on from here");
      }
    }
  }
  return refused(url, "it sends interim answers without end");
}

base::Result<AnswerHead> HttpClient::ask(const Url& url, const ClientRequest& request) {
  const std::string text = head_text(url, request);
  const bool head = request.method == "HEAD";
  if (wire_ != nullptr && url.same_origin(wire_url_) && in_.empty()) {
    auto answer = ask_once(url, text, head);
    // A kept connection may have been closed by the server meanwhile; that is no failure.
    if (answer || heard_ || answer.error().kind != base::ErrorKind::unavailable) return answer;
  }
  drop();
  ASSIGN(wire_,
         maker_->connect(url, options_.proxy.for_url(url), options_.limits.connect_timeout_ms));
  wire_url_ = url;
  return ask_once(url, text, head);
}

base::Result<void> HttpClient::deliver(const AnswerHead& head, const Url& url, BodySink& sink) {
  using Body = AnswerHead::Body;
  int64_t left = head.body == Body::counted       ? head.content_length
                 : head.body == Body::until_close ? options_.limits.body_bytes_max
                                                  : 0;
  auto decoder = BodyDecoder::chunked(options_.limits.body_bytes_max);
  std::string decoded;
  bool wanted = true;
  while (wanted && (head.body == Body::chunked ? !decoder.done() : left > 0)) {
    if (in_.empty()) {
      ASSIGN(const bool open, more());
      if (!open && head.body == Body::until_close) break;
      if (!open) {
        drop();
        return base::fail(base::ErrorKind::unavailable, url.origin() + " cut the transfer",
                          left > 0 ? fmt::format("{} bytes were still to come", left) : "",
                          "the same command goes on from here");
      }
    }
    if (head.body == Body::chunked) {
      decoded.clear();
      const auto used = decoder.feed(in_, decoded);
      if (!used) return refused(url, used.error().reason);
      in_.erase(0, *used);
      if (!decoded.empty()) {
        ASSIGN(wanted, sink.bytes(decoded));
      }
    } else {
      const size_t take =
          static_cast<size_t>(std::min<int64_t>(left, static_cast<int64_t>(in_.size())));
      ASSIGN(wanted, sink.bytes(std::string_view(in_).substr(0, take)));
      left -= static_cast<int64_t>(take);
      in_.erase(0, take);
    }
  }
  // Bytes that nobody asked for, or a body that was left: the connection says nothing reliable now.
  const bool whole = head.body == Body::chunked ? decoder.done() : left == 0;
  if (!whole || !head.keep_alive || !in_.empty()) drop();
  return {};
}

base::Result<Url> HttpClient::next_url(const Url& url, const AnswerHead& head,
                                       int redirects) const {
  if (redirects >= options_.limits.redirects_max) {
    return refused(url,
                   fmt::format("it redirects more than {} times", options_.limits.redirects_max));
  }
  std::string location;
  for (const auto& [name, value] : head.headers) {
    if (name == "location") location = value;
  }
  const auto next = resolve_url(url, location);
  if (!next) return refused(url, "it redirects to no acceptable address");
  if (url.tls && !next->tls) return refused(url, "it redirects from https to unprotected http");
  return *next;
}

base::Result<ClientAnswer> HttpClient::fetch(const ClientRequest& request, BodySink& sink) {
  Url url = request.url;
  for (int redirects = 0;; ++redirects) {
    auto head = ask(url, request);
    if (!head) {
      drop();
      return base::fail(std::move(head).error());
    }
    if (request.follow && is_redirect(head->status)) {
      auto next = next_url(url, *head, redirects);
      if (!next) {
        drop();
        return base::fail(std::move(next).error());
      }
      Drain drain;
      const bool small =
          head->body == AnswerHead::Body::none || (head->body == AnswerHead::Body::counted &&
                                                   head->content_length <= drained_body_bytes_max);
      if (!small || !deliver(*head, url, drain)) drop();
      url = *next;
      continue;
    }
    ClientAnswer answer{head->status, head->headers, url, redirects};
    if (const auto length = plain_number(answer.header("content-length"))) {
      answer.content_length = *length;
    }
    const std::string coding = lower_case(answer.header("content-encoding"));
    if (head->status < 300 && !coding.empty() && coding != "identity") {
      drop();
      return refused(url, "it is compressed (" + base::shown_name(coding) +
                              "), although that was not allowed");
    }
    auto delivered = [&]() -> base::Result<void> {
      ASSIGN(const bool wanted, sink.head(answer));
      if (wanted) return deliver(*head, url, sink);
      if (head->body != AnswerHead::Body::none || !head->keep_alive) drop();
      return {};
    }();
    if (!delivered) {
      drop();
      return base::fail(std::move(delivered).error());
    }
    return answer;
  }
}

class Collect final : public BodySink {
 public:
  Collect(std::string& body, size_t bytes_max) : body_(body), bytes_max_(bytes_max) {}
  base::Result<bool> head(const ClientAnswer& answer) override {
    origin_ = answer.url.origin();
    return true;
  }
  base::Result<bool> bytes(std::string_view piece) override {
    if (body_.size() + piece.size() > bytes_max_) {
      return base::fail(base::ErrorKind::limit_exceeded,
                        "the answer of " + origin_ + " is too long",
                        fmt::format("at most {} bytes are read", bytes_max_));
    }
    body_ += piece;
    return true;
  }

 private:
  std::string& body_;
  const size_t bytes_max_;
  std::string origin_;
};

}  // namespace

std::string_view ClientAnswer::header(std::string_view lower_case_name) const {
  for (const auto& [name, value] : headers) {
    if (name == lower_case_name) return value;
  }
  return {};
}

base::Result<std::unique_ptr<Client>> make_client(ClientOptions options) {
  try {
    return std::unique_ptr<Client>(std::make_unique<HttpClient>(std::move(options)));
  } catch (const std::exception& error) {
    return base::fail(base::ErrorKind::internal, "no HTTP client could be made", error.what());
  }
}

base::Result<SmallAnswer> fetch_small(Client& client, const ClientRequest& request,
                                      size_t bytes_max) {
  SmallAnswer answer;
  Collect collect(answer.body, bytes_max);
  ASSIGN(answer.head, client.fetch(request, collect));
  return answer;
}

}  // namespace net
