// `nautile internal-pictures`: the keeper of pictures. It seals itself like the others, says so to
// the supervisor, and then keeps to a handful of system calls; each picture is decoded in a child
// of its own, which may do still less.
#pragma once

namespace app {
int run_pictures_process();  // exit code; descriptors as child_fd says
}  // namespace app
