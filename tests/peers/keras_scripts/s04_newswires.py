import numpy as np
from keras import layers, models
from keras.utils import to_categorical
from scriptdata import newswires, start

texts, topics = newswires()
x = np.zeros((len(texts), 100))
for i, words in enumerate(texts):
    x[i, words] = 1
one_hot = to_categorical(topics)


def build_model():
    model = models.Sequential()
    model.add(layers.Dense(32, activation="relu", input_shape=(100,)))
    model.add(layers.Dense(32, activation="relu"))
    model.add(layers.Dense(6, activation="softmax"))
    return start(model)


first = build_model()
first.compile(optimizer="rmsprop", loss="categorical_crossentropy", metrics=["accuracy"])
h1 = first.fit(
    x[:300], one_hot[:300], epochs=3, batch_size=64, validation_data=(x[300:], one_hot[300:]), shuffle=False, verbose=0
)
second = build_model()
second.compile(optimizer="rmsprop", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
h2 = second.fit(
    x[:300], topics[:300], epochs=3, batch_size=64, validation_data=(x[300:], topics[300:]), shuffle=False, verbose=0
)
predictions = second.predict(x[300:], verbose=0)
hits = float(np.mean(topics[300:] == predictions.argmax(axis=1)))
bottleneck = models.Sequential(
    [
        layers.Input((100,)),
        layers.Dense(32, activation="relu"),
        layers.Dense(2, activation="relu"),
        layers.Dense(6, activation="softmax"),
    ]
)
start(bottleneck)
bottleneck.compile(optimizer="rmsprop", loss="categorical_crossentropy", metrics=["categorical_accuracy"])
h3 = bottleneck.fit(x, one_hot, epochs=2, batch_size=128, shuffle=False, verbose=0)
report = {"h1": h1.history, "h2": h2.history, "h3": h3.history, "hits": hits, "sums": predictions.sum(axis=1)}
