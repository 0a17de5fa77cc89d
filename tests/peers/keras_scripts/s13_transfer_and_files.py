import keras
import numpy as np
from keras import layers
from keras.models import Sequential, load_model
from scriptdata import digits, start

x, y, x_test, y_test = digits()
x, x_test = x.reshape(-1, 64) / 16.0, x_test.reshape(-1, 64) / 16.0
small, large = y < 5, y >= 5


def body():
    return [
        layers.Input((64,)),
        layers.Dense(24, activation="relu", name="a"),
        layers.Dense(16, activation="relu", name="b"),
    ]


source = start(Sequential([*body(), layers.Dense(5, activation="softmax")]))
source.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
h1 = source.fit(x[small], y[small], epochs=3, shuffle=False, verbose=0)

target = start(Sequential([*body(), layers.Dense(5, activation="softmax")]), seed=1)
for name in ("a", "b"):
    target.get_layer(name).set_weights(source.get_layer(name).get_weights())
target.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
h2 = target.fit(x[large], y[large] - 5, epochs=2, shuffle=False, verbose=0)

target.save("target.keras")
loaded = load_model("target.keras")
same = bool(np.allclose(loaded.predict(x_test, verbose=0), target.predict(x_test, verbose=0)))
h3 = loaded.fit(x[large], y[large] - 5, epochs=4, initial_epoch=2, shuffle=False, verbose=0)
target.save_weights("target.weights.h5")
twin = Sequential([*body(), layers.Dense(5, activation="softmax")])
twin.load_weights("target.weights.h5")
copied = bool(all(np.array_equal(a, b) for a, b in zip(twin.get_weights(), target.get_weights())))
clone = keras.models.clone_model(target)
clone.set_weights(target.get_weights())
model_json = target.to_json()
rebuilt = keras.models.model_from_json(model_json)
shapes = [tuple(w.shape) for w in rebuilt.get_weights()]
kinds = [layer["class_name"] for layer in target.get_config()["layers"]]
report = {"h1": h1.history, "h2": h2.history, "h3": h3.history, "same": same, "copied": copied, "shapes": shapes,
          "clone": clone.predict(x_test[:2], verbose=0), "config": kinds}  # fmt: skip
