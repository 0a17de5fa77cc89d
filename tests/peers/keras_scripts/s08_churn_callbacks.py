import keras
import pandas as pd
from keras.callbacks import CSVLogger, EarlyStopping, LambdaCallback, ModelCheckpoint, ReduceLROnPlateau
from keras.layers import Dense
from keras.models import Sequential
from scriptdata import customers, start
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

df = pd.get_dummies(customers(), columns=["Country"], drop_first=True)
X = df.drop("Exited", axis=1).astype("float64")
y = df["Exited"]
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=0)
scaler = StandardScaler()
X_train = scaler.fit_transform(X_train)
X_test = scaler.transform(X_test)

classifier = Sequential()
classifier.add(keras.Input((X_train.shape[1],)))
classifier.add(Dense(units=8, kernel_initializer="uniform", activation="relu"))
classifier.add(Dense(units=6, kernel_initializer="he_normal", activation="relu"))
classifier.add(Dense(units=1, kernel_initializer="uniform", activation="sigmoid"))
start(classifier)
classifier.compile(optimizer=keras.optimizers.Adam(0.03), loss="binary_crossentropy", metrics=["accuracy"])
seen = []
callbacks = [
    EarlyStopping(monitor="val_loss", patience=4, restore_best_weights=True, verbose=1),
    ModelCheckpoint("best.keras", monitor="val_loss", save_best_only=True, verbose=1),
    ReduceLROnPlateau(monitor="val_loss", factor=0.5, patience=2, min_lr=1e-3, verbose=1),
    CSVLogger("training.csv"),
    LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(round(logs["loss"], 6))),
]
history = classifier.fit(
    X_train, y_train, batch_size=32, epochs=20, validation_split=0.2, callbacks=callbacks, shuffle=False, verbose=0
)
best = keras.models.load_model("best.keras")
score = classifier.evaluate(X_test, y_test, verbose=0)
again = best.evaluate(X_test, y_test, verbose=0)
cm = confusion_matrix(y_test, classifier.predict(X_test, verbose=0) > 0.5)
log = pd.read_csv("training.csv")
report = {"history": history.history, "score": score, "again": again, "cm": cm.tolist(), "columns": list(log.columns),
          "rows": len(log), "seen": seen}  # fmt: skip
