// What the nets of a population have for themselves, net by net as it was given, and lane by lane as kernels read it.
#pragma once
#include <cstdint>
#include <vector>

#include "core/plan.h"
#include "core/population.h"

namespace fd::cpu {

template <class T>
struct LaneNumbers {
    std::vector<uint64_t> seeds;
    std::vector<T> penalties;
    std::vector<double> rates;  // (groups, dropouts, lanes)
    std::vector<double> smoothings, decays;
};

class OwnNumbers {
public:
    OwnNumbers(const Plan& plan, std::vector<uint64_t> seeds, const MemberNumbers& given) : seeds_(std::move(seeds)) {
        for (const Op& o : plan.ops)
            if (o.kind == OpKind::dropout) rates_.push_back(o.rate);
        auto copy = [&](const double* numbers, int64_t each) {
            return numbers ? std::vector<double>(numbers, numbers + int64_t(seeds_.size()) * each)
                           : std::vector<double>();
        };
        penalties_ = copy(given.penalties, 1);
        own_rates_ = copy(given.dropouts, dropouts());
        for (double rate : own_rates_)
            if (!(rate >= 0 && rate < 1)) throw InvalidArgument("a dropout's rate must be in [0, 1)");
        decays_ = copy(given.weight_decays, 1);
        smoothings_ = copy(given.label_smoothings, 1);
    }
    int64_t dropouts() const { return int64_t(rates_.size()); }

    // `start_at`: the net in each lane; there are whole groups of `width` lanes.
    template <class T>
    LaneNumbers<T> by_lane(const std::vector<int64_t>& start_at, int64_t width, const Training& training) const {
        LaneNumbers<T> out;
        for (size_t lane = 0; lane < start_at.size(); ++lane) {
            const size_t start = size_t(start_at[lane]);
            out.seeds.push_back(seeds_[start]);
            out.penalties.push_back(penalties_.empty() ? T(1) : T(penalties_[start]));
            out.decays.push_back(decays_.empty() ? training.hyper.weight_decay : decays_[start]);
            out.smoothings.push_back(smoothings_.empty() ? training.label_smoothing : smoothings_[start]);
        }
        out.rates.resize(start_at.size() * rates_.size());
        for (size_t lane = 0; lane < start_at.size(); ++lane)
            for (size_t d = 0; d < rates_.size(); ++d) {
                const size_t group = lane / size_t(width), k = lane % size_t(width);
                out.rates[(group * rates_.size() + d) * size_t(width) + k] =
                    own_rates_.empty() ? rates_[d] : own_rates_[size_t(start_at[lane]) * rates_.size() + d];
            }
        return out;
    }

private:
    std::vector<uint64_t> seeds_;
    std::vector<double> rates_;  // of the program's dropouts
    std::vector<double> penalties_, own_rates_, decays_, smoothings_;
};

}  // namespace fd::cpu
