// How the accesses of a warp's lanes would fall together on a GPU: the n-th time that each lane comes by a place counts as one
// request of the warp. Device memory moves in sectors of 32 bytes; shared memory has 32 banks of 4 bytes, and serves 8 bytes a lane
// to half a warp, 16 bytes to a quarter of one.
#include "accesses.h"

#include <algorithm>
#include <array>
#include <set>
#include <unordered_map>
#include <utility>

#include "fibers.h"

namespace emulator::accesses {
namespace {

struct Lane {
    uintptr_t address;
    int lane;
};
struct Request {
    std::vector<Lane> lanes;
    size_t bytes = 0;
    bool shared = false;
};
struct Key {
    const void* place;
    unsigned block;
    int warp;
    size_t turn;
    bool operator==(const Key& o) const {
        return place == o.place && block == o.block && warp == o.warp && turn == o.turn;
    }
};
struct Hash {
    size_t operator()(const Key& k) const {
        size_t h = reinterpret_cast<size_t>(k.place);
        for (size_t v : {size_t(k.block), size_t(k.warp), k.turn}) h = (h ^ v) * 0x9e3779b97f4a7c15u;
        return h;
    }
};
struct Turn {
    const void* place;
    unsigned block, thread;
    bool operator==(const Turn& o) const { return place == o.place && block == o.block && thread == o.thread; }
};
struct TurnHash {
    size_t operator()(const Turn& t) const { return Hash()({t.place, t.block, 0, t.thread}); }
};

bool on = false;
std::unordered_map<Key, Request, Hash> requests;  // of the launch under way
std::unordered_map<Turn, size_t, TurnHash> turns;
std::map<std::pair<const void*, bool>, Sum> sums;

// Passes over the banks.
size_t passes(const Request& r, size_t& least) {
    const size_t group = r.bytes == 16 ? 8 : r.bytes == 8 ? 16 : 32;
    size_t total = 0;
    least = 0;
    for (size_t g = 0; g < 32; g += group) {
        std::array<std::set<uintptr_t>, 32> words;
        for (const Lane& l : r.lanes)
            if (size_t(l.lane) / group == g / group)
                for (size_t b = 0; b < r.bytes; b += 4) {
                    const uintptr_t word = l.address / 4 + b / 4;
                    words[word % 32].insert(word);
                }
        size_t most = 0;
        for (const auto& w : words) most = std::max(most, w.size());
        total += most, least += most > 0;
    }
    return total;
}
size_t sectors(const Request& r, size_t& least) {
    std::set<uintptr_t> touched, bytes;
    for (const Lane& l : r.lanes)
        for (size_t b = 0; b < r.bytes; ++b) touched.insert((l.address + b) / 32), bytes.insert(l.address + b);
    least = (bytes.size() + 31) / 32;
    return touched.size();
}

}  // namespace

void record(bool start) {
    on = start;
    requests.clear(), turns.clear();
    if (start) sums.clear();
}

void note(const void* place, uintptr_t address, size_t bytes, bool shared) {
    const Thread* t = machine.current;
    if (!on || !t || machine.whole_warp) return;  // how a warp reads a tile is its own affair
    const size_t turn = turns[{place, t->block->number, unsigned(t->number)}]++;
    Request& r = requests[{place, t->block->number, t->number / 32, turn}];
    r.bytes = bytes, r.shared = shared;
    r.lanes.push_back({address, t->number % 32});
}

void end_launch() {
    for (const auto& [key, request] : requests) {
        Sum& sum = sums[{key.place, request.shared}];
        size_t least = 0;
        sum.cost += request.shared ? passes(request, least) : sectors(request, least);
        sum.least += least, ++sum.requests;
    }
    requests.clear(), turns.clear();
}

std::vector<Place> report() {
    std::vector<Place> found;
    for (const auto& [key, sum] : sums) found.push_back({key.first, key.second, sum});
    return found;
}

}  // namespace emulator::accesses
