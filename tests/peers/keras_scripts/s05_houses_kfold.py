import numpy as np
from keras import layers, models, regularizers
from scriptdata import houses, start

data, targets = houses()
train_data, test_data = data[:120].copy(), data[120:].copy()
train_targets, test_targets = targets[:120], targets[120:]
mean = train_data.mean(axis=0)
train_data -= mean
std = train_data.std(axis=0)
train_data /= std
test_data -= mean
test_data /= std


def build_model():
    model = models.Sequential()
    model.add(layers.Input(shape=(train_data.shape[1],)))
    model.add(layers.Dense(16, activation="relu", kernel_regularizer=regularizers.l2(0.001)))
    model.add(layers.Dense(16, activation="relu", kernel_regularizer=regularizers.L1(1e-4)))
    model.add(layers.Dense(1))
    model.compile(optimizer="rmsprop", loss="mse", metrics=["mae"])
    return start(model)


k = 4
num_val_samples = len(train_data) // k
all_mae_histories, all_scores = [], []
for i in range(k):
    val_data = train_data[i * num_val_samples : (i + 1) * num_val_samples]
    val_targets = train_targets[i * num_val_samples : (i + 1) * num_val_samples]
    partial_data = np.concatenate([train_data[: i * num_val_samples], train_data[(i + 1) * num_val_samples :]], axis=0)
    partial_targets = np.concatenate([train_targets[: i * num_val_samples], train_targets[(i + 1) * num_val_samples :]])
    model = build_model()
    history = model.fit(
        partial_data,
        partial_targets,
        validation_data=(val_data, val_targets),
        epochs=4,
        batch_size=16,
        shuffle=False,
        verbose=0,
    )
    all_mae_histories.append(history.history["val_mae"])
    val_mse, val_mae = model.evaluate(val_data, val_targets, verbose=0)
    all_scores.append(val_mae)
average = [np.mean([x[i] for x in all_mae_histories]) for i in range(4)]
model = build_model()
model.fit(train_data, train_targets, epochs=5, batch_size=16, verbose=0, shuffle=False)
test_mse_score, test_mae_score = model.evaluate(test_data, test_targets, verbose=0)
report = {"scores": all_scores, "average": average, "test": [test_mse_score, test_mae_score],
          "predictions": model.predict(test_data, verbose=0)}  # fmt: skip
