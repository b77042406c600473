// A script: what the scripted engine does for one request, commanded by the prompt itself. A last
// user message that begins with "/script" holds steps, one a line or parted by ";":
//
//   queue P [for S s]           positions P … 1, S seconds in all (1 each)
//   load [for S s]              the model is being loaded
//   read N [for S s]            N prompt tokens are read
//   … still [at F]              after one of these: only what stands at F % (0) of it, at once
//   think N [at R/s]            N tokens of reasoning
//   stream N [at R/s]           N tokens of answer
//   say [at R/s] TEXT           TEXT, to the end of the message, newlines and all
//   pause S s
//   hold                        nothing more until it is cancelled or told to answer now
//   gate                        nothing more until "answer now": it opens this gate, and that is
//                               all that it does, so that a test says when the rest comes
//   stop | length | full        ends: by itself, by tokens_max, because the context is full
//   die | fail                  the engine dies (everybody's answers end) | only this one fails
//   context N                   the prompt measures N tokens for each exchange in it
//   refuse                      start() refuses: the engine is starting
//
// What is to be drawn may be commanded too:
//
//   sketch N [at R/s]           the next N rows of every picture
//   gate | hold | die | fail    as above
//
// then come the rows that are left, and the pictures: the same ones for the same seed.
//
// Anything else is answered with 24 words at 200 a second. Words of filler ("tokens", "then") are
// skipped, so "/script think 50 tokens at 30/s; stream 200 tokens at 60/s" reads well.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace scripted {

struct Step {
  enum class Kind : uint8_t { event, hold, gate, die } kind = Kind::event;
  int64_t delay_us = 0;  // after the step before
  engine::Event event;
  bool reasoning = false;  // left out once the person wants the answer now
};

struct Script {
  std::vector<Step> steps;  // without a last End: it ends with `stop`
  bool refused = false;
  int tokens_per_exchange = -1;  // -1: counted
};

// `seed` picks the words.
Script script_of(const std::string& prompt, uint64_t seed);

// What is drawn: rows of 24 codes, then each picture with seed, seed + 1, ….
constexpr int drawn_side = 384, drawn_grid = 24;
Script drawing_of(const engine::DrawPrompt& prompt, uint64_t seed);

// Text cut into the pieces that this engine calls tokens: a run of white space and the word after
// it, at most 16 bytes, never inside a character.
std::vector<std::string> pieces_of(const std::string& text);

}  // namespace scripted
