// The wire: everything that a client can ask of the gate over HTTP. Public API (OpenAI's and
// DeepSeek's forms), the site's own endpoints (docs/site-wire.md), the site's files.
//
//   auto service = api::make_service(options);              // opens the state directory's files
//   auto server = net::make_server(listener, limits, (*service)->handler(),
//                                  (*service)->fault_form(), (*service)->large_body());
//   (*service)->attach(**server);                           // starts the service's threads
//   (*server)->run();
//   (*service)->detach();                                   // before the server is destroyed
//
// Threads: the handler, every timer and every answer run on the server's loop thread, which owns
// all state here. Calls into the engine that may wait are made on four threads of the service,
// which attach() starts (so a process can seal itself before that). Engine events are posted to the
// loop.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/pulls.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "engine/engine.h"
#include "net/server.h"

namespace api {

// One file of the site. Views into memory that outlives the service (the binary's own data).
struct StaticFile {
  std::string_view path;          // "/index.html", "/assets/app-3f9c.js"
  std::string_view content_type;  // with charset where it is text
  std::string_view bytes;
  std::string_view gzip;     // the same compressed, or empty where that saves nothing
  std::string_view etag;     // with quotes; a hash of the bytes
  bool hashed_name = false;  // the name changes with the bytes: cached for a year
};

class StaticFiles {
 public:
  virtual ~StaticFiles() = default;
  virtual const StaticFile* find(std::string_view path) const = 0;  // nullptr: none; any thread
};

// A table made at build time. Without "/index.html" the pages say that the site was not built.
class StaticTable final : public StaticFiles {
 public:
  explicit StaticTable(std::span<const StaticFile> files) : files_(files) {}
  const StaticFile* find(std::string_view path) const override;

 private:
  std::span<const StaticFile> files_;
};

struct ApiOptions {
  // All five outlive the service.
  engine::EngineClient* engine = nullptr;
  const base::Clock* clock = nullptr;
  base::Random* random = nullptr;
  const StaticFiles* files = nullptr;

  std::string version;             // "0.1.0"
  int port = 0;                    // the one that clients write into Host
  std::vector<std::string> hosts;  // host names admitted besides the loopback ones
  std::string state_dir;           // exists, 0700; sessions.json is kept there
  std::string api_key;             // account::load_or_make_api_key; kept as a hash only
  std::string setup_code;          // account::make_code, shown on the console by the caller
  // Called with a fresh code when one was used up, so that the console can show it (another
  // browser may want to sign in). Empty: there is no further code until the next start.
  std::function<void(std::string_view)> announce_code;
  std::string pull_command;  // shown beside the starter model; may be empty
  // Downloads for the page: who is asked (outlives the service; nullptr: nobody), what is admitted,
  // and the catalogue's name of what is proposed to this machine.
  PullDoor* pulls = nullptr;
  PullPolicy pull_policy = PullPolicy::off;
  std::string pull_model;
};

class Service {
 public:
  virtual ~Service() = default;
  virtual net::Handler handler() = 0;
  // For net::make_server: what no handler sees is refused in the API's form, too.
  virtual net::FaultForm fault_form() = 0;
  // For net::make_server: members may send pictures, strangers no more than body_bytes_max.
  virtual net::LargeBody large_body() = 0;
  virtual void attach(net::Server& server) = 0;
  virtual void detach() = 0;
  // What the supervisor says about downloads. Any thread, while attached.
  virtual void tell(PullNews news) = 0;
  // From now on a lost engine means that the server is being stopped. Any thread.
  virtual void begin_stop() = 0;
  // Ends the browsers' streams behind the frames that were posted before. Any thread, while
  // attached; the server may be stopped at once afterwards.
  virtual void end_streams() = 0;
};

base::Result<std::unique_ptr<Service>> make_service(ApiOptions options);

}  // namespace api
