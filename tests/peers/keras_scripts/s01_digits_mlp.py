import keras
import numpy as np
from keras.layers import Dense, Flatten
from keras.models import Sequential
from keras.optimizers import RMSprop
from keras.utils import to_categorical
from scriptdata import digits, start

x_train, y_train, x_test, y_test = digits()
x_train = x_train.astype("float32") / 16
x_test = x_test.astype("float32") / 16
print(x_train.shape[0], "train samples")
y_train = to_categorical(y_train, 10)
y_test = to_categorical(y_test, 10)

model = Sequential()
model.add(keras.Input(shape=(8, 8)))
model.add(Flatten())
model.add(Dense(48, activation="relu"))
model.add(Dense(32, activation="relu"))
model.add(Dense(10, activation="softmax"))
start(model)
model.compile(loss="categorical_crossentropy", optimizer=RMSprop(), metrics=["accuracy"])
history = model.fit(
    x_train, y_train, batch_size=64, epochs=4, verbose=2, shuffle=False, validation_data=(x_test, y_test)
)
score = model.evaluate(x_test, y_test, verbose=0)
print("Test loss: %.4f" % score[0])
print("Test accuracy: %.4f" % score[1])
classes = np.argmax(model.predict(x_test, verbose=0), axis=-1)
images = model.predict(x_test[:1], verbose=0)
report = {"history": history.history, "score": score, "classes": classes, "one": images, "params": model.count_params()}
