// The two helpers that the supervisor starts when the page asks for models, each a short-lived
// process of its own with settings and a message socket (child_fd, pull_messages.h).
#pragma once

namespace app {

// `internal-pull`: fetches one reference, as `nautile pull` does, and tells how it goes. The only
// process of a server that reaches the network; it is there only while the owner's download runs.
// {"reference"}
int run_pull_process();

// `internal-catalogue`: what there is to fetch, held against this machine. Confined, without
// network. {"models_dir","threads","measure":bool,"bandwidth_gb_per_s"}
int run_catalogue_process();

}  // namespace app
