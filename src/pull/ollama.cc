// Ollama's registry, which is a Docker registry:
//
//   GET /v2/NAMESPACE/MODEL/manifests/TAG   layers with media type, sha256 digest and size; the one
//                                           of kind "model" is the GGUF file
//   GET /v2/NAMESPACE/MODEL/blobs/DIGEST    with Range; a redirect to a store, without our token
//   401 with WWW-Authenticate: Bearer       a token for everybody is had from its realm
#include "pull/http_reader.h"
#include "pull/listing.h"

namespace pull {
namespace {

constexpr size_t answer_bytes_max = 4 << 20;

std::string query_value(std::string_view text) {
  std::string out = net::percent_encoded(text);
  for (size_t at = out.find('/'); at != std::string::npos; at = out.find('/', at)) {
    out.replace(at, 1, "%2F");
  }
  return out;
}

// The token of the realm that a 401 named. The realm gets nothing of ours but the scope.
base::Result<std::string> fetch_token(net::Client& client, const net::Url& endpoint,
                                      const Challenge& challenge) {
  const auto realm = net::parse_url(challenge.realm);
  const bool safe = realm && (realm->tls || (!endpoint.tls && realm->is_loopback()));
  if (!safe) {
    return base::fail(base::ErrorKind::invalid_input,
                      "the registry's sign-in address is not acceptable",
                      "it must be an https address", "check the endpoint");
  }
  net::ClientRequest request;
  request.url = *realm;
  request.url.target += realm->target.find('?') == std::string::npos ? '?' : '&';
  request.url.target +=
      "service=" + query_value(challenge.service) + "&scope=" + query_value(challenge.scope);
  ASSIGN(const auto answer, net::fetch_small(client, request, answer_bytes_max));
  if (answer.head.status != 200) {
    return base::fail(status_error(answer.head.status, "token of the registry", false));
  }
  return parse_token(answer.body);
}

class Ollama final : public Hub {
 public:
  Ollama(const Reference& reference, HubOptions options, const net::Url& endpoint)
      : reference_(reference),
        options_(std::move(options)),
        endpoint_(endpoint),
        access_(std::make_shared<Access>()) {}

  base::Result<Plan> plan() override;
  base::Result<std::unique_ptr<Reader>> reader(const PlannedFile& file,
                                               const ReaderOptions& options) override;

 private:
  std::string target(const std::string& rest) const {
    return "/v2/" + net::percent_encoded(reference_.repository()) + "/" + rest;
  }
  base::Result<net::SmallAnswer> ask(net::Client& client, net::ClientRequest request);

  const Reference reference_;
  const HubOptions options_;
  const net::Url endpoint_;
  const std::shared_ptr<Access> access_;
  std::shared_ptr<HttpFile> shared_ = std::make_shared<HttpFile>();
};

base::Result<net::SmallAnswer> Ollama::ask(net::Client& client, net::ClientRequest request) {
  ASSIGN(auto answer, net::fetch_small(client, request, answer_bytes_max));
  if (answer.head.status != 401) return answer;
  const auto challenge = parse_challenge(answer.head.header("www-authenticate"));
  if (!challenge) return answer;
  access_->renew = [endpoint = endpoint_,
                    challenge = *challenge](net::Client& used) -> base::Result<std::string> {
    ASSIGN(const std::string token, fetch_token(used, endpoint, challenge));
    return "Bearer " + token;
  };
  ASSIGN(access_->authorization, access_->renew(client));
  request.authorization = access_->authorization;
  return net::fetch_small(client, request, answer_bytes_max);
}

base::Result<Plan> Ollama::plan() {
  ASSIGN(const auto client, options_.make_client(options_.cancelled));
  net::ClientRequest request;
  request.url = endpoint_;
  request.url.target = target("manifests/" + net::percent_encoded(reference_.revision));
  request.headers = {{"accept", "application/vnd.docker.distribution.manifest.v2+json"}};
  ASSIGN(const auto answer, ask(*client, request));
  if (answer.head.status != 200) {
    return base::fail(status_error(answer.head.status, reference_.text(), false));
  }
  ASSIGN(const std::vector<OllamaLayer> layers, parse_manifest(answer.body));
  return plan_of_layers(reference_, layers, options_.model, [this](const std::string& sha256) {
    return target("blobs/sha256:" + sha256);
  });
}

base::Result<std::unique_ptr<Reader>> Ollama::reader(const PlannedFile& file,
                                                     const ReaderOptions& options) {
  ASSIGN(auto client, options_.make_client(options.cancelled));
  net::Url url = endpoint_;
  url.target = file.address;
  return make_http_reader(std::move(client), file, url, access_, shared_, options);
}

}  // namespace

base::Result<Plan> plan_of_layers(const Reference& reference,
                                  const std::vector<OllamaLayer>& layers, const std::string& model,
                                  const std::function<std::string(const std::string&)>& address) {
  const OllamaLayer* weights = nullptr;
  for (const OllamaLayer& layer : layers) {
    if (layer.kind == "tensor" || layer.kind == "adapter") {
      return base::fail(base::ErrorKind::unsupported, reference.text() + " cannot be run",
                        "it is not one GGUF file but has a layer of kind " + layer.kind,
                        "choose another tag, or the same model from hf:");
    }
    if (layer.kind != "model") continue;
    if (weights != nullptr) {
      return base::fail(base::ErrorKind::unsupported, reference.text() + " cannot be run",
                        "it has several files of weights", "choose another tag");
    }
    weights = &layer;
  }
  if (weights == nullptr || weights->size == 0) {
    return base::fail(base::ErrorKind::invalid_input, reference.text() + " has no weights",
                      "its manifest has no layer of kind model", "choose another tag");
  }
  const std::string name = model.empty() ? reference.name + "-" + reference.revision : model;
  Plan plan{name, reference.text(), {}};
  plan.files.push_back({name + ".gguf", reference.text(), address(weights->sha256), weights->size,
                        weights->sha256, "", ""});
  return plan;
}

base::Result<std::unique_ptr<Hub>> make_ollama(const Reference& reference, HubOptions options) {
  options.token.clear();  // a Hugging Face token is not for this host
  ASSIGN(const net::Url endpoint, parse_endpoint(options));
  return std::unique_ptr<Hub>(std::make_unique<Ollama>(reference, std::move(options), endpoint));
}

}  // namespace pull
