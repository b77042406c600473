#include "api/service.h"

#include "api/context.h"
#include "api/middleware.h"
#include "api/site.h"
#include "base/check.h"

namespace api {
namespace {

std::vector<Route> all_routes(Context& context, Site& site) {
  std::vector<Route> routes;
  add_public_routes(context, routes);
  site.add_routes(routes);
  add_page_routes(context, routes);
  return routes;
}

class ServiceImpl final : public Service {
 public:
  ServiceImpl(ApiOptions options, account::Sessions sessions)
      : context_(std::move(options), std::move(sessions)),
        site_(context_),
        middleware_(context_, all_routes(context_, site_)) {}
  ~ServiceImpl() override { detach(); }

  net::Handler handler() override {
    return [this](std::shared_ptr<net::Exchange> exchange) {
      middleware_.handle(std::move(exchange));
    };
  }
  net::FaultForm fault_form() override { return fault_response; }
  net::LargeBody large_body() override {
    return [this](const net::Request& head) { return middleware_.may_send_large(head); };
  }
  void tell(PullNews news) override {
    context_.server->post([this, news = std::make_shared<PullNews>(std::move(news))] {
      site_.take(std::move(*news));
    });
  }
  void begin_stop() override { context_.stopping = true; }
  void end_streams() override {
    context_.server->post([this] { site_.end_streams(); });
  }
  void attach(net::Server& server) override {
    context_.server = &server;
    context_.engine.attach(server);
    site_.attach();
  }
  void detach() override {
    context_.engine.detach();
    context_.server = nullptr;
  }

 private:
  Context context_;
  Site site_;
  Middleware middleware_;
};

}  // namespace

base::Result<std::unique_ptr<Service>> make_service(ApiOptions options) {
  CHECK(options.engine != nullptr && options.clock != nullptr && options.random != nullptr &&
            options.files != nullptr,
        "the composition root gives all four");
  ASSIGN(account::Sessions sessions,
         account::Sessions::open(options.state_dir, *options.clock, *options.random));
  return std::unique_ptr<Service>(
      std::make_unique<ServiceImpl>(std::move(options), std::move(sessions)));
}

}  // namespace api
