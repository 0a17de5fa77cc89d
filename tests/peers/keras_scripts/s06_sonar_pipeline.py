from keras.layers import Dense, Input
from keras.models import Model, Sequential
from keras.wrappers import SKLearnClassifier, SKLearnRegressor
from scriptdata import echoes, start
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

X, Y = echoes()


def create_baseline(X, y, hidden=20):
    model = Sequential(
        [Input(shape=(X.shape[1],)), Dense(hidden, activation="relu"), Dense(y.shape[1], activation="softmax")]
    )
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    return start(model)


estimators = [("standardize", StandardScaler())]
fit_kwargs = {"epochs": 10, "batch_size": 8, "verbose": 0, "shuffle": False}
estimators.append(("mlp", SKLearnClassifier(create_baseline, model_kwargs={"hidden": 12}, fit_kwargs=fit_kwargs)))
pipeline = Pipeline(estimators)
kfold = StratifiedKFold(n_splits=3, shuffle=True, random_state=1)
# scikit-learn copies an estimator for every fold; Keras's copies forget fit_kwargs
scores = []
for train, test in kfold.split(X, Y):
    pipeline.fit(X[train], Y[train])
    scores.append(pipeline.score(X[test], Y[test]))
labels = pipeline.predict(X[:5])
classes = pipeline.named_steps["mlp"].classes_


def regression(X, y):
    inputs = Input(shape=(X.shape[1],))
    model = Model(inputs, Dense(1)(Dense(6, activation="tanh")(inputs)))
    model.compile(loss="mse", optimizer="adam")
    return start(model)


regressor = SKLearnRegressor(regression)
regressor.fit(X[:, :5], X[:, 5], epochs=5, verbose=0, shuffle=False)
report = {"scores": scores, "labels": labels.tolist(), "classes": classes.tolist(),
          "predictions": regressor.predict(X[:4, :5])}  # fmt: skip
