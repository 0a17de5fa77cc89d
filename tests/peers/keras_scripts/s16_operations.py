import keras
import numpy as np
from keras import layers, ops
from scriptdata import houses, start

x, y = houses()
x = (x - x.mean(axis=0)) / x.std(axis=0)
y = ((y - y.mean()) / y.std())[:, None]


class FeatureInteraction(layers.Layer):
    """A factorization machine: pairwise products of columns by vectors."""

    def __init__(self, factors=4, **kwargs):
        super().__init__(**kwargs)
        self.factors = factors

    def build(self, input_shape):
        self.vectors = self.add_weight(shape=(input_shape[-1], self.factors), initializer="random_normal")
        self.scale = self.add_weight(shape=(), initializer="ones", constraint="non_neg")

    def call(self, inputs):
        summed = ops.square(inputs @ self.vectors)
        squares = ops.square(inputs) @ ops.square(self.vectors)
        return self.scale * ops.sum(summed - squares, axis=-1, keepdims=True) / 2

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 1)


class GatedModel(keras.Model):
    def __init__(self):
        super().__init__()
        self.value = layers.Dense(12)
        self.gate = layers.Dense(12, activation="sigmoid")
        self.out = layers.Dense(1)

    def call(self, inputs):
        gate = self.gate(inputs)
        return self.out(gate * self.value(inputs) + (1 - gate) * ops.mean(inputs, axis=-1, keepdims=True))


inputs = keras.Input((8,))
linear = layers.Dense(1)(inputs)
pairs = FeatureInteraction()(inputs)
deep = layers.Dense(8, activation="tanh")(ops.concatenate([inputs, ops.abs(inputs[:, :3])], axis=-1))
distance = layers.Lambda(lambda both: ops.sqrt(ops.sum(ops.square(both[0] - both[1]), axis=-1, keepdims=True) + 1e-6))(
    [layers.Dense(3)(inputs), layers.Dense(3, activation="tanh")(inputs)]
)
outputs = linear + 0.1 * pairs - layers.Dense(1)(deep) * 0.5 + ops.log1p(distance)
model = start(keras.Model(inputs, outputs))
model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
history = model.fit(x, y, batch_size=16, epochs=4, validation_split=0.25, shuffle=False, verbose=0)

gated = GatedModel()
gated(x[:1])
start(gated, seed=2)
gated.compile(keras.optimizers.RMSprop(0.005), "mse")
h2 = gated.fit(x, y, batch_size=32, epochs=3, shuffle=False, verbose=0)
predicted = gated.predict(x[:4], verbose=0)

before = [np.asarray(w) for w in model.get_weights()]
model.set_weights(before)
report = {"history": history.history, "results": model.evaluate(x, y, verbose=0), "h2": h2.history,
          "predicted": predicted, "shapes": [tuple(w.shape) for w in before],
          "output": tuple(model.output_shape), "count": model.count_params()}  # fmt: skip
