#include "pull/http_reader.h"

#include <algorithm>

#include "pull/listing.h"

namespace pull {
namespace {

using Kind = ReadFailure::Kind;
constexpr int64_t wait_ms_max = 60'000;  // longer waits asked for by a server end the transfer
constexpr int tries_per_read_max = 3;    // of expired addresses and tokens

bool is_busy(int status) { return status == 408 || status == 429 || status >= 500; }

ReadFailure lie(const PlannedFile& file, std::string why) {
  return {Kind::final,
          {base::ErrorKind::invalid_input, "the server of " + file.source + " is not to be trusted",
           std::move(why), "try again later, or set another endpoint"}};
}

ReadFailure changed(const PlannedFile& file, std::string why) {
  return {Kind::changed,
          {base::ErrorKind::unavailable, file.source + " changed while it was fetched",
           std::move(why), "the same command fetches the new one"}};
}

ReadFailure of_client(base::Error error) {
  const Kind kind = error.kind == base::ErrorKind::unavailable ? Kind::again : Kind::final;
  return {kind, std::move(error)};
}

// What both ways of reading check and count.
class FileSink : public net::BodySink {
 public:
  FileSink(const PlannedFile& file, HttpFile& shared, const Hub::ReaderOptions& options)
      : file_(file), shared_(shared), options_(options) {}

  std::optional<ReadFailure> failure;
  net::ClientAnswer answer;  // status 0: none came

 protected:
  bool fail_with(ReadFailure why) {
    failure = std::move(why);
    return false;
  }
  // The same mark as in the first answer?
  bool check_mark() {
    const std::string etag = etag_value(answer.header("etag"));
    if (etag.empty() || !options_.trust_marks) return true;
    const std::lock_guard<std::mutex> lock(shared_.mutex);
    if (shared_.etag.empty()) shared_.etag = etag;
    return shared_.etag == etag || fail_with(changed(file_, "its ETag is another one now"));
  }
  const PlannedFile& file_;
  HttpFile& shared_;
  const Hub::ReaderOptions& options_;
};

class RangeSink final : public FileSink {
 public:
  RangeSink(const PlannedFile& file, HttpFile& shared, const Hub::ReaderOptions& options,
            uint64_t offset, uint64_t length, std::string& into)
      : FileSink(file, shared, options), offset_(offset), length_(length), into_(into) {}

  base::Result<bool> head(const net::ClientAnswer& got) override {
    answer = got;
    if (answer.status == 206) return check_range() && check_mark();
    if (answer.status != 200) return false;
    // The whole file is what was asked for only when the range was the whole file.
    if (offset_ != 0 || length_ != file_.size) {
      return fail_with(
          {Kind::no_ranges,
           {base::ErrorKind::unsupported,
            "the server of " + file_.source + " does not give parts of a file", "", ""}});
    }
    left_ = length_;
    const bool other_size =
        answer.content_length >= 0 && static_cast<uint64_t>(answer.content_length) != file_.size;
    if (other_size) return fail_with(changed(file_, "its size is another one now"));
    return check_mark();
  }
  base::Result<bool> bytes(std::string_view piece) override {
    if (piece.size() > left_) {
      return fail_with(lie(file_, "it sent more bytes than were asked for"));
    }
    into_.append(piece);
    left_ -= piece.size();
    options_.came(piece.size());
    return true;
  }

 private:
  bool check_range() {
    const auto range = parse_content_range(answer.header("content-range"));
    if (!range || range->first != static_cast<int64_t>(offset_) ||
        range->last >= static_cast<int64_t>(offset_ + length_)) {
      return fail_with(lie(file_, "it answered another range than was asked for"));
    }
    if (range->total >= 0 && range->total != static_cast<int64_t>(file_.size)) {
      return fail_with(changed(file_, "its size is another one now"));
    }
    left_ = static_cast<uint64_t>(range->last - range->first + 1);
    if (answer.content_length >= 0 && static_cast<uint64_t>(answer.content_length) != left_) {
      return fail_with(lie(file_, "the length of its answer is not that of the range"));
    }
    return true;
  }
  const uint64_t offset_, length_;
  std::string& into_;
  uint64_t left_ = 0;
};

class WholeSink final : public FileSink {
 public:
  using Take = std::function<base::Result<bool>(std::string_view)>;
  WholeSink(const PlannedFile& file, HttpFile& shared, const Hub::ReaderOptions& options,
            const Take& take)
      : FileSink(file, shared, options), take_(take), left_(file.size) {}

  base::Result<bool> head(const net::ClientAnswer& got) override {
    answer = got;
    if (answer.status != 200) return false;
    if (answer.content_length >= 0 && static_cast<uint64_t>(answer.content_length) != file_.size) {
      return fail_with(changed(file_, "its size is another one now"));
    }
    return check_mark();
  }
  base::Result<bool> bytes(std::string_view piece) override {
    if (piece.size() > left_) return fail_with(lie(file_, "it sent more bytes than the file has"));
    left_ -= piece.size();
    options_.came(piece.size());
    return take_(piece);
  }
  uint64_t left() const { return left_; }

 private:
  const Take& take_;
  uint64_t left_;
};

class HttpReader final : public Reader {
 public:
  HttpReader(std::unique_ptr<net::Client> client, const PlannedFile& file, const net::Url& url,
             std::shared_ptr<Access> access, std::shared_ptr<HttpFile> shared,
             const Hub::ReaderOptions& options)
      : client_(std::move(client)),
        file_(file),
        url_(url),
        access_(std::move(access)),
        shared_(std::move(shared)),
        options_(options) {}

  tl::expected<void, ReadFailure> read(uint64_t offset, uint64_t length,
                                       std::string& into) override {
    const size_t before = into.size();
    const net::Headers range{{"range", fmt::format("bytes={}-{}", offset, offset + length - 1)}};
    for (int tries = 0;; ++tries) {
      RangeSink sink(file_, *shared_, options_, offset, length, into);
      auto asked = ask(range, sink);
      if (!asked) return tl::unexpected(asked.error());
      const int status = sink.answer.status;
      if (status == 200 || status == 206) {
        // A server may give less than was asked for; the caller asks on.
        if (into.size() - before == length) return {};
        return tl::unexpected(ReadFailure{
            Kind::again,
            {base::ErrorKind::unavailable, url_.origin() + " gave a part of what was asked for",
             fmt::format("{} of {} bytes came", into.size() - before, length),
             "the same command goes on from here"}});
      }
      if (status == 416) {
        return tl::unexpected(changed(file_, "the range that was asked for is not in it"));
      }
      if (!try_otherwise(status, tries)) return tl::unexpected(of_status(sink.answer));
    }
  }

  tl::expected<void, ReadFailure> read_whole(const WholeSink::Take& take) override {
    for (int tries = 0;; ++tries) {
      WholeSink sink(file_, *shared_, options_, take);
      auto asked = ask({}, sink);
      if (!asked) return tl::unexpected(asked.error());
      if (sink.answer.status == 200) return {};
      if (!try_otherwise(sink.answer.status, tries)) {
        return tl::unexpected(of_status(sink.answer));
      }
    }
  }

 private:
  tl::expected<void, ReadFailure> ask(net::Headers headers, FileSink& sink) {
    net::ClientRequest request;
    request.headers = std::move(headers);
    request.url = url_;
    {
      const std::lock_guard<std::mutex> lock(shared_->mutex);
      if (shared_->behind) request.url = *shared_->behind;
    }
    asked_behind_ = !request.url.same_origin(url_) || request.url.target != url_.target;
    if (request.url.same_origin(url_)) {
      const std::lock_guard<std::mutex> lock(access_->mutex);
      request.authorization = used_authorization_ = access_->authorization;
    }
    auto answer = client_->fetch(request, sink);
    if (sink.failure) return tl::unexpected(*sink.failure);
    if (!answer) return tl::unexpected(of_client(std::move(answer).error()));
    if (answer->redirects > 0 && (answer->status == 200 || answer->status == 206)) {
      const std::lock_guard<std::mutex> lock(shared_->mutex);
      shared_->behind = answer->url;
    }
    return {};
  }

  // An address behind a redirect expires, and so does a token: both can be had again.
  bool try_otherwise(int status, int tries) {
    if (tries >= tries_per_read_max || status < 400 || is_busy(status)) return false;
    if (asked_behind_) {
      const std::lock_guard<std::mutex> lock(shared_->mutex);
      shared_->behind.reset();
      return true;
    }
    if (status != 401 || !access_->renew) return false;
    const std::lock_guard<std::mutex> lock(access_->mutex);
    if (access_->authorization != used_authorization_) return true;  // another reader was quicker
    auto renewed = access_->renew(*client_);
    if (!renewed || *renewed == used_authorization_) return false;
    access_->authorization = *renewed;
    return true;
  }

  ReadFailure of_status(const net::ClientAnswer& answer) {
    const int status = answer.status;
    base::Error error = status_error(status, file_.source, !used_authorization_.empty());
    if (!is_busy(status)) return {Kind::final, std::move(error)};
    const int64_t wait_ms = retry_after_s(answer.header("retry-after")).value_or(0) * 1000;
    if (wait_ms > wait_ms_max) {
      error.next = fmt::format("try again in {} minutes", wait_ms / 60'000 + 1);
      return {Kind::final, std::move(error)};
    }
    return {Kind::again, std::move(error), wait_ms};
  }

  const std::unique_ptr<net::Client> client_;
  const PlannedFile file_;
  const net::Url url_;
  const std::shared_ptr<Access> access_;
  const std::shared_ptr<HttpFile> shared_;
  const Hub::ReaderOptions options_;
  bool asked_behind_ = false;
  std::string used_authorization_;
};

}  // namespace

std::unique_ptr<Reader> make_http_reader(std::unique_ptr<net::Client> client,
                                         const PlannedFile& file, const net::Url& url,
                                         std::shared_ptr<Access> access,
                                         std::shared_ptr<HttpFile> shared,
                                         const Hub::ReaderOptions& options) {
  return std::make_unique<HttpReader>(std::move(client), file, url, std::move(access),
                                      std::move(shared), options);
}

base::Error status_error(int status, const std::string& asked, bool had_token) {
  const std::string said = fmt::format("the server answers {}", status);
  if (status == 401 || status == 403) {
    return {base::ErrorKind::unavailable, asked + " is not given to everybody", said,
            had_token ? "check that the token is valid and that its owner has accepted the licence"
                      : "accept the licence on the model's page and set HF_TOKEN to a token"};
  }
  if (status == 404 || status == 410) {
    return {base::ErrorKind::not_found, "there is no " + asked + " at the hub", said,
            "check the name; `nautile list --catalogue` shows known ones"};
  }
  if (status == 429) {
    return {base::ErrorKind::unavailable, asked + " cannot be had just now",
            "the server answers 429: too many requests",
            "wait a few minutes; the same command goes on from here"};
  }
  return {base::ErrorKind::unavailable, asked + " cannot be had", said,
          status >= 500 ? "try again later; the same command goes on from here"
                        : "check the reference and the endpoint"};
}

}  // namespace pull
