// The engine in this process for one verb that talks to a model: opened with the settings, and
// Ctrl-C counted while it answers. Used by run and image.
#pragma once

#include <memory>

#include "app/model_store.h"
#include "app/verb.h"
#include "engine/engine.h"
#include "media/pictures.h"

namespace app {

// Opens `stored` alone. A context that was asked for and is not had is said on stderr, as is what
// the model takes: the former to everyone, the latter to a person or where it is much.
struct OneEngineOptions {
  bool exact = false;
  int drawn = 0;                                   // pictures that are drawn together
  std::shared_ptr<media::PictureReader> pictures;  // null: no message has any
};
base::Result<std::unique_ptr<engine::EngineClient>> open_one_engine(const Session& session,
                                                                    const StoredModel& stored,
                                                                    OneEngineOptions options);

// From now on Ctrl-C ends the program at once, with the exit code of an interrupt and a line that
// nothing was written: for the time before there is anything to keep. A verb's first call, while
// the process has one thread.
void end_on_interrupt(const Session& session);
// From now on Ctrl-C is counted and ends nothing; the third ends the program where it stands.
void count_interrupts();
int interrupts_so_far();

}  // namespace app
