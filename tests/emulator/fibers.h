// Test-only: runs CUDA kernel source on the CPU. Every CUDA thread is a fiber as soon as it waits; threads that never wait run
// one after the other on a single fiber, at the speed of plain C++. Between barriers they run in a seeded random order, so that
// a missing barrier changes results. Blocks run one by one; those of a cooperative launch all live at once.
#pragma once
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "races.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define FD_EMULATOR_ASAN 1
#endif

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};

namespace emulator {

enum class State { fresh, ready, block, warp, grid, done };

struct Fiber {
    ucontext_t context;
    jmp_buf jump;
    std::unique_ptr<char[]> stack;
    void* fake_stack = nullptr;
    bool entered = false;
};

struct Block;

struct Thread {
    dim3 id;
    int number = 0;  // in its block
    State state = State::fresh;
    Block* block = nullptr;
    Fiber* fiber = nullptr;
    unsigned mask = 0;  // of the warp operation it waits in
    int line = 0;
    unsigned warp_barriers = 0;  // passed
    unsigned fenced = 0;         // 1 + the barriers that its block had passed at the last __threadfence
    const char* operation = "";
    uint64_t slots[2] = {
        0, 0};  // what it offers to other lanes, in turn: the last may still be read when the next is there
    unsigned turn = 0;
    int vote = 0;
};

struct Block {
    dim3 id;
    unsigned number = 0, barriers = 0;  // barriers: passed
    std::vector<Thread> threads;
    std::unique_ptr<char, decltype(&std::free)> shared{nullptr, &std::free};
    size_t shared_bytes = 0;
    int votes = 0;

    void fresh_shared_memory(size_t bytes) {  // of exactly this size, so that one byte too far is found
        if (!shared || shared_bytes != bytes) {
            if (shared) races::untrack(shared.get());
            void* memory = nullptr;
            if (posix_memalign(&memory, races::page_bytes, std::max<size_t>(bytes, 1))) throw std::bad_alloc();
            shared.reset(static_cast<char*>(memory)), shared_bytes = bytes;
            races::track(memory, bytes, true);
        }
        std::memset(shared.get(), 0xff, bytes);  // NaN
    }
};

struct Machine {  // one launch at a time
    Thread* current = nullptr;
    dim3 block_size, grid_size;
    unsigned grid_barriers = 0;  // passed
    // An access is under way that the lanes of a warp share among them. Announcements come late: they would not keep the value.
    volatile bool whole_warp = false;
    void (*body)(void*) = nullptr;
    void* arguments = nullptr;
    jmp_buf scheduler;
    void* scheduler_fake_stack = nullptr;
    const void* scheduler_bottom = nullptr;
    size_t scheduler_size = 0;
    std::vector<Thread*> order;
    size_t position = 0;
    std::string error;
    std::vector<std::unique_ptr<Fiber>> fibers;
    std::vector<Fiber*> idle;
    std::vector<std::unique_ptr<Block>> blocks;
};
inline Machine machine;
inline unsigned seed = 0;  // 0: threads run in order

#ifdef FD_EMULATOR_ASAN
constexpr size_t stack_bytes = 256 * 1024;
#else
constexpr size_t stack_bytes = 96 * 1024;
#endif

inline void arrive_in_fiber() {
#ifdef FD_EMULATOR_ASAN
    Machine& m = machine;
    __sanitizer_finish_switch_fiber(m.current->fiber->fake_stack, &m.scheduler_bottom, &m.scheduler_size);
#endif
}

inline void to_scheduler() {
    Machine& m = machine;
    Fiber* me = m.current->fiber;
#ifdef FD_EMULATOR_ASAN
    __sanitizer_start_switch_fiber(&me->fake_stack, m.scheduler_bottom, m.scheduler_size);
#endif
    if (!_setjmp(me->jump)) _longjmp(m.scheduler, 1);
    arrive_in_fiber();
}

inline void to_fiber(Fiber* fiber) {
    Machine& m = machine;
#ifdef FD_EMULATOR_ASAN
    __sanitizer_start_switch_fiber(&m.scheduler_fake_stack, fiber->stack.get(), stack_bytes);
#endif
    if (!_setjmp(m.scheduler)) {
        if (fiber->entered) _longjmp(fiber->jump, 1);
        fiber->entered = true;
        setcontext(&fiber->context);
    }
#ifdef FD_EMULATOR_ASAN
    __sanitizer_finish_switch_fiber(m.scheduler_fake_stack, nullptr, nullptr);
#endif
}

// Runs fresh threads as long as the next in order is one; goes back to the scheduler between such runs.
inline void fiber_main() {
    arrive_in_fiber();
    for (;;) {
        Machine& m = machine;
        Thread* t = m.current;
        Fiber* me = t->fiber;
        m.body(m.arguments);
        t = machine.current;
        t->state = State::done;
        if (m.position + 1 < m.order.size() && m.order[m.position + 1]->state == State::fresh) {
            t = m.order[++m.position];
            t->state = State::ready;
            t->fiber = me;
            m.current = t;
            continue;
        }
        m.idle.push_back(me);
        to_scheduler();
    }
}

[[noreturn]] inline void fail(const std::string& message) {
    machine.error = message;
    for (;;) to_scheduler();  // never resumed: the launch throws
}

inline void wait(State state, unsigned mask, int line, const char* operation) {
    Thread& t = *machine.current;
    t.state = state, t.mask = mask, t.line = line, t.operation = operation;
    to_scheduler();
}
inline int block_barrier(int line, int vote = 0) {
    machine.current->vote = vote;
    wait(State::block, 0, line, "__syncthreads");
    return machine.current->block->votes;
}
inline void grid_barrier(int line) { wait(State::grid, 0, line, "grid barrier"); }
inline void warp_barrier(unsigned mask, int line, const char* operation) {
    if (!(mask >> (machine.current->number & 31) & 1))
        fail(std::string(operation) + ": the calling lane is not in its own mask, line " + std::to_string(line));
    wait(State::warp, mask, line, operation);
}
inline void fence() { machine.current->fenced = machine.current->block->barriers + 1; }
inline void sync_warp(int line) {  // what shuffles and votes do not: memory is in order afterwards
    warp_barrier(0xffffffffu, line, "__syncwarp");
    ++machine.current->warp_barriers;
}
inline Thread* lane(int l) {
    Block& b = *machine.current->block;
    const size_t i = size_t(machine.current->number & ~31) + size_t(l);
    return i < b.threads.size() ? &b.threads[i] : nullptr;
}
// Everybody's value is there when this returns, for lane_value().
template <class T>
void offer(unsigned mask, T value, int line, const char* operation) {
    static_assert(sizeof(T) <= 8, "lanes exchange at most 8 bytes");
    Thread& t = *machine.current;
    std::memcpy(&t.slots[++t.turn % 2], &value, sizeof value);
    warp_barrier(mask, line, operation);
}
template <class T>
T lane_value(int l) {
    T result;
    std::memcpy(&result, &lane(l)->slots[machine.current->turn % 2], sizeof result);
    return result;
}
template <class T>
T exchange(unsigned mask, T value, int source, int line, const char* operation) {
    offer(mask, value, line, operation);
    if (!(mask >> source & 1))
        fail(std::string(operation) + ": reads a lane outside of the mask, line " + std::to_string(line));
    return lane_value<T>(source);
}
inline int own_lane() { return machine.current->number & 31; }
template <class T>
T shuffle(unsigned mask, T v, int from, int width, int line) {
    return exchange(mask, v, (own_lane() & ~(width - 1)) | (from & (width - 1)), line, "__shfl_sync");
}
template <class T>
T shuffle_xor(unsigned mask, T v, int bits, int, int line) {
    return exchange(mask, v, own_lane() ^ bits, line, "__shfl_xor_sync");
}
template <class T>
T shuffle_down(unsigned mask, T v, unsigned delta, int width, int line) {
    const int l = own_lane();
    return exchange(mask, v, (l & (width - 1)) + int(delta) >= width ? l : l + int(delta), line, "__shfl_down_sync");
}
inline unsigned ballot(unsigned mask, bool vote, int line) {
    offer(mask, vote, line, "__ballot_sync");
    unsigned result = 0;
    for (int l = 0; l < 32; ++l)
        if (mask >> l & 1) result |= unsigned(lane_value<bool>(l)) << l;
    return result;
}

// Resumes the fibers whose partners are all waiting; returns whether there were any.
inline bool release_block(Machine& m, Block& b) {
    int live = 0, waiting = 0, line = 0, votes = 0;
    for (const Thread& t : b.threads) {
        if (t.state == State::done) continue;
        ++live;
        if (t.state != State::block) continue;
        if (waiting++ && t.line != line) {
            m.error = "barrier divergence: threads wait at different __syncthreads, lines " + std::to_string(line) +
                      " and " + std::to_string(t.line);
            return false;
        }
        line = t.line;
        votes += t.vote != 0;
    }
    if (live && waiting == live) {
        if (live != int(b.threads.size())) {
            m.error = "barrier divergence: threads have left before __syncthreads at line " + std::to_string(line);
            return false;
        }
        b.votes = votes;
        ++b.barriers;
        for (Thread& t : b.threads) t.state = State::ready;
        return true;
    }
    bool any = false;
    for (size_t w = 0; w < b.threads.size(); w += 32)
        for (size_t i = w; i < std::min(w + 32, b.threads.size()); ++i) {
            const Thread& t = b.threads[i];
            if (t.state != State::warp) continue;
            bool complete = true;
            for (size_t k = 0; k < 32; ++k) {
                if (!(t.mask >> k & 1)) continue;
                if (w + k >= b.threads.size() || b.threads[w + k].state == State::done) {
                    m.error = std::string(t.operation) + ": the mask names a lane that is absent or has left, line " +
                              std::to_string(t.line);
                    return false;
                }
                const Thread& o = b.threads[w + k];
                complete = complete && o.state == State::warp && o.mask == t.mask && o.line == t.line;
            }
            if (!complete) continue;
            const unsigned mask = t.mask;
            for (size_t k = 0; k < 32; ++k)
                if (mask >> k & 1) b.threads[w + k].state = State::ready;
            any = true;
        }
    return any;
}

inline void run_blocks(Machine& m, size_t first, size_t count, std::mt19937& random) {
    m.order.clear();
    for (size_t b = first; b < first + count; ++b)
        for (Thread& t : m.blocks[b]->threads) m.order.push_back(&t);
    for (;;) {
        bool ran = false;
        if (seed) std::shuffle(m.order.begin(), m.order.end(), random);
        for (m.position = 0; m.position < m.order.size() && m.error.empty(); ++m.position) {
            Thread* t = m.order[m.position];
            if (t->state == State::fresh) {
                if (m.idle.empty()) {
                    m.fibers.push_back(std::make_unique<Fiber>());
                    Fiber& f = *m.fibers.back();
                    f.stack.reset(new char[stack_bytes]);
                    getcontext(&f.context);
                    f.context.uc_stack.ss_sp = f.stack.get();
                    f.context.uc_stack.ss_size = stack_bytes;
                    f.context.uc_link = nullptr;
                    makecontext(&f.context, fiber_main, 0);
                    m.idle.push_back(&f);
                }
                t->fiber = m.idle.back();
                m.idle.pop_back();
                t->state = State::ready;
            } else if (t->state != State::ready) {
                continue;
            }
            m.current = t;
            ran = true;
            to_fiber(t->fiber);
        }
        if (!m.error.empty()) return;
        bool live = false, released = false, all_at_grid = true;
        for (size_t b = first; b < first + count; ++b) {
            released |= release_block(m, *m.blocks[b]);
            if (!m.error.empty()) return;
            for (const Thread& t : m.blocks[b]->threads) {
                live |= t.state != State::done;
                all_at_grid &= t.state == State::grid;
            }
        }
        if (live && all_at_grid) {
            for (Thread* t : m.order) t->state = State::ready;
            ++m.grid_barriers;
            for (size_t b = first; b < first + count; ++b) ++m.blocks[b]->barriers;
            released = true;
        }
        if (!live) return;
        if (!released && !ran) {
            m.error = "deadlock: threads wait for partners that never come";
            return;
        }
    }
}

constexpr int processors = 4;
constexpr size_t most_shared_bytes = 227 * 1024, shared_bytes_unasked = 48 * 1024;
inline size_t blocks_per_processor(size_t shared_bytes) { return shared_bytes > most_shared_bytes / 2 ? 1 : 2; }
inline std::string text(dim3 d) {
    return std::to_string(d.x) + " x " + std::to_string(d.y) + " x " + std::to_string(d.z);
}

// Why a GPU would refuse a launch, or nothing. `allowed`: bytes of shared memory that the kernel was given
inline std::string why_not(dim3 grid, dim3 block, size_t shared_bytes, size_t allowed, bool cooperative) {
    const size_t size = size_t(block.x) * block.y * block.z, count = size_t(grid.x) * grid.y * grid.z;
    const bool fits = grid.x <= 0x7fffffffu && grid.y <= 65535 && grid.z <= 65535 && block.z <= 64;
    if (!size || size > 1024 || !count || !fits)
        return "an impossible size, grid " + text(grid) + ", block " + text(block);
    if (shared_bytes > allowed)
        return std::to_string(shared_bytes) + " bytes of shared memory, and the kernel was not given more than " +
               std::to_string(allowed);
    if (cooperative && count > size_t(processors) * blocks_per_processor(shared_bytes))
        return "a cooperative launch of more blocks than run at once: " + std::to_string(count);
    return "";
}

template <class F>
void launch(dim3 grid, dim3 block, size_t shared_bytes, bool cooperative, F& body) {
    const size_t size = size_t(block.x) * block.y * block.z, count = size_t(grid.x) * grid.y * grid.z;
    Machine& m = machine;
    if (m.current) throw std::runtime_error("emulator: a launch inside of a kernel");
    m.block_size = block, m.grid_size = grid;
    m.grid_barriers = 0;
    m.arguments = &body;
    m.body = [](void* f) { (*static_cast<F*>(f))(); };
    std::mt19937 random(seed);
    races::track_static_shared_memory();
    const size_t together = cooperative ? count : 1;
    while (m.blocks.size() < together) m.blocks.push_back(std::make_unique<Block>());
    for (size_t first = 0; first < count && m.error.empty(); first += together) {
        for (size_t k = 0; k < together; ++k) {
            Block& b = *m.blocks[k];
            const unsigned i = unsigned(first + k);
            b.number = i, b.barriers = 0;
            b.id = dim3(i % grid.x, i / grid.x % grid.y, i / (grid.x * grid.y));
            b.fresh_shared_memory(shared_bytes);
            b.threads.resize(size);
            for (size_t t = 0; t < size; ++t) {
                Thread& thread = b.threads[t];
                thread.id =
                    dim3(unsigned(t) % block.x, unsigned(t) / block.x % block.y, unsigned(t) / (block.x * block.y));
                thread.number = int(t), thread.warp_barriers = thread.turn = thread.fenced = 0;
                thread.state = State::fresh;
                thread.block = &b;
            }
        }
        run_blocks(m, 0, together, random);
    }
    m.current = nullptr;
    if (m.error.empty()) return;
    const std::string error = m.error;
    m.error.clear();
    m.idle.clear();
    m.fibers.clear();  // some are stuck half-way
    throw std::runtime_error("emulator: " + error);
}

}  // namespace emulator
