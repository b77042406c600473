// Functions that every template sees.
#include <ctime>

#include "text/jinja_eval.h"

namespace text::jinja {
namespace {

constexpr Int range_max = 100'000;  // as Jinja's sandbox has it

bool range(Evaluator& e, Args& args, Value& out) {
  if (!args.keyword.empty() || args.positional.empty() || args.positional.size() > 3) {
    return e.fail("range takes one to three whole numbers");
  }
  Int parts[3] = {0, 0, 1};
  for (size_t i = 0; i < args.positional.size(); ++i) {
    const size_t place = args.positional.size() == 1 ? 1 : i;
    if (!e.int_argument(args, i, "range", parts[place])) return false;
    constexpr Int most = static_cast<Int>(INT64_MAX);
    parts[place] = std::clamp<Int>(parts[place], -most, most);
  }
  const auto [start, stop, step] = parts;
  if (step == 0) return e.fail("range() arg 3 must not be zero");
  Int count = 0;
  if (step > 0 && start < stop) count = (stop - start - 1) / step + 1;
  if (step < 0 && start > stop) count = (start - stop - 1) / -step + 1;
  if (count > range_max) {
    return e.fail(fmt::format("a range has more than {} numbers", int_text(range_max)),
                  base::ErrorKind::limit_exceeded);
  }
  List* list = e.heap().list(ListKind::range);
  list->start = start;
  list->step = step;
  list->count = static_cast<uint64_t>(count);
  out = Value::of(list);
  return true;
}

// dict(pairs or a dict, key=value …).
bool make_dict(Evaluator& e, Args& args, Value& out) {
  Dict* dict = e.heap().dict();
  if (args.positional.size() > 1) return e.fail("dict expected at most 1 argument");
  if (!args.positional.empty() && args.positional[0].is(Kind::dict)) {
    for (const auto& [key, value] : args.positional[0].dict->members) {
      if (!e.step()) return false;
      e.heap().set(*dict, key, value);
    }
  } else if (!args.positional.empty()) {
    List* pairs = nullptr;
    if (!e.iterate(args.positional[0], pairs)) return false;
    for (size_t i = 0; i < pairs->size(); ++i) {
      List* pair = nullptr;
      if (!e.step() || !e.iterate(pairs->at(i), pair)) return false;
      if (pair->size() != 2) return e.fail("dict takes pairs");
      if (pair->at(0).is(Kind::list) || pair->at(0).is(Kind::dict)) {
        return e.fail("a list or dict cannot be a key");
      }
      e.heap().set(*dict, pair->at(0), pair->at(1));
    }
  }
  for (const auto& [key, value] : args.keyword) {
    if (!e.step()) return false;
    e.heap().set(*dict, Value::of(Str(key)), value);
  }
  out = Value::of(dict);
  return true;
}

bool make_namespace(Evaluator& e, Args& args, Value& out) {
  Space* space = e.heap().space();
  const auto set = [&](const Str& name, const Value& value) {
    e.heap().set(*space, name, value);
    return e.step(1 + space->attributes.size() / 16);
  };
  for (const Value& each : args.positional) {
    if (!each.is(Kind::dict)) return e.fail("namespace takes dicts and keywords");
    for (const auto& [key, value] : each.dict->members) {
      if (!key.is(Kind::string)) return e.fail("attributes are named by texts");
      if (!set(key.str, value)) return false;
    }
  }
  for (const auto& [key, value] : args.keyword) {
    if (!set(Str(key), value)) return false;
  }
  out = Value::of(space);
  return true;
}

bool raise_exception(Evaluator& e, Args& args, Value&) {
  Str message;
  if (!e.check(args, "raise_exception", {"message"}, 1) ||
      !e.to_text(*args.get(0, "message"), message)) {
    return false;
  }
  return e.fail_raised(message.view());
}

bool strftime_now(Evaluator& e, Args& args, Value& out) {
  Str format;
  if (!e.check(args, "strftime_now", {"format"}, 1) ||
      !e.text_argument(args, 0, "format", format)) {
    return false;
  }
  constexpr size_t format_bytes_max = 256, date_bytes_max = 1024;
  const std::string pattern(format.view());
  if (pattern.size() > format_bytes_max || pattern.find('\0') != std::string::npos) {
    return e.fail("strftime_now: the format is too long, or holds a NUL");
  }
  const time_t now = static_cast<time_t>(e.now_unix());
  struct tm parts {};
  if (gmtime_r(&now, &parts) == nullptr) return e.fail("strftime_now: the clock is out of range");
  char date[date_bytes_max];
  // The mark makes an empty date differ from one that is too long.
  const size_t length = strftime(date, sizeof date, (pattern + "x").c_str(), &parts);
  if (length == 0) return e.fail("strftime_now: the date is too long");
  out = Value::of(e.heap().text(std::string(date, length - 1)));
  return true;
}

bool make_cycler(Evaluator& e, Args& args, Value& out) {
  if (args.positional.empty()) return e.fail("cycler needs items");
  Function* cycler = e.heap().function(Function::Kind::cycler);
  cycler->items = args.positional;
  out = Value::of(cycler);
  return true;
}

bool make_joiner(Evaluator& e, Args& args, Value& out) {
  if (!e.check(args, "joiner", {"sep"})) return false;
  Function* joiner = e.heap().function(Function::Kind::joiner);
  const Value* separator = args.get(0, "sep");
  joiner->items.push_back(separator != nullptr ? *separator : Value::of(Str(", ")));
  out = Value::of(joiner);
  return true;
}

bool lipsum(Evaluator& e, Args&, Value&) {
  return e.fail("lipsum is not supported: a prompt needs no filler text",
                base::ErrorKind::unsupported);
}

struct NamedGlobal {
  std::string_view name;
  Global function;
};
constexpr NamedGlobal globals[] = {
    {"namespace", make_namespace},  {"range", range},    {"raise_exception", raise_exception},
    {"strftime_now", strftime_now}, {"dict", make_dict}, {"cycler", make_cycler},
    {"joiner", make_joiner},        {"lipsum", lipsum}};

}  // namespace

Global find_global(std::string_view name) {
  for (const NamedGlobal& each : globals) {
    if (each.name == name) return each.function;
  }
  return nullptr;
}

}  // namespace text::jinja
