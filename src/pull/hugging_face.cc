// Hugging Face's hub:
//
//   GET  /api/models/ORG/REPO/revision/REV        {"sha": commit}: pins what follows
//   GET  /api/models/ORG/REPO/tree/REV?recursive=1  the files, by pages (Link: rel="next")
//   HEAD /ORG/REPO/resolve/REV/PATH               X-Linked-Size, X-Linked-Etag (sha256 of large
//                                                 files), ETag (git's SHA-1 of small ones)
//   GET  the same with Range                      perhaps a redirect to a signed address that
//                                                 expires; the token is for the endpoint alone
//
// A file that was named is looked up by HEAD, so mirrors that have only `resolve` work too.
#include <algorithm>

#include "pull/http_reader.h"
#include "pull/selection.h"

namespace pull {
namespace {

constexpr size_t answer_bytes_max = 16 << 20;
constexpr int pages_max = 200;
constexpr size_t files_max = 100'000;
constexpr int hops_max = 5;

class HuggingFace final : public Hub {
 public:
  HuggingFace(const Reference& reference, HubOptions options, const net::Url& endpoint)
      : reference_(reference),
        options_(std::move(options)),
        endpoint_(endpoint),
        access_(std::make_shared<Access>()) {
    if (!options_.token.empty()) access_->authorization = "Bearer " + options_.token;
  }

  base::Result<Plan> plan() override;
  base::Result<std::unique_ptr<Reader>> reader(const PlannedFile& file,
                                               const ReaderOptions& options) override;

 private:
  net::ClientRequest request(const std::string& target) const {
    net::ClientRequest made;
    made.url = endpoint_;
    made.url.target = target;
    made.authorization = access_->authorization;
    return made;
  }
  std::string shown(const std::string& path) const {
    return "hf:" + reference_.repository() + ":" + path;
  }
  std::string target_of(const std::string& path) const {
    return "/" + net::percent_encoded(reference_.repository()) + "/resolve/" +
           revision_in_path(commit_) + "/" + net::percent_encoded(path);
  }
  // "refs/pr/1" is one part of a path here.
  static std::string revision_in_path(const std::string& revision) {
    std::string out;
    for (const char c : revision) c == '/' ? out += "%2F" : out += c;
    return out;
  }
  base::Result<void> pin(net::Client& client);
  base::Result<std::vector<ListedFile>> list(net::Client& client);
  base::Result<ListedFile> look_up(net::Client& client, const std::string& path,
                                   std::string& version);
  base::Result<Selection> select(net::Client& client, std::vector<std::string>& versions);

  const Reference reference_;
  const HubOptions options_;
  const net::Url endpoint_;
  const std::shared_ptr<Access> access_;
  std::string commit_;
  std::vector<std::pair<std::string, std::shared_ptr<HttpFile>>> shared_;  // by address
};

base::Result<void> HuggingFace::pin(net::Client& client) {
  commit_ = reference_.revision;
  ASSIGN(const auto answer,
         net::fetch_small(client,
                          request("/api/models/" + net::percent_encoded(reference_.repository()) +
                                  "/revision/" + revision_in_path(reference_.revision)),
                          answer_bytes_max));
  // A mirror without this call is used with the revision as it was given.
  if (answer.head.status != 200) return {};
  ASSIGN(commit_, parse_commit(answer.body));
  return {};
}

base::Result<std::vector<ListedFile>> HuggingFace::list(net::Client& client) {
  std::vector<ListedFile> files;
  net::ClientRequest page = request("/api/models/" + net::percent_encoded(reference_.repository()) +
                                    "/tree/" + revision_in_path(commit_) + "?recursive=1");
  for (int pages = 0; pages < pages_max; ++pages) {
    ASSIGN(const auto answer, net::fetch_small(client, page, answer_bytes_max));
    if (answer.head.status != 200) {
      return base::fail(status_error(answer.head.status, "hf:" + reference_.repository(),
                                     !options_.token.empty()));
    }
    ASSIGN(std::vector<ListedFile> more, parse_tree(answer.body));
    files.insert(files.end(), more.begin(), more.end());
    const auto next = next_link(answer.head.header("link"));
    if (!next) return files;
    const auto url = net::resolve_url(answer.head.url, *next);
    if (!url || !url->same_origin(endpoint_) || files.size() > files_max) break;
    page.url = *url;
  }
  return base::fail(base::ErrorKind::invalid_input,
                    "the file list of hf:" + reference_.repository() + " does not end",
                    "its pages lead on and on, or to another host", "name one file after a colon");
}

// What HEAD says of one file.
base::Result<ListedFile> HuggingFace::look_up(net::Client& client, const std::string& path,
                                              std::string& version) {
  net::ClientRequest head = request(target_of(path));
  head.method = "HEAD";
  head.follow = false;
  ListedFile file{path, 0, "", ""};
  for (int hops = 0; hops < hops_max; ++hops) {
    ASSIGN(const auto answer, net::fetch_small(client, head, 0));
    const net::ClientAnswer& said = answer.head;
    const bool redirect = said.status >= 300 && said.status < 400;
    if (!redirect && said.status != 200) {
      return base::fail(status_error(said.status, shown(path), !options_.token.empty()));
    }
    const std::string linked = etag_value(said.header("x-linked-etag"));
    const std::string etag = etag_value(said.header("etag"));
    for (const std::string& tag : {linked, etag}) {
      if (file.sha256.empty() && is_hex(tag, 64)) file.sha256 = tag;
      if (file.git_sha1.empty() && is_hex(tag, 40)) file.git_sha1 = tag;
    }
    if (version.empty()) version = linked.empty() ? etag : linked;
    const std::string size_text(said.header("x-linked-size"));
    const int64_t size = !size_text.empty() ? retry_after_s(size_text).value_or(-1)
                         : redirect         ? -1
                                            : said.content_length;
    if (size >= 0) {
      file.size = static_cast<uint64_t>(size);
      return file;
    }
    const auto next =
        redirect ? net::resolve_url(head.url, said.header("location")) : std::optional<net::Url>();
    if (!next || (head.url.tls && !next->tls)) break;
    if (!next->same_origin(endpoint_)) head.authorization.clear();
    head.url = *next;
  }
  return base::fail(base::ErrorKind::invalid_input, shown(path) + " cannot be planned",
                    "the server does not say how large it is", "set another endpoint");
}

base::Result<Selection> HuggingFace::select(net::Client& client,
                                            std::vector<std::string>& versions) {
  const std::string& wanted = reference_.selector;
  const bool is_file = wanted.ends_with(".gguf") || wanted.ends_with(".safetensors");
  if (is_file && !is_safe_path(wanted)) {
    return base::fail(base::ErrorKind::wrong_usage,
                      base::shown_name(wanted) + " is no acceptable file name");
  }
  if (!is_file) {
    ASSIGN(const std::vector<ListedFile> files, list(client));
    ASSIGN(Selection chosen, select_files(files, reference_.name, wanted));
    versions.assign(chosen.files.size(), commit_);
    return chosen;
  }
  std::vector<ListedFile> files;
  std::vector<std::string> marks;
  for (const std::string& path : split_set(wanted)) {
    std::string version;
    ASSIGN(ListedFile file, look_up(client, path, version));
    files.push_back(std::move(file));
    marks.push_back(std::move(version));
  }
  ASSIGN(Selection chosen, select_files(files, reference_.name, wanted));
  for (const SelectedFile& file : chosen.files) {
    const auto found = std::find_if(files.begin(), files.end(), [&](const ListedFile& each) {
      return each.path == file.from.path;
    });
    versions.push_back(marks[static_cast<size_t>(found - files.begin())]);
  }
  return chosen;
}

base::Result<Plan> HuggingFace::plan() {
  ASSIGN(const auto client, options_.make_client(options_.cancelled));
  TRY(pin(*client));
  std::vector<std::string> versions;
  ASSIGN(Selection chosen, select(*client, versions));
  if (!options_.model.empty()) rename_model(chosen, options_.model);
  Plan plan{chosen.model, reference_.text() + " at " + commit_, {}};
  shared_.clear();
  for (size_t i = 0; i < chosen.files.size(); ++i) {
    const SelectedFile& file = chosen.files[i];
    plan.files.push_back({file.local, shown(file.from.path), target_of(file.from.path),
                          file.from.size, file.from.sha256, file.from.git_sha1, versions[i]});
    shared_.emplace_back(plan.files.back().address, std::make_shared<HttpFile>());
  }
  return plan;
}

base::Result<std::unique_ptr<Reader>> HuggingFace::reader(const PlannedFile& file,
                                                          const ReaderOptions& options) {
  ASSIGN(auto client, options_.make_client(options.cancelled));
  net::Url url = endpoint_;
  url.target = file.address;
  std::shared_ptr<HttpFile> shared = std::make_shared<HttpFile>();
  for (const auto& [address, known] : shared_) {
    if (address == file.address) shared = known;
  }
  return make_http_reader(std::move(client), file, url, access_, shared, options);
}

}  // namespace

base::Result<net::Url> parse_endpoint(const HubOptions& options) {
  const auto url = net::parse_url(options.endpoint);
  if (!url || url->target != "/") {
    return base::fail(base::ErrorKind::wrong_usage,
                      base::shown_name(options.endpoint) + " is no endpoint", "",
                      "write https://HOST or https://HOST:PORT");
  }
  if (!options.token.empty() && !url->tls && !url->is_loopback()) {
    return base::fail(base::ErrorKind::wrong_usage, "the token is not sent to " + url->origin(),
                      "over http anybody on the way could read it",
                      "use an https endpoint, or unset HF_TOKEN");
  }
  return *url;
}

base::Result<std::unique_ptr<Hub>> make_hugging_face(const Reference& reference,
                                                     HubOptions options) {
  ASSIGN(const net::Url endpoint, parse_endpoint(options));
  return std::unique_ptr<Hub>(
      std::make_unique<HuggingFace>(reference, std::move(options), endpoint));
}

}  // namespace pull
