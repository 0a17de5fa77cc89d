import fastdense as fd

(x_train, y_train), (x_test, y_test) = fd.datasets.load_digits()
x_train, x_test = x_train.reshape(-1, 64) / 16, x_test.reshape(-1, 64) / 16

model = fd.Model(
    [fd.Dense(128, activation="relu"), fd.Dropout(0.2), fd.Dense(10, activation="softmax")],
    inputs=64,
    seed=0,
)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.summary()

stop = fd.callbacks.EarlyStopping(patience=10, restore_best_weights=True)
history = model.fit(x_train, y_train, epochs=60, validation_split=0.1, callbacks=[stop])
loss, accuracy = model.evaluate(x_test, y_test)
print(f"{len(history.epoch)} epochs, test accuracy {accuracy:.1%}")

model.save("digits.safetensors")
again = fd.load("digits.safetensors")
assert (again.predict(x_test) == model.predict(x_test)).all()
