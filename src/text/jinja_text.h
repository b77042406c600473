// Text operations behind filters and methods that jinja_eval.h does not declare. Each returns false
// once an error is recorded.
#pragma once

#include <string_view>
#include <vector>

#include "text/jinja_eval.h"

namespace text::jinja {

bool text_title(Evaluator& e, const Str& text, bool as_filter, Str& out);
bool text_swapcase(Evaluator& e, const Str& text, Str& out);
// `side`: where the filling goes; both: center.
bool text_pad(Evaluator& e, const Str& text, Int width, std::string_view fill, Side side, Str& out);
bool text_lines(Evaluator& e, const Str& text, bool keep_ends, std::vector<Value>& out);
// At most `times` cuts, all if negative; at white space if there is no separator.
bool text_split(Evaluator& e, const Str& text, const Str* separator, Int times, bool from_right,
                std::vector<Value>& out);
bool text_join(Evaluator& e, const Str& separator, const List& items, bool only_texts, Str& out);

bool is_upper(uint32_t code_point);
bool is_lower(uint32_t code_point);
bool is_cased(uint32_t code_point);

}  // namespace text::jinja
