// Layerwise: ops whose formula is the caller's. One worker calls it with the whole batch; the others wait.
#include "cpu/layerwise/layerwise.h"

namespace fd::cpu {

template <class T>
bool Layerwise<T>::call_function(const Worker& w, int i, int64_t rows, Pass pass) {
    if (w.first()) {
        const Op& o = op(i);
        FunctionCall& call = calls_[size_t(i)];
        call.dtype = dtype_of<T>;
        call.rows = rows, call.in = o.in, call.out = o.out;
        call.training = pass == Pass::train;
        call.weights.resize(o.own.size());
        for (size_t k = 0; k < o.own.size(); ++k)
            call.weights[k] = int(k) < o.own_trained ? parameter(o.own[k]) : statistic(o.own[k]);
        goes_on_ = (*o.function)(call);
    }
    w.sync();
    return goes_on_;
}

template <class T>
bool Layerwise<T>::function_forward(const Worker& w, int i, const T* x, int64_t rows, Pass pass) {
    if (w.first()) {
        FunctionCall& call = calls_[size_t(i)];
        call.backward = false;
        call.x = x, call.y = out_[size_t(i)].get();
        call.keep = pass >= Pass::inference && walk(pass)[i].wants_gradient;
    }
    return call_function(w, i, rows, pass);
}

template <class T>
bool Layerwise<T>::function_backward(const Worker& w, int i, int64_t rows, Pass pass) {
    if (w.first()) {
        FunctionCall& call = calls_[size_t(i)];
        call.backward = true;
        call.dy = d(i), call.dx = walk(pass)[i].passes_gradient ? d(i - 1) : nullptr;
        call.gradients.resize(size_t(op(i).own_trained));
        for (size_t k = 0; k < call.gradients.size(); ++k)
            call.gradients[k] = walk(pass)[i].trains ? gradient(op(i).own[k]) : nullptr;
    }
    return call_function(w, i, rows, pass);
}

#define FD_INSTANTIATE(T)                                                                      \
    template bool Layerwise<T>::function_forward(const Worker&, int, const T*, int64_t, Pass); \
    template bool Layerwise<T>::function_backward(const Worker&, int, int64_t, Pass);
FD_INSTANTIATE(float)
FD_INSTANTIATE(double)
#undef FD_INSTANTIATE

}  // namespace fd::cpu
