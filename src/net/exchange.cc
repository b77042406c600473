#include "net/exchange.h"

namespace net {

void Outbox::client_gone() {
  std::function<void()> callback;
  {
    const std::scoped_lock lock(mutex);
    if (gone) return;
    gone = true;
    pending = std::string();
    if (!ended || overflowed) callback = std::move(disconnected);
    disconnected = nullptr;
  }
  if (callback) callback();
}

void Outbox::finished() {
  std::function<void()> callback;  // dies outside the lock: it may hold the last reference
  const std::scoped_lock lock(mutex);
  gone = true;
  callback.swap(disconnected);
}

namespace {

class ExchangeImpl final : public Exchange {
 public:
  ExchangeImpl(std::shared_ptr<Outbox> outbox, Request request, size_t buffer_bytes_max,
               std::function<void(std::function<void()>)> post)
      : outbox_(std::move(outbox)),
        request_(std::move(request)),
        buffer_bytes_max_(buffer_bytes_max),
        post_(std::move(post)) {}

  ~ExchangeImpl() override {
    std::unique_lock lock(outbox_->mutex);
    if (outbox_->ended) return;
    if (!outbox_->begun) {
      outbox_->begun = true;
      outbox_->response = Response{500, {{"content-type", "text/plain"}}, "No answer was made.\n"};
    } else {
      outbox_->aborted = true;
    }
    outbox_->ended = true;
    wake(lock);
  }

  const Request& request() const override { return request_; }

  void respond(Response response) override {
    std::unique_lock lock(outbox_->mutex);
    if (outbox_->begun) return;
    outbox_->begun = true;
    outbox_->ended = true;
    outbox_->response = std::move(response);
    wake(lock);
  }

  void begin_stream(int status, Headers headers) override {
    std::unique_lock lock(outbox_->mutex);
    if (outbox_->begun) return;
    outbox_->begun = true;
    outbox_->is_stream = true;
    outbox_->response.status = status;
    outbox_->response.headers = std::move(headers);
    wake(lock);
  }

  bool write(std::string_view bytes) override {
    std::unique_lock lock(outbox_->mutex);
    if (outbox_->gone || outbox_->ended || !outbox_->is_stream) return false;
    if (bytes.empty()) return true;
    const size_t unsent = outbox_->pending.size() + outbox_->taken_unsent;
    if (unsent > buffer_bytes_max_) {
      outbox_->overflowed = true;
      outbox_->ended = true;
      outbox_->aborted = true;
      outbox_->pending = std::string();
      wake(lock);
      return false;
    }
    outbox_->pending.append(bytes);
    wake(lock);
    return true;
  }

  void end_stream() override {
    std::unique_lock lock(outbox_->mutex);
    if (!outbox_->is_stream || outbox_->ended) return;
    outbox_->ended = true;
    wake(lock);
  }

  void on_disconnect(std::function<void()> callback) override {
    {
      const std::scoped_lock lock(outbox_->mutex);
      if (outbox_->ended) return;
      if (!outbox_->gone) {
        outbox_->disconnected = std::move(callback);
        return;
      }
    }
    post_(std::move(callback));
  }

 private:
  // One look at the outbox is under way at most: writes that come before it are sent together.
  void wake(std::unique_lock<std::mutex>& lock) {
    if (outbox_->gone || outbox_->wake_posted) return;
    outbox_->wake_posted = true;
    lock.unlock();
    outbox_->wake();
  }

  std::shared_ptr<Outbox> outbox_;
  Request request_;
  size_t buffer_bytes_max_;
  std::function<void(std::function<void()>)> post_;
};

}  // namespace

std::shared_ptr<Exchange> make_exchange(std::shared_ptr<Outbox> outbox, Request request,
                                        size_t stream_buffer_bytes_max,
                                        std::function<void(std::function<void()>)> post) {
  return std::make_shared<ExchangeImpl>(std::move(outbox), std::move(request),
                                        stream_buffer_bytes_max, std::move(post));
}

}  // namespace net
