import keras
import numpy as np
from keras import layers, regularizers
from scriptdata import digits, start

x_train, _, x_test, _ = digits()
x_train = x_train.reshape((len(x_train), -1)) / 16.0
x_test = x_test.reshape((len(x_test), -1)) / 16.0

encoding_dim = 12
input_img = keras.Input(shape=(64,))
encoded = layers.Dense(encoding_dim, activation="relu", activity_regularizer=regularizers.l1(1e-5))(input_img)
decoded = layers.Dense(64, activation="sigmoid")(encoded)
autoencoder = keras.Model(input_img, decoded)
start(autoencoder)
encoder = keras.Model(input_img, encoded)
encoded_input = keras.Input(shape=(encoding_dim,))
decoder_layer = autoencoder.layers[-1]
decoder = keras.Model(encoded_input, decoder_layer(encoded_input))
autoencoder.compile(optimizer="adam", loss="binary_crossentropy")
h = autoencoder.fit(
    x_train, x_train, epochs=4, batch_size=64, shuffle=False, validation_data=(x_test, x_test), verbose=0
)
encoded_imgs = encoder.predict(x_test, verbose=0)
decoded_imgs = decoder.predict(encoded_imgs, verbose=0)
whole = autoencoder.predict(x_test, verbose=0)

deep = keras.Sequential(
    [
        keras.Input(shape=(64,)),
        layers.Dense(32, activation="relu"),
        layers.Dense(8, activation="relu"),
        layers.Dense(32, activation="relu"),
        layers.Dense(64, activation="sigmoid"),
    ]
)
start(deep)
deep.compile(optimizer="adam", loss="mse")
noisy = x_train + 0.1 * np.random.default_rng(0).normal(size=x_train.shape)
h2 = deep.fit(np.clip(noisy, 0.0, 1.0), x_train, epochs=2, batch_size=64, shuffle=False, verbose=0)
report = {"h": h.history, "h2": h2.history, "same": bool(np.allclose(decoded_imgs, whole)), "codes": encoded_imgs[:3],
          "error": float(np.mean((whole - x_test) ** 2))}  # fmt: skip
