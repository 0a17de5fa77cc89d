import numpy as np
from keras import Input, Model, layers
from scriptdata import digits, start

x, y, x_test, y_test = digits()
x, x_test = x.reshape(-1, 64) / 16.0, x_test.reshape(-1, 64) / 16.0

inputs = Input(shape=(64,), name="pixels")
h = layers.Dense(32, activation="relu", name="first")(inputs)
h = layers.Dense(32, activation="relu", name="second")(h)
outputs = layers.Dense(10, name="scores")(h)
model = Model(inputs=inputs, outputs=outputs, name="digits")
start(model)
lines = []
model.summary(print_fn=lambda line, **kwargs: lines.append(line))

from keras.losses import SparseCategoricalCrossentropy
from keras.metrics import SparseCategoricalAccuracy
from keras.optimizers import Adam

model.compile(
    optimizer=Adam(learning_rate=0.005),
    loss=SparseCategoricalCrossentropy(from_logits=True),
    metrics=[SparseCategoricalAccuracy(name="acc")],
)
history = model.fit(x, y, batch_size=32, epochs=3, validation_split=0.2, shuffle=False, verbose=0)
results = model.evaluate(x_test, y_test, verbose=0, return_dict=True)
features = Model(model.input, model.get_layer("second").output)
code = features.predict(x_test[:5], verbose=0)
norms = [float(np.linalg.norm(w)) for w in model.get_layer("scores").get_weights()]
report = {
    "history": history.history,
    "results": results,
    "code": code,
    "norms": norms,
    "names": [layer.name for layer in model.layers],
    "shapes": [tuple(model.input_shape), tuple(model.output_shape)],
    "total": "Total params" in "\n".join(lines),
}
