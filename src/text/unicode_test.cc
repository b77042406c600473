#include "text/unicode.h"

#include <random>

#include "base/bytes.h"
#include "text/detokenizer.h"
#include "text/nfc.h"
#include "text/text_fixture_test.h"

namespace text {
namespace {

TEST(Unicode, CategoriesOfVersion16) {
  EXPECT_EQ(category_of('A'), Category::Lu);
  EXPECT_EQ(category_of(0x4e00), Category::Lo);
  EXPECT_EQ(category_of(0x1c89), Category::Lu);   // new in 16
  EXPECT_EQ(category_of(0x105c0), Category::Lo);  // Todhri, new in 16
  EXPECT_EQ(category_of(0x0378), Category::Cn);
  EXPECT_EQ(category_of(0xd800), Category::Cs);
  EXPECT_EQ(category_of(0x10ffff), Category::Cn);
  EXPECT_EQ(category_of(ill_formed + 0x80), Category::Cn);
}

TEST(Unicode, WhiteSpaceIsTheWholeProperty) {
  std::vector<uint32_t> found;
  for (uint32_t c = 0; c < code_point_end; ++c) {
    if (is_white_space(c)) found.push_back(c);
  }
  EXPECT_EQ(found, (std::vector<uint32_t>{9,      10,     11,     12,     13,     32,     0x85,
                                          0xa0,   0x1680, 0x2000, 0x2001, 0x2002, 0x2003, 0x2004,
                                          0x2005, 0x2006, 0x2007, 0x2008, 0x2009, 0x200a, 0x2028,
                                          0x2029, 0x202f, 0x205f, 0x3000}));
}

TEST(Unicode, EveryCodePointIsReadAsItIsWritten) {
  for (uint32_t c = 0; c < code_point_end; ++c) {
    if (c >= 0xd800 && c < 0xe000) continue;
    std::string text;
    append_utf8(text, c);
    const Decoded forward = decode_at(text, 0), backward = decode_before(text, text.size());
    ASSERT_EQ(forward.code_point, c);
    ASSERT_EQ(backward.code_point, c);
    ASSERT_EQ(forward.bytes, text.size());
  }
}

TEST(Unicode, IllFormedBytesComeOneByOne) {
  const std::string text = "\xc0\x80\xed\xa0\x80\xf5\xe4\xb8";
  for (size_t at = 0; at < text.size(); ++at) {
    EXPECT_EQ(decode_at(text, at).bytes, 1u);
    EXPECT_GE(decode_at(text, at).code_point, ill_formed);
    EXPECT_EQ(decode_before(text, at + 1).code_point, ill_formed + static_cast<uint8_t>(text[at]));
  }
}

TEST(Unicode, TheByteAlphabetIsOneToOne) {
  for (int byte = 0; byte < 256; ++byte) {
    EXPECT_EQ(symbol_byte(byte_symbol(static_cast<uint8_t>(byte))), byte);
  }
  EXPECT_EQ(byte_symbol(' '), 0x120u);
  EXPECT_EQ(byte_symbol('\n'), 0x10au);
  EXPECT_EQ(symbol_byte(0x144), -1);
  EXPECT_EQ(symbol_byte(0xad), -1);
}

TEST(Nfc, IsThatOfTheReference) {
  const base::Json file = testing_support::golden("text/nfc.json");
  for (const base::Json& test : file.find("cases")->as_array()) {
    const std::string& text = test.as_array()[0].as_string();
    const std::string& expected = test.as_array()[1].as_string();
    EXPECT_EQ(nfc(text), expected) << text;
    EXPECT_EQ(nfc(expected), expected);
    EXPECT_TRUE(text == expected || !is_nfc_quick(text));
  }
}

TEST(Nfc, EditsSayWhatBecameOfWhat) {
  const std::string text = "xe\u0301y\u212bz";
  std::vector<NfcEdit> edits;
  const std::string normal = nfc(text, &edits);
  EXPECT_EQ(normal, "xéyÅz");
  ASSERT_EQ(edits.size(), 2u);
  for (const NfcEdit& edit : edits) {
    EXPECT_EQ(nfc(text.substr(edit.from, edit.from_end - edit.from)),
              normal.substr(edit.to, edit.to_end - edit.to));
  }
}

TEST(Nfc, KeepsIllFormedBytes) {
  EXPECT_EQ(nfc("e\xff\u0301"), "e\xff\u0301");
  EXPECT_EQ(nfc("\xcc e\u0301\xcc"), "\xcc \u00e9\xcc");
}

TEST(Utf8Stream, OneReplacementForEachMaximalPart) {
  const std::pair<std::string, std::string> tests[] = {
      {"a\xff"
       "b",
       "a\ufffd"
       "b"},
      {"\xe4\xb8", "\ufffd"},
      {"\xe4\xb8\xe4\xb8\xad", "\ufffd\u4e2d"},
      {"\xed\xa0\x80", "\ufffd\ufffd\ufffd"},
      {"\xf0\x9f\x98\x80\xf0\x9f\x98", "\U0001f600\ufffd"},
      {"\xc0\x80", "\ufffd\ufffd"},
      {"\xf4\x90\x80\x80", "\ufffd\ufffd\ufffd\ufffd"},
      {"\ufeffx", "\ufeffx"}};
  for (const auto& [bytes, expected] : tests) {
    for (size_t step = 1; step <= bytes.size(); ++step) {
      Utf8Stream stream;
      std::string out;
      for (size_t at = 0; at < bytes.size(); at += step) {
        stream.push(std::string_view(bytes).substr(at, step), out);
        EXPECT_TRUE(base::is_utf8(out));
      }
      stream.flush(out);
      EXPECT_EQ(out, expected);
    }
  }
}

}  // namespace
}  // namespace text
