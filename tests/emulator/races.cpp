// For every two bytes of tracked memory: who wrote them last, and who has read them since.
#include "races.h"

#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "accesses.h"
#include "fibers.h"

namespace emulator::races {
namespace {

enum class Spread : uint8_t { thread, warp, block, grid };  // how many took part

struct Access {
    const void* place = nullptr;  // in the program; null: a copy or fill
    uint32_t work = 0;            // 0: none yet
    uint32_t block = 0, barriers = 0, warp_barriers = 0, grid_barriers = 0;
    uint16_t thread = 0;  // whole_warp + its number: some lanes of it, unknown which
    Spread spread = Spread::thread;
};
constexpr uint16_t whole_warp = 0x8000;

struct Cell {
    Access write;
    std::array<Access, 2> reads;  // by work in two streams
};
constexpr size_t granule = 2, cells = page_bytes / granule;
struct Page {
    uintptr_t first, last;  // bytes that are tracked
    bool shared;
    Cell cell[cells];
};

struct Range {
    size_t bytes;
    bool shared;
};
std::map<uintptr_t, Range> tracked;  // by address
// Theirs, by address / page_bytes, from the first access on.
std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages;
struct Found {
    uintptr_t number = ~uintptr_t(0);
    Page* page = nullptr;
};
std::array<Found, 4096> recent;

struct Work {
    int stream;
    uint64_t count;
    uint32_t known = 0;  // the latest work that is known to come after it
};
std::vector<Work> history(1);
uint32_t past = 0;  // works before this one come before all that follow
Clock now;
bool announced = false;  // there is code that announces its accesses
bool working = false;
bool inside =
    false;  // templates of the standard library are the same functions here and in kernels, where they announce accesses
struct Inside {
    Inside() { inside = true; }
    ~Inside() { inside = false; }
};
struct Arrival {
    uint32_t number = 0, barriers = 0;  // 0: not yet; those that its block has passed
    uint16_t thread = 0;
    bool fenced = false;
};
std::unordered_map<uint32_t, Arrival> arrivals;  // by block
std::string race;

void forget_recent() {
    if (announced) recent.fill({});
}

Page* page_of(uintptr_t number) {
    Found& f = recent[number % recent.size()];
    if (f.number == number) return f.page;
    f = {number, nullptr};
    auto range = tracked.lower_bound((number + 1) * page_bytes);
    if (range == tracked.begin()) return nullptr;
    --range;
    const uintptr_t last = range->first + range->second.bytes - 1;
    if (last < number * page_bytes) return nullptr;
    std::unique_ptr<Page>& page = pages[number];
    if (!page) {
        page = std::make_unique<Page>();
        page->first = range->first, page->last = last, page->shared = range->second.shared;
    }
    return f.page = page.get();
}

int warp(const Access& a) { return a.thread & whole_warp ? a.thread & ~whole_warp : a.thread / 32; }

// Whether block a's access comes before its arrival, and b's after a later one of its own.
bool arrived_before(const Access& a, const Access& b) {
    const auto later = arrivals.find(b.block);
    if (later == arrivals.end()) return false;
    const Arrival& own = later->second;
    if (b.barriers <= own.barriers && b.thread != own.thread) return false;
    const auto left = [&](uint32_t block) {
        const auto it = arrivals.find(block);
        if (it == arrivals.end() || !it->second.fenced || it->second.number >= own.number) return false;
        return a.barriers < it->second.barriers || (a.spread == Spread::thread && a.thread == it->second.thread);
    };
    if (a.spread != Spread::grid) return left(a.block);
    // unknown which blocks: so all of the grid but its own
    const dim3 n = machine.grid_size;
    for (uint32_t block = 0; block < n.x * n.y * n.z; ++block)
        if (block == b.block ? a.barriers > own.barriers : !left(block)) return false;
    return true;
}

bool before(const Access& a, const Access& b, bool shared) {
    if (a.work != b.work) {
        if (shared) return true;  // another block's memory
        if (a.work < past) return true;
        Work& w = history[a.work];
        if (w.known == b.work) return true;
        auto it = now.find(w.stream);
        if (it == now.end() || it->second < w.count) return false;
        w.known = b.work;
        return true;
    }
    if (a.spread == Spread::grid || a.block != b.block)
        return shared || a.grid_barriers < b.grid_barriers || arrived_before(a, b);
    if (a.barriers < b.barriers) return true;
    if (a.spread == Spread::block || warp(a) != warp(b)) return false;
    if (a.warp_barriers < b.warp_barriers) return true;
    return a.spread == Spread::thread && a.thread == b.thread;
}

void widen(Access& a, const Access& b) {  // two reads of one piece of work that nothing puts in an order
    Spread together = a.block != b.block     ? Spread::grid
                      : warp(a) != warp(b)   ? Spread::block
                      : a.thread != b.thread ? Spread::warp
                                             : Spread::thread;
    if (a.spread > together) together = a.spread;
    const uint32_t barriers = std::max(a.barriers, b.barriers);
    a = b;
    a.spread = together, a.barriers = barriers;
}

}  // namespace

std::string place_of(const void* place) {
    Dl_info info;
    if (!place) return "a copy or fill";
    if (!dladdr(place, &info) || !info.dli_fname) return "an unknown place";
    char command[4096];
    std::snprintf(command, sizeof command, "addr2line -s -e '%s' %#zx", info.dli_fname,
                  size_t(static_cast<const char*>(place) - static_cast<const char*>(info.dli_fbase)) - 1);
    std::string text;
    if (FILE* answer = popen(command, "r")) {
        char line[512];
        if (std::fgets(line, sizeof line, answer)) text = line;
        pclose(answer);
    }
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return text.empty() ? "an unknown place" : text;
}

namespace {

std::string described(const Access& a, const char* what) {
    std::string who = a.thread & whole_warp ? "warp " + std::to_string(warp(a)) : "thread " + std::to_string(a.thread);
    who += " of block " + std::to_string(a.block);
    if (a.spread != Spread::thread) who += " and others";
    return what + (a.place ? " by " + who + " at " + place_of(a.place) : " by " + place_of(a.place));
}

void report(const Access& a, bool a_writes, const Access& b, bool b_writes, bool shared) {
    if (!race.empty()) return;
    race = std::string("race in ") + (shared ? "shared" : "device") +
           " memory: " + described(a, a_writes ? "written" : "read") + ", then " +
           described(b, b_writes ? "written" : "read") + (a.work == b.work ? "" : ", in another launch") +
           "; nothing puts the two in an order";
}

Access access_now(const void* place) {
    Access a;
    a.place = place;
    a.work = uint32_t(history.size() - 1);
    if (const Thread* t = machine.current) {
        a.block = t->block->number, a.barriers = t->block->barriers;
        a.warp_barriers = t->warp_barriers, a.grid_barriers = machine.grid_barriers;
        a.thread = uint16_t(machine.whole_warp ? whole_warp + t->number / 32 : t->number);
    }
    return a;
}

void write_cell(Cell& c, const Access& a, bool shared) {
    if (c.write.work && !before(c.write, a, shared)) report(c.write, true, a, true, shared);
    for (Access& r : c.reads) {
        if (r.work && !before(r, a, shared)) report(r, false, a, true, shared);
        r.work = 0;  // what comes after this write comes after them
    }
    c.write = a;
}
void read_cell(Cell& c, const Access& a, bool shared) {
    if (c.write.work && !before(c.write, a, shared)) report(c.write, true, a, false, shared);
    for (Access& r : c.reads) {
        if (!r.work || before(r, a, shared)) r = a;
        else if (r.work == a.work) widen(r, a);
        else continue;
        return;
    }
    c.reads[0] = a;
}

}  // namespace

void access(const void* p, size_t bytes, bool write, const void* place) {
    if (!working || inside) return;
    const Inside guard;
    const uintptr_t first = reinterpret_cast<uintptr_t>(p), last = first + bytes - 1;
    // the emulator's own lies beside static shared memory
    if (first - reinterpret_cast<uintptr_t>(&machine) < sizeof machine) return;
    Page* page = page_of(first / page_bytes);
    if (!page && first / page_bytes == last / page_bytes) return;
    if (page && first >= page->first && last <= page->last) accesses::note(place, first, bytes, page->shared);
    const Access a = access_now(place);
    for (uintptr_t at = first; at <= last;) {  // page by page
        page = page_of(at / page_bytes);
        const uintptr_t end = std::min(last, (at / page_bytes + 1) * page_bytes - 1);
        if (page && at >= page->first && end <= page->last) {
            Cell* const c = page->cell + at % page_bytes / granule;
            const uintptr_t count = end / granule - at / granule + 1;
            for (uintptr_t i = 0; i < count; ++i)
                write ? write_cell(c[i], a, page->shared) : read_cell(c[i], a, page->shared);
        }
        at = end + 1;
    }
}

void begin_work(int stream, const Clock& clock) {
    if (!announced) return;
    now = clock;
    history.push_back({stream, now[stream], 0});
    race.clear();
    arrivals.clear();
    working = true;
}
void arrive() {
    if (!working) return;
    const Inside guard;
    const Thread& t = *machine.current;
    arrivals[t.block->number] = {uint32_t(arrivals.size() + 1), t.block->barriers, uint16_t(t.number),
                                 t.fenced == t.block->barriers + 1};
}
void forget_the_past() { past = uint32_t(history.size()); }
void end_work() {
    working = false;
    accesses::end_launch();
    if (race.empty()) return;
    const std::string message = "emulator: " + race;
    race.clear();
    throw std::runtime_error(message);
}

void track(const void* p, size_t bytes, bool shared) {
    tracked[reinterpret_cast<uintptr_t>(p)] = {bytes ? bytes : 1, shared};
    forget_recent();
}
void untrack(const void* p) {
    auto it = tracked.find(reinterpret_cast<uintptr_t>(p));
    if (it == tracked.end()) return;
    const uintptr_t last = it->first + it->second.bytes - 1;
    if (!pages.empty())
        for (uintptr_t n = it->first / page_bytes; n <= last / page_bytes; ++n) pages.erase(n);
    tracked.erase(it);
    forget_recent();
}

// __shared__ variables are static: everything of this module that can be written is tracked.
void track_static_shared_memory() {
    static bool done = false;
    if (done || !announced) return;
    done = true;
    dl_iterate_phdr(
        [](dl_phdr_info* info, size_t, void*) {
            const uintptr_t own = reinterpret_cast<uintptr_t>(&machine) - info->dlpi_addr;
            for (int i = 0; i < info->dlpi_phnum; ++i) {
                const auto& header = info->dlpi_phdr[i];
                if (header.p_type != PT_LOAD || own - header.p_vaddr >= header.p_memsz) continue;
                track(reinterpret_cast<void*>(info->dlpi_addr + header.p_vaddr), header.p_memsz, true);
                return 1;
            }
            return 0;
        },
        nullptr);
}

}  // namespace emulator::races

// ---- what instrumented code calls -----------------------------------------------------------------------------------

#define FD_HERE __builtin_return_address(0)
#define FD_ACCESS(bytes)                                                                              \
    void __tsan_read##bytes(void* p) { emulator::races::access(p, bytes, false, FD_HERE); }           \
    void __tsan_write##bytes(void* p) { emulator::races::access(p, bytes, true, FD_HERE); }           \
    void __tsan_unaligned_read##bytes(void* p) { emulator::races::access(p, bytes, false, FD_HERE); } \
    void __tsan_unaligned_write##bytes(void* p) { emulator::races::access(p, bytes, true, FD_HERE); }
extern "C" {
FD_ACCESS(1)
FD_ACCESS(2)
FD_ACCESS(4)
FD_ACCESS(8)
FD_ACCESS(16)
void __tsan_read_range(void* p, size_t bytes) {
    if (bytes) emulator::races::access(p, bytes, false, FD_HERE);
}
void __tsan_write_range(void* p, size_t bytes) {
    if (bytes) emulator::races::access(p, bytes, true, FD_HERE);
}
void __tsan_init() { emulator::races::announced = true; }
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
uint8_t __tsan_atomic8_load(const volatile uint8_t* p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
}
