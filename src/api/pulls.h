// Downloads of models as the gate knows them. The gate fetches nothing and cannot: it passes the
// owner's wish on (PullDoor) and shows what it is told about it (PullNews). Behind the door stands
// the supervisor, which decides whether the wish is admitted and starts a program that has network.
//
// Plain data; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"

namespace api {

// What the owner may ask for from the page; the supervisor holds to it, the gate only shows it.
enum class PullPolicy : uint8_t { off, catalogue, any };

inline constexpr size_t pull_reference_bytes_max = 256;
inline constexpr size_t catalogue_rows_max = 64;

struct CatalogueRow {
  std::string name, short_name, reference, licence;
  int64_t bytes = 0, memory_bytes = 0;  // of its files; when it runs with an 8k context. About
  double parameters_b = 0;              // thousand millions
  double tokens_per_s = 0;              // what this machine's memory allows at most; 0: unknown
  bool fits = false;                    // into this machine's memory
  bool from_disk = false;               // if not: its experts can be read from disk, slower
  bool proposed = false;                // the largest R1 distill for this machine
  bool runs = false;                    // false: this program cannot run it yet
  std::string installed;                // the id that it is run by; empty: it is not here
};

struct Catalogue {
  int64_t memory_bytes = 0;       // of the machine
  int64_t free_bytes = 0;         // on the disk of the models
  double bandwidth_gb_per_s = 0;  // as measured; 0: not yet
  std::vector<CatalogueRow> rows;
};

struct PullStatus {
  enum class State : uint8_t {
    none,
    planning,  // asking which files there are
    fetching,
    checking,  // reading back, and comparing with the checksum
    opening,   // it is here; the engine takes it up once the running answers have ended
    done,      // it can be used
    paused,
    failed
  };
  State state = State::none;
  std::string reference;  // what was asked for, in full
  std::string name;       // as a person knows it
  std::string model;      // the id that it will be run by, once known
  int64_t bytes_total = 0, bytes_here = 0;
  int64_t bytes_per_s = 0;
  int64_t left_ms = -1;              // about; -1: not known
  std::optional<base::Error> error;  // when failed
  bool resumable = false;            // when failed: asking again goes on with what is here
};
std::string_view state_word(PullStatus::State state);
std::optional<PullStatus::State> state_of(std::string_view word);

// The answer to PullDoor::start().
struct PullAnswer {
  enum class Refusal : uint8_t { none, off, outside, busy, reference, rate, failed };
  uint64_t call = 0;
  Refusal refusal = Refusal::none;
  base::Error error;  // when refused
  int64_t retry_after_ms = -1;
};
struct CatalogueAnswer {
  uint64_t call = 0;
  base::Result<Catalogue> catalogue;
};
// A new model lies there: let the engine go (PullDoor::release_engine) as soon as nothing runs.
struct EngineWanted {};
using PullNews = std::variant<PullAnswer, CatalogueAnswer, PullStatus, EngineWanted>;

// The way to the supervisor. Called on the loop thread; none of it waits. False: nobody hears, and
// no answer will come.
class PullDoor {
 public:
  virtual ~PullDoor() = default;
  virtual bool start(uint64_t call, std::string_view reference) = 0;
  virtual bool pause() = 0;
  // One that has ended is not shown any more; what it fetched stays on the disk.
  virtual bool dismiss() = 0;
  virtual bool ask_catalogue(uint64_t call) = 0;
  // The engine's connection is dropped here and now, so that no request can begin and be cut; the
  // supervisor starts the next engine.
  virtual void release_engine() = 0;
};

}  // namespace api
