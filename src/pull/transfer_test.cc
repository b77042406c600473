// The promise of transfer.h: stopped at any step of the disk, by a dead process or by a power cut,
// the next run ends with the right file, and fetches again no more than was under way.
#include "pull/transfer.h"

#include <atomic>
#include <gtest/gtest.h>

#include "crypto/digest.h"
#include "pull/ledger.h"
#include "pull/memory_disk_for_test.h"

namespace pull {
namespace {

constexpr size_t piece = 128 * 1024;
constexpr char path[] = "/models/R1.gguf";

std::string make_content(size_t bytes, uint64_t seed) {
  base::SeededRandom random(seed);
  std::string content(bytes, '\0');
  random.fill({reinterpret_cast<uint8_t*>(content.data()), content.size()});
  return content;
}

std::string sha256_of(std::string_view text) {
  crypto::Digest digest(crypto::Digest::Kind::sha256);
  digest.update(text);
  return digest.finish_hex();
}

// A hub whose one file is in memory; `faults` says what goes wrong, a read at a time.
class MemoryHub final : public Hub {
 public:
  using Fault = std::function<std::optional<ReadFailure>(int read, std::string& some)>;
  explicit MemoryHub(std::string content) : content_(std::move(content)) {}
  Fault fault = [](int, std::string&) { return std::nullopt; };
  std::atomic<int> reads{0};
  std::atomic<size_t> bytes{0};
  bool ranges = true;

  base::Result<Plan> plan() override { return Plan{"R1", "test:R1", {file()}}; }
  PlannedFile file() const {
    return {"R1.gguf", "test:R1", "", content_.size(), sha256_of(content_), "", ""};
  }
  base::Result<std::unique_ptr<Reader>> reader(const PlannedFile&,
                                               const ReaderOptions& options) override {
    return std::unique_ptr<Reader>(std::make_unique<Reading>(*this, options));
  }
  const std::string& content() const { return content_; }

 private:
  class Reading final : public Reader {
   public:
    Reading(MemoryHub& hub, ReaderOptions options) : hub_(hub), options_(std::move(options)) {}
    tl::expected<void, ReadFailure> read(uint64_t offset, uint64_t length,
                                         std::string& into) override {
      if (!hub_.ranges) {
        return tl::unexpected(ReadFailure{ReadFailure::Kind::no_ranges, {}});
      }
      std::string some = hub_.content_.substr(offset, length);
      auto failure = hub_.fault(hub_.reads++, some);
      into += some;
      hub_.bytes += some.size();
      options_.came(some.size());
      if (failure) return tl::unexpected(*failure);
      return {};
    }
    tl::expected<void, ReadFailure> read_whole(
        const std::function<base::Result<bool>(std::string_view)>& take) override {
      std::string all = hub_.content_;
      auto failure = hub_.fault(hub_.reads++, all);
      hub_.bytes += all.size();
      for (size_t at = 0; at < all.size(); at += 50'000) {
        const auto more = take(std::string_view(all).substr(at, 50'000));
        if (!more) return tl::unexpected(ReadFailure{ReadFailure::Kind::final, more.error()});
        if (!*more) return {};
      }
      if (failure) return tl::unexpected(*failure);
      return {};
    }

   private:
    MemoryHub& hub_;
    const ReaderOptions options_;
  };
  const std::string content_;
};

ReadFailure again() {
  return {ReadFailure::Kind::again, {base::ErrorKind::unavailable, "cut", "", ""}};
}

struct Attempt {
  MemoryDisk& disk;
  MemoryHub& hub;
  TransferSettings settings;
  std::atomic<int64_t> waited_ms{0};
  std::atomic<bool> cancelled{false};
  tl::expected<TransferResult, TransferFailure> go() {
    const auto ignore = [](size_t) {};
    const TransferEnvironment environment{
        disk,
        [this](int64_t ms, const std::function<bool()>&) { waited_ms += ms; },
        [this] { return cancelled.load(); },
        ignore,
        ignore,
        ignore,
        ignore};
    return transfer(hub, hub.file(), path, true, settings, environment);
  }
};

TEST(Transfer, BringsTheFileAndLeavesNothingElse) {
  for (const int connections : {1, 4, 16}) {
    MemoryDisk disk;
    MemoryHub hub(make_content(5 * piece + 77, 1));
    const auto done = Attempt{disk, hub, {connections, 2, 3}}.go();
    ASSERT_TRUE(done) << done.error().error.message();
    EXPECT_TRUE(done->vouched);
    EXPECT_EQ(done->sha256, sha256_of(hub.content()));
    EXPECT_EQ(disk.text(path), hub.content());
    EXPECT_FALSE(disk.has(partial_path(path)) || disk.has(progress_path(path)));
    EXPECT_EQ(hub.bytes, hub.content().size());
  }
}

// Kills at the step-th step of the disk, then lets a new process finish.
void kill_and_finish(const MemoryHub& model, int64_t step, base::Random* power) {
  MemoryDisk disk;
  MemoryHub hub(model.content());
  disk.steps_left = step;
  const bool whole = Attempt{disk, hub, {2, 0, 3}}.go().has_value();
  disk.crash(power);
  if (disk.has(path)) {
    EXPECT_EQ(disk.text(path), hub.content()) << step;  // a file with its name is right
    if (whole || !disk.has(partial_path(path))) return;
  }
  const size_t before = hub.bytes;
  uint64_t kept = 0;
  if (const auto state = parse_ledger(disk.text(progress_path(path)))) {
    for (const Piece& each : state->pieces) kept += each.have ? piece : 0;
  }
  const auto done = Attempt{disk, hub, {2, 0, 3}}.go();
  ASSERT_TRUE(done) << step << done.error().error.message();
  EXPECT_EQ(disk.text(path), hub.content()) << step;
  EXPECT_LE(hub.bytes - before + kept, hub.content().size() + piece) << step;
  // What was recorded had been synced, so even a power cut has taken none of it.
  EXPECT_EQ(done->pieces_again, 0u) << step;
}

TEST(Transfer, SurvivesDeathAtEveryStep) {
  const MemoryHub model(make_content(6 * piece + 5, 2));
  MemoryDisk disk;
  MemoryHub hub(model.content());
  ASSERT_TRUE((Attempt{disk, hub, {2, 0, 3}}.go()));
  const int64_t steps = disk.steps();
  ASSERT_GT(steps, 10);
  base::SeededRandom random(7);
  for (int64_t step = 0; step <= steps + 2; ++step) {
    kill_and_finish(model, step, nullptr);
    for (int power_cut = 0; power_cut < 4; ++power_cut) kill_and_finish(model, step, &random);
  }
}

TEST(Transfer, GoesOnWithinAPieceAfterAFailure) {
  MemoryDisk disk;
  MemoryHub hub(make_content(3 * piece, 3));
  hub.fault = [](int, std::string& some) -> std::optional<ReadFailure> {
    if (some.size() <= 2000) return std::nullopt;
    some.resize(2000);
    return again();
  };
  Attempt run{disk, hub, {1, 1, 3}};
  ASSERT_TRUE(run.go());
  EXPECT_EQ(disk.text(path), hub.content());
  EXPECT_EQ(hub.bytes, hub.content().size());
  EXPECT_EQ(run.waited_ms, 0);  // each time something came
}

TEST(Transfer, GivesUpAfterFailuresInARowAndWaitsBetweenThem) {
  MemoryDisk disk;
  MemoryHub hub(make_content(3 * piece, 3));
  hub.fault = [](int, std::string& some) {
    some.clear();
    return again();
  };
  Attempt run{disk, hub, {1, 3, 3}};
  const auto done = run.go();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().error.what, "cut");
  EXPECT_EQ(hub.reads, 4);
  EXPECT_EQ(run.waited_ms, 250 + 500 + 1000);
  EXPECT_FALSE(disk.has(path));
}

TEST(Transfer, FetchesAWrongPieceAloneAndBlamesADiskThatCannotKeepIt) {
  MemoryDisk disk;
  MemoryHub hub(make_content(6 * piece, 4));
  hub.fault = [](int read, std::string& some) -> std::optional<ReadFailure> {
    if (read < 5) return std::nullopt;
    some.clear();
    return again();
  };
  ASSERT_FALSE((Attempt{disk, hub, {1, 0, 3}}.go()));
  hub.fault = [](int, std::string&) { return std::nullopt; };
  hub.bytes = 0;
  disk.spoil(partial_path(path), 3 * piece + 9);
  const auto done = Attempt{disk, hub, {1, 0, 3}}.go();
  ASSERT_TRUE(done);
  EXPECT_EQ(done->pieces_again, 1u);
  EXPECT_EQ(hub.bytes, 2 * piece);
  EXPECT_EQ(disk.text(path), hub.content());
}

TEST(Transfer, ThrowsAwayWhatIsNotThePromisedContent) {
  MemoryDisk disk;
  MemoryHub hub(make_content(4 * piece, 5));
  hub.fault = [](int read, std::string& some) -> std::optional<ReadFailure> {
    if (read == 2) some[5] ^= 1;
    return std::nullopt;
  };
  const auto done = Attempt{disk, hub, {1, 0, 3}}.go();
  ASSERT_FALSE(done);
  EXPECT_TRUE(done.error().no_digest);
  EXPECT_EQ(done.error().error.kind, base::ErrorKind::invalid_input);
  EXPECT_FALSE(disk.has(path) || disk.has(partial_path(path)) || disk.has(progress_path(path)));
}

TEST(Transfer, ReadsASourceWithoutRangesInOrder) {
  MemoryDisk disk;
  MemoryHub hub(make_content(4 * piece + 9, 6));
  hub.ranges = false;
  hub.fault = [](int read, std::string& some) -> std::optional<ReadFailure> {
    if (read > 2) return std::nullopt;
    some.resize(static_cast<size_t>(read + 1) * piece + 50);
    return again();
  };
  const auto done = Attempt{disk, hub, {4, 1, 3}}.go();
  ASSERT_TRUE(done) << done.error().error.message();
  EXPECT_EQ(disk.text(path), hub.content());
}

TEST(Transfer, StopsWhenToldTo) {
  MemoryDisk disk;
  MemoryHub hub(make_content(4 * piece, 8));
  Attempt run{disk, hub, {2, 1, 3}};
  hub.fault = [&](int read, std::string&) -> std::optional<ReadFailure> {
    if (read == 2) run.cancelled = true;
    return std::nullopt;
  };
  const auto done = run.go();
  if (!done) EXPECT_EQ(done.error().error.kind, base::ErrorKind::interrupted);
  run.cancelled = false;
  hub.fault = [](int, std::string&) { return std::nullopt; };
  if (!done) ASSERT_TRUE(run.go());
  EXPECT_EQ(disk.text(path), hub.content());
}

TEST(Ledger, PiecesSuitTheFile) {
  EXPECT_EQ(piece_bytes_for(1), 128u * 1024);
  EXPECT_EQ(piece_bytes_for(1'000'000'000), 512u * 1024);
  EXPECT_EQ(piece_bytes_for(uint64_t{1} << 30), 512u * 1024);
  EXPECT_EQ(piece_bytes_for(uint64_t{400} << 30), 8u << 20);
}

TEST(Ledger, BelievesOnlyWholeRecordsOfTheSameFile) {
  MemoryDisk disk;
  const FileIdentity identity{"test:R1", 3 * piece, "sha256:x", ""};
  {
    auto ledger = Ledger::open(disk, "/l", identity);
    ASSERT_TRUE(ledger);
    ASSERT_TRUE(ledger->have({{0, crypto::hash("a", "0")}, {2, crypto::hash("a", "2")}}));
    ASSERT_TRUE(ledger->lost(0));
  }
  const std::string text = disk.text("/l");
  ASSERT_EQ(text.size(), 4096u + 3 * 48);
  for (size_t size = 0; size <= text.size(); ++size) {
    const auto state = parse_ledger(std::string_view(text).substr(0, size));
    ASSERT_EQ(state.has_value(), size >= 4096) << size;
    if (!state) continue;
    EXPECT_EQ(state->bytes_used, 4096 + (size - 4096) / 48 * 48);
    EXPECT_EQ(state->pieces[0].have, size >= 4096 + 48 && size < 4096 + 3 * 48) << size;
    EXPECT_EQ(state->pieces[2].have, size >= 4096 + 2 * 48);
  }
  for (size_t at = 0; at < text.size(); at += 7) {
    std::string bent = text;
    bent[at] ^= 4;
    const auto state = parse_ledger(bent);
    EXPECT_TRUE(!state || state->bytes_used < text.size()) << at;
  }
  FileIdentity other = identity;
  other.digest = "sha256:y";
  auto fresh = Ledger::open(disk, "/l", other);
  ASSERT_TRUE(fresh);
  EXPECT_FALSE(fresh->piece(2).have);
}

}  // namespace
}  // namespace pull
