// What the layers do while a net trains: a few rows of the data go forward and back now and then, at the weights of that
// moment, and every op is summed up unit by unit. Nothing of it reaches the training.
#pragma once
#include "core/backend.h"
#include "core/trainer.h"
#include "cpu/layerwise/layerwise.h"

namespace fd::cpu {

template <class T>
class Probe {
public:
    Probe(const Plan& plan, State<T>& state, Layerwise<T>& layerwise, Updater<T>& updater);

    // After how many steps of `batch` rows one probe has cost 1.5 % of their time; 4 % if a step is short (rowwise path, below
    // 0.1 ms). From the work alone, so that a seed gives the same probes on every machine.
    int64_t period(int64_t rows, int64_t batch, bool rowwise) const;

    void begin(const TrainRequest&, ProbeRecords&);  // before the first step; allocates everything
    bool due() const { return schedule_.due(); }     // whether the next step is to be followed by a probe
    void keep(const Worker&);                        // before such a step: remembers the weights
    // By worker 0, after a step and before the cursor advances: whether a probe follows, and when the next is due.
    bool follows(const Cursor&, int64_t step, bool broken);
    bool take(const Worker&, const Dataset&);  // false: the poll said stop, and there is no record

private:
    void summarise(const Worker&, const Batch<T>&, double* to);

    const Plan& plan_;
    State<T>& state_;
    Layerwise<T>& layerwise_;
    Updater<T>& updater_;
    const Kernels<T>& k_;
    int64_t rows_ = 0, width_ = 0;  // width_: numbers of a record
    ProbeSchedule schedule_;
    bool kept_ = false;
    ProbeRecords* records_ = nullptr;
    ProbeRecord next_;
    Buffer<T> before_, top_;  // weights before the step; the outputs, where the loss takes the pre-activation
};

}  // namespace fd::cpu
