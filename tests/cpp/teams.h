// Teams of threads by themselves: who is in one, one after the other, inside of one another and side by side.
#pragma once
#include <thread>

#include "core/parallel.h"
#include "subject.h"

namespace {

// Every member once, and all of them see what was written before the barrier.
bool complete(int wanted) {
    constexpr int most = 32;
    std::atomic<int> seen[most] = {}, wrong{0};
    int written[most] = {}, team = 0;
    fd::parallel(wanted, [&](const fd::Worker& w) {
        if (w.first()) team = w.team;
        ++seen[w.id];
        written[w.id] = w.id + 1;
        if (fd::in_team() != (w.team > 1)) ++wrong;
        w.sync();
        int sum = 0;
        for (int id = 0; id < w.team; ++id) sum += written[id];
        if (sum != w.team * (w.team + 1) / 2) ++wrong;
    });
    for (int id = 0; id < most; ++id)
        if (seen[id] != (id < team)) ++wrong;
    return team == wanted && wrong == 0 && !fd::in_team();
}

void teams() {
    for (int wanted : {1, 2, 8, 3, 20, 1, 2, 20, 7})
        check(complete(wanted), "a team of " + std::to_string(wanted) + ": every member once");

    std::atomic<int> alone{0};
    fd::parallel(3, [&](const fd::Worker&) {
        fd::parallel(4, [&](const fd::Worker& w) { alone += w.team == 1 && w.id == 0; });
    });
    check(alone == 3, "a team inside of a team is one thread");

    std::atomic<int> good{0};
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 4; ++caller)
        callers.emplace_back([&, caller] {
            for (int i = 0; i < 100; ++i) good += complete(2 + (caller + i) % 3);
        });
    for (std::thread& caller : callers) caller.join();
    check(good == 400, "teams side by side");

    int after_sleep = 0;  // longer than members spin: they must be woken
    for (int i = 0; i < 5; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        after_sleep += complete(4);
    }
    std::atomic<bool> late{false};
    fd::parallel(3, [&](const fd::Worker& w) {  // worker 0 waits for the end of the others, and sleeps meanwhile
        if (w.first()) return;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        late = true;
    });
    check(after_sleep == 5 && late, "teams of threads that slept");
}

}  // namespace
