#include "app/pictures_process.h"

#include <csignal>
#include <sys/prctl.h>
#include <unistd.h>

#include "app/child_process.h"
#include "app/seal.h"
#include "media/pictures.h"

namespace app {

int run_pictures_process() {
  ::prctl(PR_SET_NAME, "nautile-picture");
  prefer_for_oom_killer(pictures_oom_score);  // the picture that is being read goes first
  SealPlan seal;
  seal.read_only = {"/proc/self"};  // its own size, which a child's limit counts from
  const SealReport report = seal_process(seal);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a new user namespace has cleared it
  send_message(child_fd::pictures_report,
               base::Json::object({{"kind", "seal"}, {"seal", report.to_json()}}));
  ::close(child_fd::pictures_report);
  return media::keeper_main(child_fd::pictures_socket);
}

}  // namespace app
