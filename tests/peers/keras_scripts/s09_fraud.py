import keras
import numpy as np
from keras import layers
from scriptdata import start, transactions
from sklearn.utils.class_weight import compute_class_weight

X, y = transactions()
neg, pos = np.bincount(y)
y = y.reshape(-1, 1)
train, val = slice(0, 1000), slice(1000, None)
METRICS = [
    keras.metrics.BinaryCrossentropy(name="cross entropy"),
    keras.metrics.TruePositives(name="tp"),
    keras.metrics.FalsePositives(name="fp"),
    keras.metrics.TrueNegatives(name="tn"),
    keras.metrics.FalseNegatives(name="fn"),
    keras.metrics.BinaryAccuracy(name="accuracy"),
    keras.metrics.Precision(name="precision"),
    keras.metrics.Recall(name="recall"),
]


def make_model(metrics=METRICS, output_bias=None):
    if output_bias is not None:
        output_bias = keras.initializers.Constant(output_bias)
    model = keras.Sequential(
        [
            keras.Input(shape=(X.shape[-1],)),
            layers.Dense(16, activation="relu"),
            layers.Dense(1, activation="sigmoid", bias_initializer=output_bias),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=1e-3), loss=keras.losses.BinaryCrossentropy(), metrics=metrics
    )
    return start(model)


initial_bias = float(np.log(pos / neg))
model = make_model(output_bias=initial_bias)
first = model.evaluate(X[train], y[train], batch_size=256, verbose=0)
weight_for_0 = (1 / neg) * (len(y) / 2.0)
weight_for_1 = (1 / pos) * (len(y) / 2.0)
class_weight = {0: weight_for_0, 1: weight_for_1}
stop = keras.callbacks.EarlyStopping(monitor="val_recall", verbose=1, patience=3, mode="max", restore_best_weights=True)
history = model.fit(X[train], y[train], batch_size=128, epochs=5, callbacks=[stop], validation_data=(X[val], y[val]),
                    class_weight=class_weight, shuffle=False, verbose=0)  # fmt: skip
results = model.evaluate(X[val], y[val], verbose=0, return_dict=True)
balanced = compute_class_weight("balanced", classes=np.unique(y), y=y[:, 0])
other = make_model(metrics=["accuracy"], output_bias=0.0)
h2 = other.fit(
    X[train],
    y[train],
    sample_weight=np.where(y[train, 0] == 1, balanced[1], balanced[0]),
    epochs=2,
    shuffle=False,
    verbose=0,
)
report = {"first": first, "history": history.history, "results": results, "h2": h2.history["loss"]}
