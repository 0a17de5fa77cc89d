"""Optimizers: how a step changes the parameters, given the gradient.

Formulas and defaults are those of Keras 3. In them ``w`` is a parameter, ``g`` its gradient (penalties included),
``lr`` the learning rate of the step and ``t`` the step counted from 1. Before the update the gradient is clipped, if
asked for, and then the weights decay.

Arguments that every optimizer takes, by keyword:

weight_decay : float, optional
    Each step first makes every parameter smaller: ``w -= lr * weight_decay * w`` (decoupled, unlike an l2 penalty).
clipnorm : float, optional
    Scales the gradient of each tensor down to this norm.
clipvalue : float, optional
    Cuts each element of the gradient to [-clipvalue, clipvalue].
global_clipnorm : float, optional
    Scales all gradients together down to this norm. At most one of the three clips may be given.

Arguments that all of them but KFAC take:

use_ema : bool, default False
    Whether an average of the weights is kept (of those that are trained), ``mean = ema_momentum * mean +
    (1 - ema_momentum) * w`` after each step and w after the first, which `Model.fit` puts in place of the weights at
    its end, before ``on_train_end``; `Model.ema_weights` tells it at any time.
ema_momentum : float, default 0.99
    From 0 to 1.
ema_overwrite_frequency : int, optional
    After every so many steps the weights become the average, too.

Arguments that the optimizers take whose update of an element depends on its own gradients alone (not Muon and KFAC):

learning_rate_multipliers : dict of str to float, optional
    Factors of the learning rate for some tensors. The keys are patterns of a shell for their names, "layer/tensor", as
    in ``{"*/bias": 0.1, "scale/*": 6.0}``; the last one that matches counts. `Model.compile` refuses a pattern that
    matches no trained tensor.
weight_decay_multipliers : dict of str to float, optional
    Likewise, of `weight_decay`; the decay is also multiplied by the factor of the learning rate.

``learning_rate`` is a number or a `fastdense.schedules.Schedule`, and may be assigned at any time, also between two
calls of ``fit``; everything else is fixed once the optimizer is made.

The full-batch optimizers (LBFGS, LevenbergMarquardt, NewtonCG) take none of these arguments; see
`fastdense.optimizers.full_batch`.
"""

from __future__ import annotations

from . import first_order, full_batch, matrix
from .base import Optimizer, Rate, get
from .first_order import *  # noqa: F403
from .full_batch import *  # noqa: F403
from .full_batch import Solver
from .matrix import *  # noqa: F403

__all__ = ["Optimizer", "Rate", "Solver", "get"]
__all__ += first_order.__all__
__all__ += full_batch.__all__
__all__ += matrix.__all__
