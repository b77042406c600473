// The wire between gate and engine: frames over a connected stream socket, versioned, bounded.
//
//   frame   = payload bytes u32 | kind u8 | payload          little-endian, no padding
//   payload = the fields of the kind's struct below, in the order of wire.cc
//     integer  as wide as its type        bool   u8, 0 or 1
//     float    IEEE bits                  enum   u8
//     string   bytes u32 | bytes          vector count u32 | elements
//     optional u8 0 or 1 | value          Json   string with its compact text
//     variant  u8 index | alternative
//
// The gate does not trust the engine, whose model file may have taken it over: decode() refuses a
// payload with bytes missing or left over, a count that the bytes cannot hold, an enum or bool out
// of range, a NaN, a negative count, ill-formed UTF-8 where text is meant, pictures beyond the
// limits of engine.h. Whoever gets a refused frame closes the connection.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"

namespace engine::wire {

inline constexpr uint32_t version = 3;
inline constexpr uint32_t header_bytes = 5;
inline constexpr uint32_t to_engine_bytes_max = 64u << 20;  // a whole book, or pictures_bytes_max
inline constexpr uint32_t to_gate_bytes_max = 16u << 20;
inline constexpr int json_depth_max = 32;
inline constexpr int sketch_side_max = 1024;  // codes of a drawn picture, each way

// Gate to engine. `call` is chosen by the gate; one answer carries it back.
struct Hello {
  uint32_t version = wire::version;
};
struct Start {
  uint64_t call = 0;
  Request request;
};
struct Cancel {
  uint64_t request_id = 0;
};
struct AnswerNow {
  uint64_t request_id = 0;
};
struct Tokenize {
  uint64_t call = 0;
  std::string model, text;
  bool parse_special = false, add_bos = false;
};
struct Detokenize {
  uint64_t call = 0;
  std::string model;
  std::vector<int32_t> ids;
};
struct MeasurePrompt {
  uint64_t call = 0;
  std::string model;
  ChatPrompt prompt;
};

// Engine to gate.
struct Welcome {
  uint32_t version = wire::version;
  std::vector<ModelStatus> models;
  std::vector<UnusableModel> unusable = {};
};
struct Models {
  std::vector<ModelStatus> models;
};
struct Stats {
  EngineStats stats;
};
struct RequestEvent {
  uint64_t request_id = 0;
  Event event;
};
struct Refused {
  uint64_t call = 0;
  base::Error error;
};
struct Started {
  uint64_t call = 0;
};
struct Ids {
  uint64_t call = 0;
  std::vector<int32_t> ids;
};
struct Text {
  uint64_t call = 0;
  std::string text;  // bytes: ids may stand for ill-formed UTF-8
};
struct Size {
  uint64_t call = 0;
  PromptSize size;
};

// A frame's kind is the index in this list: new ones are appended.
using Frame = std::variant<Hello, Start, Cancel, AnswerNow, Tokenize, Detokenize, MeasurePrompt,
                           Welcome, Models, Stats, RequestEvent, Refused, Started, Ids, Text, Size>;

// Header and payload. invalid_input if the payload would pass `bytes_max`.
base::Result<std::string> encode(const Frame& frame, uint32_t bytes_max);
base::Result<Frame> decode(uint8_t kind, std::span<const uint8_t> payload);

}  // namespace engine::wire
