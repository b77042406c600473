// The small parts of base: names in errors, UTF-8, checked arithmetic, clock, random, catalogue,
// log.
#include <algorithm>
#include <array>
#include <cstdio>
#include <gtest/gtest.h>
#include <string>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/messages.h"
#include "base/random.h"
#include "base/result.h"

namespace base {
namespace {

TEST(ShownName, CutsAndEscapes) {
  EXPECT_EQ(shown_name("blk.0"), "\"blk.0\"");
  EXPECT_EQ(shown_name("a\"b\n\x7f"), "\"a\\\"b\\x0a\\x7f\"");
  EXPECT_EQ(shown_name("\xff"), "\"\\xff\"");
  EXPECT_EQ(printable("a \"b\" é\n\x1b[2J"), "a \"b\" é\\x0a\\x1b[2J");
  EXPECT_EQ(printable("\u009b1m\u00a0"), "\\xc2\\x9b1m\u00a0");
  EXPECT_EQ(printable("é\xff"), "\\xc3\\xa9\\xff");
  EXPECT_EQ(printable(""), "");
  const std::string cut = shown_name(std::string(199, 'a') + "éé");
  EXPECT_EQ(cut, "\"" + std::string(199, 'a') + "…\"");
  EXPECT_TRUE(is_utf8(cut));
}

TEST(Utf8, TableOfWellFormedSequences) {
  for (const char* good : {"", "a", "é", "€", "😀", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(is_utf8(good)) << good;
  }
  for (const char* bad :
       {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82", "a\xff"}) {
    EXPECT_FALSE(is_utf8(bad)) << bad;
  }
}

TEST(Checked, RefusesOverflow) {
  EXPECT_EQ(checked_mul(1ull << 32, 1ull << 31), 1ull << 63);
  EXPECT_FALSE(checked_mul(1ull << 32, 1ull << 32));
  EXPECT_FALSE(checked_add(~0ull, 1));
}

TEST(ByteReader, NeverPassesTheEnd) {
  const std::array<uint8_t, 5> bytes{1, 0, 0, 0, 9};
  ByteReader reader(bytes);
  EXPECT_EQ(reader.read<uint32_t>(), 1u);
  EXPECT_FALSE(reader.read<uint16_t>());
  EXPECT_FALSE(reader.take(2));
  EXPECT_FALSE(reader.fits(~0ull, 8));
  EXPECT_EQ(reader.take(1)->front(), 9);
}

TEST(Random, BelowCoversItsRange) {
  SeededRandom random(7);
  std::array<int, 5> seen{};
  for (int i = 0; i < 1000; ++i) ++seen[random.below(5)];
  EXPECT_GT(*std::min_element(seen.begin(), seen.end()), 120);
  EXPECT_EQ(random_hex(random, 16).size(), 32u);
}

TEST(Messages, BothLanguagesTakeTheSameArguments) {
  const auto places = [](std::string_view text) {
    std::string found;
    for (size_t i = 0; i + 1 < text.size(); ++i) {
      if (text[i] == '{') found += text[i + 1];
    }
    std::sort(found.begin(), found.end());
    return found;
  };
  for (int i = 0; i < static_cast<int>(Message::count_); ++i) {
    const auto english = pattern(Language::english, static_cast<Message>(i));
    const auto french = pattern(Language::french, static_cast<Message>(i));
    EXPECT_EQ(places(english), places(french)) << english;
    EXPECT_NE(english, french);
  }
  EXPECT_EQ(say(Language::english, Message::serve_address, "http://x"), "Open http://x");
}

TEST(Messages, SentencesThatAroseInEnglishAreSaidInFrench) {
  const auto french = [](std::string_view english) {
    return translated(Language::french, english);
  };
  EXPECT_EQ(translated(Language::english, "there is no model \"x\""), "there is no model \"x\"");
  EXPECT_EQ(french("there is no model \"x\""), "il n'y a pas de modèle \"x\"");
  EXPECT_EQ(french("isa = \"sse\" (--isa) is not acceptable"),
            "isa = \"sse\" (--isa) n'est pas acceptable");
  EXPECT_EQ(french("it needs 12 MiB, 3 MiB are available"),
            "il demande 12 Mio, 3 Mio sont disponibles");
  EXPECT_EQ(french("{1}: {0} has the wrong type"), "{1} : {0} n'a pas le bon type");
  for (const char* unknown : {"", "there is no model ", "download it again and again",
                              "it needs  MiB", "xthere is no model y"}) {
    EXPECT_EQ(french(unknown), unknown);
  }
}

TEST(Log, WritesOneLineOfEnumsAndNumbers) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  FakeClock clock;
  Log log(clock, ends[1], LogLevel::info);
  log.write(LogLevel::debug, LogEvent::process_started);
  log.write(LogLevel::info, LogEvent::process_started,
            {{LogKey::pid, int64_t{42}},
             {LogKey::account_hash, LogHash{255}},
             {LogKey::duration_ms, LogDurationMs{7}}});
  close(ends[1]);
  std::string line(256, '\0');
  line.resize(static_cast<size_t>(read(ends[0], line.data(), line.size())));
  close(ends[0]);
  EXPECT_EQ(line,
            "2023-11-14T22:13:20.000Z info process.started pid=42 "
            "account=00000000000000ff duration_ms=7ms\n");
}

}  // namespace
}  // namespace base
