"""Train one scikit-learn classifier on the breast cancer data and report how well it does.

It runs by itself as well: python forest.py --model=svm --C=10 --kernel=rbf --gamma=0.01
"""

import argparse

from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_validate
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import tuner


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=["svm", "forest", "logistic", "knn", "boosting"], default="forest")
    parser.add_argument("--C", type=float, default=1.0)
    parser.add_argument("--kernel", choices=["rbf", "linear", "poly"], default="rbf")
    parser.add_argument("--gamma", type=float, default=0.03)
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--depth", type=int, default=12)
    parser.add_argument("--features", type=float, default=0.18)
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--neighbors", type=int, default=5)
    parser.add_argument("--weights", choices=["uniform", "distance"], default="uniform")
    return parser.parse_args()


def classifier(args: argparse.Namespace):
    if args.model == "svm":
        return SVC(C=args.C, kernel=args.kernel, gamma=args.gamma)
    if args.model == "forest":
        return RandomForestClassifier(args.trees, max_depth=args.depth, max_features=args.features, random_state=0)
    if args.model == "logistic":
        return LogisticRegression(C=args.C, max_iter=5000)
    if args.model == "knn":
        return KNeighborsClassifier(args.neighbors, weights=args.weights)
    return GradientBoostingClassifier(
        n_estimators=args.trees, max_depth=args.depth, learning_rate=args.rate, subsample=0.5, random_state=0
    )


def main() -> None:
    args = parse()
    data = load_breast_cancer()
    scores = cross_validate(
        make_pipeline(StandardScaler(), classifier(args)),
        data.data,
        data.target,
        cv=StratifiedKFold(5, shuffle=True, random_state=0),
        scoring="balanced_accuracy",
    )["test_score"]
    tuner.report(accuracy=scores.mean())


if __name__ == "__main__":
    main()
