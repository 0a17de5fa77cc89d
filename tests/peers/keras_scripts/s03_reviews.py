import keras
import numpy as np
from keras import layers
from keras.preprocessing.sequence import pad_sequences
from scriptdata import reviews, start

texts, labels = reviews()
padded = pad_sequences(texts, maxlen=12, padding="post", truncating="post")


def vectorize_sequences(sequences, dimension=200):
    results = np.zeros((len(sequences), dimension))
    for i, sequence in enumerate(sequences):
        for j in sequence:
            results[i, j] = 1.0
    return results


x = vectorize_sequences(texts)
y = np.asarray(labels).astype("float32")
x_train, x_test, y_train, y_test = x[:300], x[300:], y[:300], y[300:]


def build():
    return start(
        keras.Sequential(
            [
                keras.Input(shape=(200,)),
                layers.Dense(16, activation="relu"),
                layers.Dense(16, activation="relu"),
                layers.Dense(1, activation="sigmoid"),
            ]
        )
    )


model = build()
model.compile(optimizer="rmsprop", loss="binary_crossentropy", metrics=["accuracy"])
x_val, partial_x_train = x_train[:100], x_train[100:]
y_val, partial_y_train = y_train[:100], y_train[100:]
history = model.fit(
    partial_x_train, partial_y_train, epochs=6, batch_size=64, validation_data=(x_val, y_val), shuffle=False, verbose=0
)
history_dict = history.history
epochs = range(1, len(history_dict["accuracy"]) + 1)
best = int(np.argmin(history_dict["val_loss"])) + 1
model = build()
model.compile(optimizer="rmsprop", loss="binary_crossentropy", metrics=["accuracy"])
model.fit(x_train, y_train, epochs=best, batch_size=64, shuffle=False, verbose=0)
results = model.evaluate(x_test, y_test, verbose=0)
positive = model.predict(x_test, verbose=0) > 0.5
report = {"history": history_dict, "best": best, "results": results, "positive": positive, "padded": padded}
