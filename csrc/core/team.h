// What makes a team's threads: team_openmp.cpp or team_threads.cpp, which the build chooses between. Both call the same bodies with
// the same ids, so that results do not depend on the choice.
#pragma once
#include "core/parallel.h"

namespace fd {

// body(worker) on the calling thread, as worker 0, and on up to threads - 1 others, fewer if the system refuses them. Not from
// inside of a team.
void start_team(int threads, void (*body)(void*, const Worker&), void* context, Barrier& barrier);

}  // namespace fd
