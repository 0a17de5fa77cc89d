// Training steps captured in CUDA graphs after they have run once; later steps launch the graphs.
#pragma once
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "cuda/layerwise/layers.h"
#include "cuda/runtime/rounds.h"

namespace fd::cuda {

template <class T>
class StepGraphs {
public:
    StepGraphs(Layers<T>& layers, Rounds& rounds, cudaStream_t stream)
        : layers_(layers), rounds_(rounds), stream_(stream) {}

    // Steps first … last of a round; `batch`: rows of all but those that end an epoch.
    void enqueue(const Round& round, int64_t first, int64_t last, BatchShape shape, int64_t batch, bool stop_on_nan) {
        shape.rows = 0;
        const Signature now{shape, stop_on_nan, layers_.generation(), rounds_.generation()};
        if (!(now == captured_)) graphs_.clear(), ran_.clear(), captured_ = now;
        for (int64_t i = first; i < last;) {
            int64_t count = 1;  // steps of one graph: runs of whole batches in sizes that are used again
            const int64_t rows = round.rows[size_t(i)];
            if (rows == batch) {
                int64_t run = 1;
                while (i + run < last && round.rows[size_t(i + run)] == batch) ++run;
                count = run >= 32 ? 32 : run >= 8 ? 8 : 1;
            }
            shape.rows = rows;
            auto steps = [&] {
                for (int64_t k = 0; k < count; ++k) layers_.train_step(rounds_.steps(), shape, stop_on_nan);
            };
            // What is captured must have run once: libraries choose algorithms and load kernels at first use.
            std::unique_ptr<Graph>& graph = graphs_[{rows, count}];
            if (waits_for_kernels() || (!graph && ran_.insert(rows).second)) {
                count = 1;
                steps();
            } else {
                if (!graph) graph = std::make_unique<Graph>(stream_, steps);
                graph->launch(stream_);
            }
            i += count;
        }
    }

private:
    struct Signature {  // of what was captured
        BatchShape shape;
        bool stop_on_nan = false;
        int64_t layers = -1, rounds = -1;
        bool operator==(const Signature& o) const {
            return shape == o.shape && stop_on_nan == o.stop_on_nan && layers == o.layers && rounds == o.rounds;
        }
    };

    Layers<T>& layers_;
    Rounds& rounds_;
    const cudaStream_t stream_;
    std::map<std::pair<int64_t, int64_t>, std::unique_ptr<Graph>> graphs_;  // by rows of a step and steps
    std::set<int64_t> ran_;                                                 // batch sizes that have run uncaptured
    Signature captured_;
};

}  // namespace fd::cuda
