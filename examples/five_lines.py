from sklearn.datasets import load_wine
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC


def accuracy(config):
    data = load_wine()
    model = SVC(C=config["C"], gamma=config["gamma"])
    scaled = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    scores = cross_val_score(model, scaled, data.target, cv=5)
    return scores.mean()
