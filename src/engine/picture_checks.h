// What engine.h states of the pictures in a conversation, checked in three places: by the gate's
// client, so that a person hears what is wrong; by the engine; and by the wire, for neither trusts
// the other. Any thread.
#pragma once

#include "base/result.h"
#include "engine/engine.h"

namespace engine {

// limit_exceeded: too many or too large, with the numbers. invalid_input: a picture of another role
// than "user", out of order, behind its text's end or within a character.
base::Result<void> check_pictures(const ChatPrompt& prompt);

bool has_pictures(const ChatPrompt& prompt);

}  // namespace engine
