import keras
import numpy as np
from keras.layers import Concatenate, Dense, Dropout, Input, Normalization
from keras.models import Model
from scriptdata import houses, start

# wide & deep, with an auxiliary output that regularizes the deep part
x, y = houses()
y = (y - y.mean()) / y.std()
x_train, x_valid, x_test = x[:100], x[100:130], x[130:]
y_train, y_valid, y_test = y[:100], y[100:130], y[130:]
wide, deep = x_train[:, :5], x_train[:, 2:]
input_a = Input(shape=(5,), name="wide_input")
input_b = Input(shape=(6,), name="deep_input")
norm_a, norm_b = Normalization(), Normalization()
hidden1 = Dense(30, activation="relu")(norm_b(input_b))
hidden2 = Dense(30, activation="relu")(Dropout(0.0)(hidden1))
concat = Concatenate()([norm_a(input_a), hidden2])
output = Dense(1, name="output")(concat)
aux_output = Dense(1, name="aux_output")(hidden2)
model = Model(inputs=[input_a, input_b], outputs=[output, aux_output])
norm_a.adapt(wide)
norm_b.adapt(deep)
start(model, 1)
model.compile(
    loss=("mse", "mse"),
    loss_weights=(0.9, 0.1),
    optimizer=keras.optimizers.Adam(learning_rate=1e-3),
    metrics=["RootMeanSquaredError", "RootMeanSquaredError"],
)
stop = keras.callbacks.EarlyStopping(monitor="val_aux_output_loss", mode="min", patience=3)
keep = keras.callbacks.ModelCheckpoint("best.weights.h5", monitor="val_output_loss", mode="min", save_best_only=True,
                                       save_weights_only=True)  # fmt: skip
history = model.fit(
    (wide, deep),
    (y_train, y_train),
    epochs=6,
    batch_size=20,
    shuffle=False,
    validation_data=((x_valid[:, :5], x_valid[:, 2:]), (y_valid, y_valid)),
    callbacks=[stop, keep],
    verbose=2,
)
weighted_sum, main_loss, aux_loss, *rmse = model.evaluate((x_test[:, :5], x_test[:, 2:]), (y_test, y_test), verbose=0)
by_name = model.evaluate((x_test[:, :5], x_test[:, 2:]), (y_test, y_test), return_dict=True, verbose=0)
y_main, y_aux = model.predict((x_test[:, :5], x_test[:, 2:]), verbose=0)

# a price and a class, from batches of a generator
r = np.random.default_rng(1)
kind = np.digitize(y, [-0.5, 0.5])
inputs = Input(shape=(8,))
h = Dense(16, activation="tanh")(Normalization(mean=x.mean(axis=0), variance=x.var(axis=0))(inputs))
both = Model(inputs, [Dense(1, name="price")(h), Dense(3, activation="softmax", name="kind")(h)])
start(both, 2)
both.compile(
    "rmsprop",
    loss={"price": "mse", "kind": "sparse_categorical_crossentropy"},
    loss_weights={"price": 1.0, "kind": 0.5},
    metrics={"kind": ["accuracy"]},
)


def batches():
    while True:
        for i in range(0, 120, 20):
            yield x[i : i + 20], {"price": y[i : i + 20], "kind": kind[i : i + 20]}


second = both.fit(
    batches(), steps_per_epoch=6, epochs=3, shuffle=False, validation_data=(x[120:], [y[120:], kind[120:]]), verbose=0
)
both.save("both.keras")
again = keras.models.load_model("both.keras")
again.fit(x, {"price": y, "kind": kind}, epochs=1, shuffle=False, verbose=0, batch_size=40)
features = Model(both.input, both.get_layer("kind").output)
report = {
    "history": history.history,
    "epochs": len(history.epoch),
    "test": [weighted_sum, main_loss, aux_loss, *rmse],
    "by_name": by_name,
    "predictions": [y_main, y_aux],
    "second": second.history,
    "again": again.evaluate(x, [y, kind], verbose=0),
    "scores": features.predict(x[:5], verbose=0),
    "names": [model.output_names, both.output_names, [layer.name for layer in both.layers][-2:]],
    "on_batch": both.train_on_batch(x[:10], [y[:10], kind[:10]], return_dict=True),
}
