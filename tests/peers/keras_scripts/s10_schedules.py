import math

import keras
import numpy as np
from keras import layers
from keras.callbacks import Callback, LearningRateScheduler
from keras.optimizers import SGD, Adam
from keras.optimizers.schedules import CosineDecay, ExponentialDecay, PiecewiseConstantDecay
from scriptdata import houses, start

x, y = houses()
x = (x - x.mean(axis=0)) / x.std(axis=0)
y = (y - y.mean()) / y.std()


def train(optimizer, callbacks=None, epochs=4):
    model = start(keras.Sequential([layers.Input((8,)), layers.Dense(8, activation="tanh"), layers.Dense(1)]))
    model.compile(loss="mean_squared_error", optimizer=optimizer)
    return model, model.fit(x, y, epochs=epochs, batch_size=40, callbacks=callbacks, shuffle=False, verbose=0).history


def step_decay(epoch):
    return 0.1 * math.pow(0.5, math.floor((1 + epoch) / 2.0))


class LossHistory(Callback):
    def on_train_begin(self, logs={}):
        self.losses, self.lr = [], []

    def on_epoch_end(self, epoch, logs={}):
        self.losses.append(logs.get("loss"))
        self.lr.append(float(np.array(self.model.optimizer.learning_rate)))


loss_history = LossHistory()
_, h1 = train(SGD(learning_rate=0.0, momentum=0.9), [loss_history, LearningRateScheduler(step_decay, verbose=1)])
schedule = ExponentialDecay(initial_learning_rate=0.1, decay_steps=4, decay_rate=0.5, staircase=True)
_, h2 = train(SGD(learning_rate=schedule))
_, h3 = train(Adam(CosineDecay(0.05, decay_steps=16, alpha=0.1)))
_, h4 = train(SGD(PiecewiseConstantDecay([6, 10], [0.1, 0.05, 0.01]), nesterov=True, momentum=0.5))
model, h5 = train(Adam(0.01), [LearningRateScheduler(lambda epoch, lr: lr * 0.9)])
model.optimizer.learning_rate = 0.001
rate = float(np.array(model.optimizer.learning_rate))
h6 = model.fit(x, y, epochs=6, initial_epoch=4, batch_size=40, shuffle=False, verbose=0)
report = {"h1": h1, "h2": h2["loss"], "h3": h3["loss"], "h4": h4["loss"], "h5": h5, "h6": h6.history["loss"],
          "epoch": h6.epoch, "lr": loss_history.lr, "losses": loss_history.losses, "rate": rate,
          "values": [float(schedule(step)) for step in (0, 3, 4, 8)]}  # fmt: skip
