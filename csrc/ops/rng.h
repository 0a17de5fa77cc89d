// Counter-based random numbers (Salmon et al. 2011, Philox4x32-10): the same stream on every engine and thread.
// Who uses which counter is written in docs/design/random.md.
#pragma once
#include <cmath>
#include <cstdint>

#include "ops/hd.h"

namespace fd::ops {

struct Words {
    uint32_t w[4];
};

FD_HD Words philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint64_t seed) {
    uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
    for (int round = 0; round < 10; ++round) {
        uint64_t a = uint64_t(0xD2511F53u) * c0, b = uint64_t(0xCD9E8D57u) * c2;
        uint32_t n0 = uint32_t(b >> 32) ^ c1 ^ k0, n2 = uint32_t(a >> 32) ^ c3 ^ k1;
        c1 = uint32_t(b);
        c3 = uint32_t(a);
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

enum Stream : uint32_t { stream_initial = 1, stream_shuffle = 2, stream_dropout = 3, stream_noise = 4 };

// Uniform number in (0, 1) number `e` of tensor `tensor`.
FD_HD double uniform(uint64_t seed, uint32_t tensor, uint64_t e) {
    Words r = philox(uint32_t(e >> 1), uint32_t(e >> 33), tensor, stream_initial, seed);
    const int at = e & 1 ? 2 : 0;
    return (double(r.w[at] >> 5) * 67108864.0 + double(r.w[at + 1] >> 6) + 0.5) / 9007199254740992.0;
}

// Inverse of the normal distribution function: Acklam's rational start, two Newton steps on erfc to full precision.
FD_HD double normal_quantile(double p) {
    const bool upper = p > 0.5;
    const double q = upper ? 1 - p : p;  // work in the lower tail, where erfc keeps its relative precision
    double x;
    if (q > 0.02425) {
        const double a = q - 0.5, r = a * a;
        x = (((((-3.969683028665376e+01 * r + 2.209460984245205e+02) * r - 2.759285104469687e+02) * r +
               1.383577518672690e+02) *
                  r -
              3.066479806614716e+01) *
                 r +
             2.506628277459239e+00) *
            a /
            (((((-5.447609879822406e+01 * r + 1.615858368580409e+02) * r - 1.556989798598866e+02) * r +
               6.680131188771972e+01) *
                  r -
              1.328068155288572e+01) *
                 r +
             1);
    } else {
        const double r = std::sqrt(-2 * std::log(q));
        x = (((((-7.784894002430293e-03 * r - 3.223964580411365e-01) * r - 2.400758277161838e+00) * r -
               2.549732539343734e+00) *
                  r +
              4.374664141464968e+00) *
                 r +
             2.938163982698783e+00) /
            ((((7.784695709041462e-03 * r + 3.224671290700398e-01) * r + 2.445134137142996e+00) * r +
              3.754408661907416e+00) *
                 r +
             1);
    }
    for (int i = 0; i < 2; ++i) {
        const double error = 0.5 * std::erfc(-x * 0.70710678118654752440) - q;
        x -= error * 2.50662827463100050242 * std::exp(0.5 * x * x);
    }
    return upper ? -x : x;
}

// Normal number; `truncated` to two standard deviations (by the quantile function, so nothing is rejected).
FD_HD double normal(uint64_t seed, uint32_t tensor, uint64_t e, bool truncated) {
    const double below = 0.02275013194817920720;  // Phi(-2)
    const double u = uniform(seed, tensor, e);
    return normal_quantile(truncated ? below + u * (1 - 2 * below) : u);
}

// Which elements dropout keeps, and what the kept ones are multiplied by. Element e of a batch (row · width + column) goes by
// word e % 4 of counter e / 4, in the stream of the net's seed, the step and the op's number.
struct DropoutMask {
    uint64_t seed = 0, step = 0;
    uint32_t op = 0, below = 0;  // words below it drop their element
    double scale = 1;

    DropoutMask() = default;
    FD_HD DropoutMask(uint64_t seed, uint64_t step, uint32_t op, double rate)
        : seed(seed), step(step), op(op), below(uint32_t(rate * 4294967296.0)), scale(1 / (1 - rate)) {}
    FD_HD Words words(uint64_t quad) const {
        return philox(uint32_t(quad), uint32_t(step), op | (uint32_t(step >> 32) << 16), stream_dropout, seed);
    }
    FD_HD bool keeps(uint32_t word) const { return word >= below; }
    // f(i, whether element first + i is kept) for each i < n
    template <class F>
    FD_HD void each(uint64_t first, uint64_t n, F&& f) const {
        for (uint64_t i = 0; i < n;) {
            const Words r = words((first + i) >> 2);
            for (int lane = int((first + i) & 3); lane < 4 && i < n; ++lane, ++i) f(i, keeps(r.w[lane]));
        }
    }
};

// Standard normal numbers of the elements of a batch, counted as DropoutMask does; one of Box and Muller's pairs from each two words.
struct NormalNoise {
    uint64_t seed = 0, step = 0;
    uint32_t op = 0;

    struct Quad {
        double v[4];
    };
    FD_HD Quad numbers(uint64_t quad) const {
        const Words r = philox(uint32_t(quad), uint32_t(step), op | (uint32_t(step >> 32) << 16), stream_noise, seed);
        Quad q;
        for (int k = 0; k < 4; k += 2) {
            const double radius = std::sqrt(-2 * std::log((double(r.w[k]) + 0.5) / 4294967296.0));
            const double angle = 6.283185307179586477 * ((double(r.w[k + 1]) + 0.5) / 4294967296.0);
            q.v[k] = radius * std::cos(angle), q.v[k + 1] = radius * std::sin(angle);
        }
        return q;
    }
    // f(i, the number of element first + i) for each i < n
    template <class F>
    FD_HD void each(uint64_t first, uint64_t n, F&& f) const {
        for (uint64_t i = 0; i < n;) {
            const Quad q = numbers((first + i) >> 2);
            for (int lane = int((first + i) & 3); lane < 4 && i < n; ++lane, ++i) f(i, q.v[lane]);
        }
    }
};

// Dropout that keeps mean and variance of what selu gives (Klambauer et al. 2017): dropped elements become selu's limit, then
// all of them a x + b.
struct AlphaDropout {
    static constexpr double limit = -1.7580993408473766;
    double a = 1, b = 0;
    FD_HD explicit AlphaDropout(double rate)
        : a(1 / std::sqrt((1 - rate) * (1 + rate * limit * limit))), b(-a * limit * rate) {}
};

// Visits every one of n positions once, in an order fixed by (seed, epoch), without storing a permutation:
// a six-round Feistel network on h + h bits, walked until it lands below n.
struct Shuffle {
    uint32_t key[6];
    int half = 0;
    uint64_t n = 0;

    Shuffle() = default;
    FD_HD Shuffle(uint64_t rows, uint64_t seed, uint32_t epoch) : n(rows) {
        int bits = 0;
        for (uint64_t v = n ? n - 1 : 0; v; v >>= 1) ++bits;
        half = (bits + 1) / 2 < 4 ? 4 : (bits + 1) / 2;
        Words a = philox(0, 0, epoch, stream_shuffle, seed), b = philox(1, 0, epoch, stream_shuffle, seed);
        for (int i = 0; i < 6; ++i) key[i] = i < 4 ? a.w[i] : b.w[i - 4];
    }
    FD_HD static uint32_t mix(uint32_t h) {
        h ^= h >> 16;
        h *= 0x85EBCA6Bu;
        h ^= h >> 13;
        h *= 0xC2B2AE35u;
        return h ^ (h >> 16);
    }
    FD_HD uint64_t operator()(uint64_t v) const {
        const uint32_t mask = uint32_t((uint64_t(1) << half) - 1);
        do {
            uint32_t left = uint32_t(v >> half), right = uint32_t(v) & mask;
            for (uint32_t k : key) {
                const uint32_t next = left ^ (mix(right + k) & mask);
                left = right;
                right = next;
            }
            v = (uint64_t(left) << half) | right;
        } while (v >= n);
        return v;
    }
};

}  // namespace fd::ops
