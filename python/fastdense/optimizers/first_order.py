"""First-order optimizers whose update of an element depends on its own gradients only; see `fastdense.optimizers`."""

from __future__ import annotations

from ..arguments import flag
from .base import Multipliers, Optimizer, Rate

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl", "Lion", "Nadam", "RMSprop"]


class SGD(Optimizer, names=("sgd",)):
    """Gradient descent, with momentum if asked for.

    ``m = momentum * m - lr * g; w += m``, or with Nesterov ``w += momentum * m - lr * g``.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.01
        Step size, or a schedule of it.
    momentum : float, default 0.0
        0 for none, below 1.
    nesterov : bool, default False
        Whether the gradient counts a second time, after the momentum step.
    weight_decay, clipnorm, clipvalue, global_clipnorm : float, optional
        See the module.
    use_ema, ema_momentum, ema_overwrite_frequency
        See the module.
    learning_rate_multipliers, weight_decay_multipliers : dict of str to float, optional
        See the module.

    Examples
    --------
    >>> from fastdense.optimizers import SGD
    >>> SGD(0.1, momentum=0.9)
    SGD(learning_rate=0.1, momentum=0.9)
    """

    kind, _hyperparameters = "sgd", ("momentum", "nesterov")

    def __init__(
        self,
        learning_rate: Rate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        learning_rate_multipliers: Multipliers | None = None,
        weight_decay_multipliers: Multipliers | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm)
        self._set_average(use_ema, ema_momentum, ema_overwrite_frequency)
        self._set_multipliers(learning_rate_multipliers, weight_decay_multipliers)
        self.momentum = self._fraction("momentum", momentum)
        self.nesterov = flag("SGD: nesterov", nesterov)


class RMSprop(Optimizer, names=("rmsprop",)):
    """Gradient divided by a running root mean square of itself (Tieleman & Hinton, 2012).

    ``v = rho * v + (1 - rho) * g**2``; the step is ``lr * g / sqrt(v + epsilon)``, where the square of the running
    mean of ``g`` is subtracted from ``v`` if `centered`; momentum sums steps, ``m = momentum * m + step; w -= m``.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.001
        Step size, or a schedule of it.
    rho : float, default 0.9
        Decay of the running mean of squared gradients, below 1: larger means longer memory.
    momentum : float, default 0.0
        Fraction of the previous step that is added to the next; 0 for none, below 1.
    epsilon : float, default 1e-07
        Small constant that keeps divisions finite; above 0.
    centered : bool, default False
        Whether the squared running mean of the gradient is subtracted, as an estimate of its variance.
    weight_decay, clipnorm, clipvalue, global_clipnorm : float, optional
        See the module.
    use_ema, ema_momentum, ema_overwrite_frequency
        See the module.
    learning_rate_multipliers, weight_decay_multipliers : dict of str to float, optional
        See the module.

    Examples
    --------
    >>> from fastdense.optimizers import RMSprop
    >>> RMSprop(0.01)
    RMSprop(learning_rate=0.01)
    """

    kind, _hyperparameters = "rmsprop", ("rho", "momentum", "epsilon", "centered")

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        learning_rate_multipliers: Multipliers | None = None,
        weight_decay_multipliers: Multipliers | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm)
        self._set_average(use_ema, ema_momentum, ema_overwrite_frequency)
        self._set_multipliers(learning_rate_multipliers, weight_decay_multipliers)
        self.rho = self._fraction("rho", rho)
        self.momentum = self._fraction("momentum", momentum)
        self.epsilon = self._number("epsilon", epsilon, above=0)
        self.centered = flag("RMSprop: centered", centered)


class Adagrad(Optimizer, names=("adagrad",)):
    """Gradient divided by the root of the sum of all its squares (Duchi et al., 2011).

    ``v += g**2; w -= lr * g / sqrt(v + epsilon)``.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.001
        Step size, or a schedule of it.
    initial_accumulator_value : float, default 0.1
        First value of ``v``.
    epsilon : float, default 1e-07
        Small constant that keeps divisions finite; above 0.
    weight_decay, clipnorm, clipvalue, global_clipnorm : float, optional
        See the module.
    use_ema, ema_momentum, ema_overwrite_frequency
        See the module.
    learning_rate_multipliers, weight_decay_multipliers : dict of str to float, optional
        See the module.

    Examples
    --------
    >>> from fastdense.optimizers import Adagrad
    >>> Adagrad(0.01)
    Adagrad(learning_rate=0.01)
    """

    kind, _hyperparameters = "adagrad", ("initial_accumulator_value", "epsilon")

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        learning_rate_multipliers: Multipliers | None = None,
        weight_decay_multipliers: Multipliers | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm)
        self._set_average(use_ema, ema_momentum, ema_overwrite_frequency)
        self._set_multipliers(learning_rate_multipliers, weight_decay_multipliers)
        self.initial_accumulator_value = self._number("initial_accumulator_value", initial_accumulator_value, least=0)
        self.epsilon = self._number("epsilon", epsilon, above=0)


class Adadelta(Optimizer, names=("adadelta",)):
    """Steps in the units of the parameter (Zeiler, 2012).

    ``v = rho * v + (1 - rho) * g**2; u = g * sqrt(d + epsilon) / sqrt(v + epsilon); d = rho * d + (1 - rho) * u**2;
    w -= lr * u``.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.001
        1 is the method as published; Keras's default is slow.
    rho : float, default 0.95
        Decay of the running mean of squared gradients, below 1: larger means longer memory.
    epsilon : float, default 1e-07
        Small constant that keeps divisions finite; above 0.
    weight_decay, clipnorm, clipvalue, global_clipnorm : float, optional
        See the module.
    use_ema, ema_momentum, ema_overwrite_frequency
        See the module.
    learning_rate_multipliers, weight_decay_multipliers : dict of str to float, optional
        See the module.

    Examples
    --------
    >>> from fastdense.optimizers import Adadelta
    >>> Adadelta(1.0)
    Adadelta(learning_rate=1.0)
    """

    kind, _hyperparameters = "adadelta", ("rho", "epsilon")

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        learning_rate_multipliers: Multipliers | None = None,
        weight_decay_multipliers: Multipliers | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm)
        self._set_average(use_ema, ema_momentum, ema_overwrite_frequency)
        self._set_multipliers(learning_rate_multipliers, weight_decay_multipliers)
        self.rho = self._fraction("rho", rho)
        self.epsilon = self._number("epsilon", epsilon, above=0)


class Adam(Optimizer, names=("adam",)):
    """Running means of the gradient and of its square, corrected for their start at 0 (Kingma & Ba, 2014).

    ``m = beta_1 * m + (1 - beta_1) * g; v = beta_2 * v + (1 - beta_2) * g**2;
    w -= lr * sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (sqrt(v) + epsilon)``.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.001
        Step size, or a schedule of it.
    beta_1, beta_2 : float, default 0.9 and 0.999
        Decay of the running means of the gradient and of its square, below 1.
    epsilon : float, default 1e-07
        Keras's; PyTorch and scikit-learn use 1e-8.
    amsgrad : bool, default False
        Whether to divide by the largest ``v`` so far (Reddi et al., 2018).
    weight_decay, clipnorm, clipvalue, global_clipnorm : float, optional
        See the module.
    use_ema, ema_momentum, ema_overwrite_frequency
        See the module.
    learning_rate_multipliers, weight_decay_multipliers : dict of str to float, optional
        See the module.

    Examples
    --------
    >>> from fastdense.optimizers import Adam
    >>> Adam(0.01, clipnorm=1.0)
    Adam(learning_rate=0.01, clipnorm=1.0)
    """

    kind, _hyperparameters = "adam", ("beta_1", "beta_2", "epsilon", "amsgrad")

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        learning_rate_multipliers: Multipliers | None = None,
        weight_decay_multipliers: Multipliers | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm)
        self._set_average(use_ema, ema_momentum, ema_overwrite_frequency)
        self._set_multipliers(learning_rate_multipliers, weight_decay_multipliers)
        self.beta_1 = self._fraction("beta_1", beta_1)
        self.beta_2 = self._fraction("beta_2", beta_2)
        self.epsilon = self._number("epsilon", epsilon, above=0)
        self.amsgrad = flag(f"{type(self).__name__}: amsgrad", amsgrad)


class AdamW(Adam, names=("adamw",)):
    """`Adam` with decoupled weight decay (Loshchilov & Hutter, 2017).

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.001
        Step size, or a schedule of it.
    weight_decay : float, default 0.004
        Decoupled weight decay of each step, relative to the learning rate.
    beta_1, beta_2, epsilon, amsgrad
        As in `Adam`.
    clipnorm, clipvalue, global_clipnorm : float, optional
        See the module.
    use_ema, ema_momentum, ema_overwrite_frequency
        See the module.
    learning_rate_multipliers, weight_decay_multipliers : dict of str to float, optional
        See the module.

    Examples
    --------
    >>> from fastdense.optimizers import AdamW
    >>> AdamW(0.01)
    AdamW(learning_rate=0.01)
    """

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        *,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        learning_rate_multipliers: Multipliers | None = None,
        weight_decay_multipliers: Multipliers | None = None,
    ) -> None:
        super().__init__(
            learning_rate,
            beta_1,
            beta_2,
            epsilon,
            amsgrad,
            weight_decay=self._number("weight_decay", weight_decay, least=0),
            clipnorm=clipnorm,
            clipvalue=clipvalue,
            global_clipnorm=global_clipnorm,
            use_ema=use_ema,
            ema_momentum=ema_momentum,
            ema_overwrite_frequency=ema_overwrite_frequency,
            learning_rate_multipliers=learning_rate_multipliers,
            weight_decay_multipliers=weight_decay_multipliers,
        )


class Nadam(Optimizer, names=("nadam",)):
    """`Adam` with Nesterov momentum (Dozat, 2015).

    With ``u_t = beta_1 * (1 - 0.96**t / 2)`` and ``P_t`` the product of all ``u`` up to ``t``,
    ``w -= lr * (u_{t+1} * m / (1 - P_{t+1}) + (1 - u_t) * g / (1 - P_t)) / (sqrt(v / (1 - beta_2**t)) + epsilon)``.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.001
        Step size, or a schedule of it.
    beta_1, beta_2 : float, default 0.9 and 0.999
        Decay of the running means of the gradient and of its square, below 1.
    epsilon : float, default 1e-07
        Small constant that keeps divisions finite; above 0.
    weight_decay, clipnorm, clipvalue, global_clipnorm : float, optional
        See the module.
    use_ema, ema_momentum, ema_overwrite_frequency
        See the module.
    learning_rate_multipliers, weight_decay_multipliers : dict of str to float, optional
        See the module.

    Examples
    --------
    >>> from fastdense.optimizers import Nadam
    >>> Nadam(0.01)
    Nadam(learning_rate=0.01)
    """

    kind, _hyperparameters = "nadam", ("beta_1", "beta_2", "epsilon")

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        learning_rate_multipliers: Multipliers | None = None,
        weight_decay_multipliers: Multipliers | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm)
        self._set_average(use_ema, ema_momentum, ema_overwrite_frequency)
        self._set_multipliers(learning_rate_multipliers, weight_decay_multipliers)
        self.beta_1 = self._fraction("beta_1", beta_1)
        self.beta_2 = self._fraction("beta_2", beta_2)
        self.epsilon = self._number("epsilon", epsilon, above=0)


class Adamax(Optimizer, names=("adamax",)):
    """`Adam` with the largest gradient of late in place of the root mean square (Kingma & Ba, 2014).

    ``m = beta_1 * m + (1 - beta_1) * g; u = max(beta_2 * u, |g|); w -= lr / (1 - beta_1**t) * m / (u + epsilon)``.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.001
        Step size, or a schedule of it.
    beta_1, beta_2 : float, default 0.9 and 0.999
        Decay of the running mean of the gradient and of its largest magnitude, below 1.
    epsilon : float, default 1e-07
        Small constant that keeps divisions finite; above 0.
    weight_decay, clipnorm, clipvalue, global_clipnorm : float, optional
        See the module.
    use_ema, ema_momentum, ema_overwrite_frequency
        See the module.
    learning_rate_multipliers, weight_decay_multipliers : dict of str to float, optional
        See the module.

    Examples
    --------
    >>> from fastdense.optimizers import Adamax
    >>> Adamax(0.01)
    Adamax(learning_rate=0.01)
    """

    kind, _hyperparameters = "adamax", ("beta_1", "beta_2", "epsilon")

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        learning_rate_multipliers: Multipliers | None = None,
        weight_decay_multipliers: Multipliers | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm)
        self._set_average(use_ema, ema_momentum, ema_overwrite_frequency)
        self._set_multipliers(learning_rate_multipliers, weight_decay_multipliers)
        self.beta_1 = self._fraction("beta_1", beta_1)
        self.beta_2 = self._fraction("beta_2", beta_2)
        self.epsilon = self._number("epsilon", epsilon, above=0)


class Ftrl(Optimizer, names=("ftrl",)):
    """Follow the regularized leader: for sparse rows, whose rare columns keep large steps (McMahan et al., 2013).

    With ``p = -learning_rate_power``, ``v' = v + g**2`` and ``l2 = l2_regularization_strength + beta / (2 * lr)``:
    ``z += g + 2 * l2_shrinkage_regularization_strength * w - (v'**p - v**p) / lr * w``; then
    ``w = (clip(z, -l1, l1) - z) / (v'**p / lr + 2 * l2)``, with l1 the `l1_regularization_strength`.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.001
        Step size, or a schedule of it; nothing moves where it is 0.
    learning_rate_power : float, default -0.5
        At most 0: how fast steps become smaller; 0 for not at all.
    initial_accumulator_value : float, default 0.1
        First value of ``v``.
    l1_regularization_strength, l2_regularization_strength : float, default 0.0
        Penalties; that of magnitudes makes weights exactly 0.
    l2_shrinkage_regularization_strength : float, default 0.0
        A penalty on squares that acts on gradients.
    beta : float, default 0.0
        At least 0; see above.
    weight_decay, clipnorm, clipvalue, global_clipnorm : float, optional
        See the module.
    use_ema, ema_momentum, ema_overwrite_frequency
        See the module.
    learning_rate_multipliers, weight_decay_multipliers : dict of str to float, optional
        See the module.

    Examples
    --------
    >>> from fastdense.optimizers import Ftrl
    >>> Ftrl(0.1, l1_regularization_strength=0.001)
    Ftrl(learning_rate=0.1, l1_regularization_strength=0.001)
    """

    kind, _hyperparameters = (
        "ftrl",
        (
            "learning_rate_power",
            "initial_accumulator_value",
            "l1_regularization_strength",
            "l2_regularization_strength",
            "l2_shrinkage_regularization_strength",
            "beta",
        ),
    )

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        learning_rate_multipliers: Multipliers | None = None,
        weight_decay_multipliers: Multipliers | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm)
        self._set_average(use_ema, ema_momentum, ema_overwrite_frequency)
        self._set_multipliers(learning_rate_multipliers, weight_decay_multipliers)
        self.learning_rate_power = self._number("learning_rate_power", learning_rate_power, most=0)
        self.initial_accumulator_value = self._number("initial_accumulator_value", initial_accumulator_value, least=0)
        self.l1_regularization_strength = self._number(
            "l1_regularization_strength", l1_regularization_strength, least=0
        )
        self.l2_regularization_strength = self._number(
            "l2_regularization_strength", l2_regularization_strength, least=0
        )
        self.l2_shrinkage_regularization_strength = self._number(
            "l2_shrinkage_regularization_strength", l2_shrinkage_regularization_strength, least=0
        )
        self.beta = self._number("beta", beta, least=0)


class Lion(Optimizer, names=("lion",)):
    """Steps of equal size in the direction of the sign (Chen et al., 2023).

    ``w -= lr * sign(beta_1 * m + (1 - beta_1) * g); m = beta_2 * m + (1 - beta_2) * g``. It wants a learning rate 3 to
    10 times smaller than Adam's.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.001
        Step size, or a schedule of it.
    beta_1, beta_2 : float, default 0.9 and 0.99
        Decay of the running means of the gradient and of its square, below 1.
    weight_decay, clipnorm, clipvalue, global_clipnorm : float, optional
        See the module.
    use_ema, ema_momentum, ema_overwrite_frequency
        See the module.
    learning_rate_multipliers, weight_decay_multipliers : dict of str to float, optional
        See the module.

    Examples
    --------
    >>> from fastdense.optimizers import Lion
    >>> Lion(0.0003)
    Lion(learning_rate=0.0003)
    """

    kind, _hyperparameters = "lion", ("beta_1", "beta_2")

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        learning_rate_multipliers: Multipliers | None = None,
        weight_decay_multipliers: Multipliers | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm)
        self._set_average(use_ema, ema_momentum, ema_overwrite_frequency)
        self._set_multipliers(learning_rate_multipliers, weight_decay_multipliers)
        self.beta_1 = self._number("beta_1", beta_1, above=0, most=1)
        self.beta_2 = self._fraction("beta_2", beta_2)
