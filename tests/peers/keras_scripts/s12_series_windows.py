import keras
import numpy as np
from keras import layers
from scriptdata import series

values = series()
window, split = 12, 300


def windowed(data, size):
    x = np.lib.stride_tricks.sliding_window_view(data[:-1], size)
    return x, data[size:]


x_train, y_train = windowed(values[:split], window)
x_valid, y_valid = windowed(values[split - window :], window)

normalizer = layers.Normalization()
normalizer.adapt(np.ascontiguousarray(x_train))
model = keras.models.Sequential(
    [
        keras.Input((window,)),
        normalizer,
        layers.Dense(10, activation="relu"),
        layers.Dense(10, activation="relu"),
        layers.Dense(1),
    ]
)
for layer in model.layers[1:]:
    layer.set_weights([np.full(layer.get_weights()[0].shape, 0.02), layer.get_weights()[1]])
r = np.random.default_rng(1)
for layer in model.layers[1:]:
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel + r.normal(0, 0.3, kernel.shape), bias])
lr_schedule = keras.callbacks.LearningRateScheduler(lambda epoch: 1e-4 * 10 ** (epoch / 2))
model.compile(loss="mse", optimizer=keras.optimizers.SGD(learning_rate=1e-4, momentum=0.9))
scan = model.fit(x_train, y_train, epochs=4, callbacks=[lr_schedule], shuffle=False, verbose=0)
model.compile(
    loss=keras.losses.Huber(), optimizer=keras.optimizers.SGD(learning_rate=1e-3, momentum=0.9), metrics=["mae"]
)
history = model.fit(x_train, y_train, epochs=5, validation_data=(x_valid, y_valid), shuffle=False, verbose=0)
forecast = []
state = list(values[split - window : split])
for _ in range(5):
    step = float(model.predict(np.array(state[-window:])[np.newaxis], verbose=0)[0, 0])
    forecast.append(step)
    state.append(step)
naive = float(np.mean(np.abs(np.diff(values[split - 1 :]))))
report = {"scan": scan.history, "history": history.history, "forecast": forecast, "naive": naive}
