"""Train a small network on the diabetes data (442 patients) and log to Weights & Biases, as scripts do.

Without the `wandb` package the same numbers go to `tuner.report`.
"""

import argparse

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

try:
    import wandb
except ImportError:
    wandb = None


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--learning_rate", type=float, default=0.01)
    parser.add_argument("--hidden", type=int, default=16)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--weight_decay", type=float, default=1e-4)
    parser.add_argument("--epochs", type=int, default=30)
    return parser.parse_args()


def log(values: dict[str, float]) -> None:
    if wandb is not None:
        wandb.log(values)
    else:
        import tuner

        tuner.report({k: v for k, v in values.items() if k != "epoch"}, step=int(values["epoch"]))


def main() -> None:
    args = parse()
    if wandb is not None:
        wandb.init(project="diabetes", config=vars(args))

    X, y = load_diabetes(return_X_y=True)
    X, y = X / X.std(axis=0), (y - y.mean()) / y.std()
    X, X_val, y, y_val = train_test_split(X, y, test_size=0.3, random_state=0)

    rng = np.random.default_rng(0)
    weights = [
        rng.normal(size=(X.shape[1], args.hidden)) / np.sqrt(X.shape[1]),
        rng.normal(size=args.hidden) / np.sqrt(args.hidden),
    ]
    velocity = [np.zeros_like(w) for w in weights]
    for epoch in range(args.epochs):
        for rows in np.array_split(rng.permutation(len(X)), 10):
            hidden = np.tanh(X[rows] @ weights[0])
            error = 2 * (hidden @ weights[1] - y[rows]) / len(rows)
            gradients = [X[rows].T @ (np.outer(error, weights[1]) * (1 - hidden**2)), hidden.T @ error]
            for w, v, gradient in zip(weights, velocity, gradients):
                v *= args.momentum
                v -= args.learning_rate * (np.clip(gradient, -1, 1) + args.weight_decay * w)
                w += v
        val_loss = float(np.mean((np.tanh(X_val @ weights[0]) @ weights[1] - y_val) ** 2))
        log({"epoch": epoch, "val_loss": val_loss})

    if wandb is not None:
        wandb.finish()


if __name__ == "__main__":
    main()
