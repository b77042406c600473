// Where models come from: a hub answers with a plan (which files, how large, which checksums), and
// hands out readers, one a connection, that bring pieces of a file. Hugging Face's hub, Ollama's
// registry and a folder of this machine are three of them; a transfer knows none of the protocols.
//
// Threads: plan() is called by one thread; a reader belongs to one thread, several of one file work
// at the same time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "net/client.h"
#include "pull/disk.h"
#include "pull/listing.h"
#include "pull/reference.h"

namespace pull {

struct PlannedFile {
  std::string local;    // below the models directory
  std::string source;   // where it comes from, for messages and the progress file
  std::string address;  // the hub's own: a URL or a path
  uint64_t size = 0;
  std::string sha256;    // of the content; may be empty
  std::string git_sha1;  // git's name of the content; may be empty
  std::string version;   // the source's mark of this content where there is no digest
  std::string digest() const {
    return !sha256.empty() ? "sha256:" + sha256 : git_sha1.empty() ? "" : "git:" + git_sha1;
  }
};

struct Plan {
  std::string model;               // the name it will be run by
  std::string source;              // the reference with what was resolved: a commit, say
  std::vector<PlannedFile> files;  // the one that makes it a model comes last
};

// Why a read ended without all its bytes.
struct ReadFailure {
  enum class Kind : uint8_t {
    again,     // perhaps it works the next time
    final,     // it will not
    changed,   // the source says that the file is another one now: plan again
    no_ranges  // the source gives whole files only: read_whole()
  };
  Kind kind = Kind::final;
  base::Error error;
  int64_t wait_ms = 0;  // what the source asked for
};

class Reader {
 public:
  virtual ~Reader() = default;
  // Appends the bytes [offset, offset + length) to `into`. After a failure, what had come stays.
  virtual tl::expected<void, ReadFailure> read(uint64_t offset, uint64_t length,
                                               std::string& into) = 0;
  // The whole file in order; `take` returns false to end it.
  virtual tl::expected<void, ReadFailure> read_whole(
      const std::function<base::Result<bool>(std::string_view)>& take) = 0;
};

class Hub {
 public:
  virtual ~Hub() = default;
  virtual base::Result<Plan> plan() = 0;
  // `file` is of this hub's last plan. `cancelled` and `came` (bytes received) are called from the
  // reader's thread. `trust_marks`: false once a changed ETag has turned out to mean nothing.
  struct ReaderOptions {
    std::function<bool()> cancelled;
    std::function<void(size_t)> came;
    bool trust_marks = true;
  };
  virtual base::Result<std::unique_ptr<Reader>> reader(const PlannedFile& file,
                                                       const ReaderOptions& options) = 0;
};

using ClientMaker =
    std::function<base::Result<std::unique_ptr<net::Client>>(std::function<bool()> cancelled)>;

struct HubOptions {
  ClientMaker make_client;
  std::function<bool()> cancelled;
  std::string endpoint;  // "https://…" without a path
  std::string token;     // for that endpoint only; may be empty
  std::string model;     // another name than the hub's; may be empty
};
// An endpoint as people set it; a token is refused where it would travel in the clear.
base::Result<net::Url> parse_endpoint(const HubOptions& options);
// The one GGUF file among a manifest's layers, with its `address` by digest.
base::Result<Plan> plan_of_layers(const Reference& reference,
                                  const std::vector<OllamaLayer>& layers, const std::string& model,
                                  const std::function<std::string(const std::string&)>& address);

base::Result<std::unique_ptr<Hub>> make_hugging_face(const Reference& reference,
                                                     HubOptions options);
base::Result<std::unique_ptr<Hub>> make_ollama(const Reference& reference, HubOptions options);

// file:PATH, or any reference looked for below `from`: a plain folder, a models directory of
// another Nautile, a Hugging Face cache, an Ollama store. `registry`: the host whose manifests an
// Ollama store is asked for.
base::Result<std::unique_ptr<Hub>> make_folder(const Reference& reference, const std::string& from,
                                               const std::string& registry,
                                               const std::string& model, Disk& disk);

}  // namespace pull
