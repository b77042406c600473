// site_files.h: the built site, compiled into the program. Its source is made by tools/embed_web.py
// at build time (cmake/web.cmake). Without NAUTILE_WEB the table is empty and the pages say so.
// Any thread; the bytes live as long as the program.
#pragma once

#include "api/service.h"

namespace web {

const api::StaticFiles& site_files();

}  // namespace web
