import keras
import numpy as np
from keras import layers, ops
from keras.models import load_model
from scriptdata import digits, start

x, y, x_test, y_test = digits()
x, x_test = x.reshape(-1, 64) / 16.0, x_test.reshape(-1, 64) / 16.0


class Linear(layers.Layer):
    def __init__(self, units=32, activation=None, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.activation = keras.activations.get(activation)

    def build(self, input_shape):
        self.w = self.add_weight(
            shape=(input_shape[-1], self.units),
            initializer="random_normal",
            trainable=True,
            name="w",
            regularizer=keras.regularizers.L2(1e-4),
        )
        self.b = self.add_weight(shape=(self.units,), initializer="zeros", trainable=True, name="b")

    def call(self, inputs):
        return self.activation(ops.matmul(inputs, self.w) + self.b)

    def get_config(self):
        config = super().get_config()
        config.update({"units": self.units, "activation": keras.activations.serialize(self.activation)})
        return config


class Residual(layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.inner = layers.Dense(units, activation="relu")
        self.outer = layers.Dense(units)

    def build(self, input_shape):
        self.inner.build(input_shape)
        self.outer.build((None, self.units))
        self.built = True

    def call(self, x):
        return ops.tanh(x + self.outer(self.inner(x)) * 0.5)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def snake(x):
    return x + ops.square(ops.sin(x))


linear = Linear(4)
print(linear(np.ones((2, 3))).shape)
assert linear.weights == [linear.w, linear.b]

model = keras.Sequential(
    [
        keras.Input((64,)),
        layers.Lambda(lambda images: images * 2 - 1, name="signs"),
        Linear(32, activation="relu", name="first"),
        Residual(32, name="block"),
        layers.Dense(16, activation=snake, name="snake"),
        layers.Dropout(0.0, name="drop"),
        Linear(10, name="last"),
        layers.Activation(ops.softmax, name="softmax"),
    ]
)
start(model)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(x, y, epochs=3, validation_split=0.1, shuffle=False, verbose=0)
results = model.evaluate(x_test, y_test, verbose=0)
names = [layer.name for layer in model.layers]
shapes = [tuple(w.shape) for w in model.get_weights()]
trained = len(model.trainable_weights)
total = model.count_params()

inputs = keras.Input((64,))
h = Linear(16, activation="relu")(inputs)
h = Residual(16)(h)
outputs = layers.Dense(10, activation="softmax")(h)
kept = start(keras.Model(inputs, outputs), seed=1)
kept.compile("rmsprop", "sparse_categorical_crossentropy")
h2 = kept.fit(x, y, epochs=2, shuffle=False, verbose=0)
kept.save("custom.keras")
loaded = load_model("custom.keras", custom_objects={"Linear": Linear, "Residual": Residual})
same = bool(np.allclose(loaded.predict(x_test, verbose=0), kept.predict(x_test, verbose=0)))
h3 = loaded.fit(x, y, epochs=1, shuffle=False, verbose=0)
loaded.get_layer(index=1).trainable = False
loaded.compile("sgd", "sparse_categorical_crossentropy")
frozen = len(loaded.trainable_weights)
report = {"history": history.history, "results": results, "names": names, "shapes": shapes, "trained": trained,
          "total": total, "h2": h2.history, "same": same, "h3": h3.history, "frozen": frozen}  # fmt: skip
