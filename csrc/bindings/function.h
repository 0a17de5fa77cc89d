// What computes a function op in Python, as the core calls it: an object with methods `forward` and `backward`.
#pragma once
#include "bindings/gil.h"
#include "bindings/numbers.h"
#include "core/function.h"

namespace fd::bindings {

// Holds the object weakly, as PythonHook does: who made the engine keeps the program, which holds it.
class PythonFunction {
public:
    PythonFunction(const py::object& object, std::vector<std::vector<int64_t>> shapes)
        : object_(object), shapes_(std::move(shapes)) {}

    bool operator()(const FunctionCall& c) const {
        return Signals::call([&] {
            const py::object object = object_();
            if (object.is_none())
                throw InvalidArgument("a function is gone: who made the engine must keep its program");
            if (c.backward) backward(object, c);
            else forward(object, c);
        });
    }

private:
    void forward(const py::object& object, const FunctionCall& c) const {
        py::list weights;
        for (size_t k = 0; k < shapes_.size(); ++k)
            weights.append(copied(c.dtype, c.weights[k], {shapes_[k].begin(), shapes_[k].end()}));
        const auto answer = py::cast<py::tuple>(
            object.attr("forward")(copied(c.dtype, c.x, {c.rows, c.in}), weights, c.training, c.keep));
        if (answer.size() != 2) throw InvalidArgument("a function's forward must return (outputs, memory)");
        const auto y = py::cast<py::array>(answer[0]);
        if (y.ndim() != 2 || y.shape(0) != c.rows || y.shape(1) != c.out)
            throw InvalidArgument("a function returned an array of shape " +
                                  std::string(py::str(py::object(y.attr("shape")))) + "; (" + std::to_string(c.rows) +
                                  ", " + std::to_string(c.out) + ") is needed");
        fill(c.dtype, c.y, y, c.rows * c.out, "a function's outputs");
        Signals::kept(this) = c.keep ? py::object(answer[1]) : py::object(py::none());
    }

    void backward(const py::object& object, const FunctionCall& c) const {
        const py::object memory = Signals::kept(this);
        // a backward pass for each output may follow one forward pass, so that the memory stays
        const auto answer =
            py::cast<py::tuple>(object.attr("backward")(memory, copied(c.dtype, c.dy, {c.rows, c.out})));
        if (answer.size() != 2) throw InvalidArgument("a function's backward must return (gradient, gradients)");
        if (c.dx) fill(c.dtype, c.dx, answer[0], c.rows * c.in, "a function's gradient");
        const auto gradients = py::cast<py::sequence>(answer[1]);
        if (gradients.size() < c.gradients.size())
            throw InvalidArgument("a function's gradients are fewer than its trained weights");
        for (size_t k = 0; k < c.gradients.size(); ++k) {
            int64_t size = 1;
            for (int64_t n : shapes_[k]) size *= n;
            if (c.gradients[k]) fill(c.dtype, c.gradients[k], gradients[k], size, "a function's gradients");
        }
    }

    py::weakref object_;
    std::vector<std::vector<int64_t>> shapes_;  // of the weights
};

}  // namespace fd::bindings
