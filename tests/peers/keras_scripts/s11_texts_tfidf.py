import numpy as np
from keras.layers import Activation, Dense
from keras.models import Sequential
from scriptdata import TEXTS, start
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import LabelBinarizer, LabelEncoder

texts, tags = zip(*TEXTS)
vectorizer = TfidfVectorizer(max_features=60)
x_train = vectorizer.fit_transform(texts).toarray()
encoder = LabelBinarizer()
y_train = encoder.fit_transform(tags)
numbers = LabelEncoder().fit_transform(tags)

model = Sequential()
model.add(Dense(16, input_shape=(x_train.shape[1],)))
model.add(Activation("relu"))
model.add(Dense(3))
model.add(Activation("softmax"))
start(model)
model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
history = model.fit(x_train, y_train, batch_size=4, epochs=30, verbose=0, shuffle=False)
score = model.evaluate(x_train, y_train, batch_size=4, verbose=0)
prediction = model.predict(np.array([vectorizer.transform(["the bank sold its shares"]).toarray()[0]]), verbose=0)
label = encoder.classes_[np.argmax(prediction)]
text = "\n".join("%s: %.3f" % (name, value) for name, value in zip(encoder.classes_, prediction[0]))
print(text)
report = {"history": history.history, "score": score, "prediction": prediction, "label": str(label)}
