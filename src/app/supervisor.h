// The supervisor: the process that was started by hand. It owns the listening socket, starts gate,
// engine and the keeper of pictures as its children, starts again what dies, hands each new
// engine's socket to the gate, and stops all cleanly. It holds no user data and speaks to no
// client.
//
//     supervisor --listener--> gate <====socket====> engine <====socket====> pictures --> child
//         |  '----control-----'                        | model files        (a keeper)   a picture
//         '--------------- starts all three -----------'
//
// The engine's socket to the keeper is new with each engine. The supervisor holds the keeper's end
// too, so that a keeper that dies is followed by another on the same socket, and the engine waits
// for that one instead of finding the socket closed.
//
// When the owner's page asks for a model, it starts a third process that fetches it, the only one
// with network, and afterwards another engine with one model more (downloads.h).
//
// One thread, which sleeps in poll() until a signal or a message comes.
#pragma once

#include "app/child_process.h"
#include "app/serve_plan.h"
#include "app/verb.h"

namespace app {

// Serves until SIGTERM or SIGINT; returns the exit code. `listener` is handed to every gate.
// Prints address, code and key, and what happens, on stdout.
base::Result<int> supervise(const Session& session, ServePlan plan, Fd listener, bool owned);

// What the page's download has reached (0600), while there is one that could be resumed.
std::string download_file(const Places& places);

// Written beside the state while a server runs (0600), so that `doctor --privacy` finds it.
std::string running_file(const Places& places);

}  // namespace app
