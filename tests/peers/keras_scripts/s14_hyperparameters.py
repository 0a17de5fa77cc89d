import itertools

import keras
import numpy as np
from keras import layers
from scriptdata import echoes, start

keras.utils.set_random_seed(812)
X, labels = echoes(90, 10)
y = (labels == "M").astype("int32")
drawn = np.random.rand(3)
results = {}
for units, optimizer, l2 in itertools.product([4, 8], ["sgd", "adam", "rmsprop", "nadam", "adamw"], [0.0, 0.01]):
    keras.backend.clear_session()
    model = keras.Sequential(name="candidate")
    model.add(layers.Input(shape=(10,)))
    model.add(layers.Dense(units, activation="relu", kernel_regularizer=keras.regularizers.L2(l2)))
    model.add(layers.BatchNormalization())
    model.add(layers.Dense(1, activation="sigmoid"))
    start(model)
    model.compile(optimizer=optimizer, loss="binary_crossentropy", metrics=["accuracy"])
    h = model.fit(X, y, validation_split=0.3, epochs=2, batch_size=21, verbose=0, shuffle=False)
    results[(units, optimizer, l2)] = h.history["val_loss"][-1]
best = min(results, key=results.get)
print("best:", best)
report = {
    "results": list(results.values()),
    "best": str(best),
    "names": [layer.name for layer in model.layers],
    "drawn": drawn,
}
