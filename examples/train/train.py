"""Learns to tell handwritten digits apart, from the 1797 pictures that come with scikit-learn."""

import tempfile

import numpy as np
from cog import Input, Path
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

PIXELS = 64
DIGITS = 10
INK = 16.0


def train(
    hidden: int = Input(description="Neurons in the hidden layer", default=48, ge=1, le=512),
    epochs: int = Input(description="Passes over the pictures", default=60, ge=1, le=1000),
    learning_rate: float = Input(description="Size of each step", default=0.1, ge=0.0001, le=1),
    seed: int = Input(description="The same seed gives the same weights", default=0),
) -> Path:
    pictures, digits = load_digits(return_X_y=True)
    parts = train_test_split(pictures / INK, digits, test_size=0.2, random_state=seed, stratify=digits)
    learn_x, check_x, learn_y, check_y = parts

    chance = np.random.default_rng(seed)
    weights = {
        "hidden": chance.normal(0, np.sqrt(2 / PIXELS), (PIXELS, hidden)),
        "hidden_bias": np.zeros(hidden),
        "output": chance.normal(0, np.sqrt(2 / hidden), (hidden, DIGITS)),
        "output_bias": np.zeros(DIGITS),
    }
    for epoch in range(1, epochs + 1):
        for batch in np.array_split(chance.permutation(len(learn_x)), len(learn_x) // 32):
            step(weights, learn_x[batch], learn_y[batch], learning_rate)
        if epoch % 10 == 0 or epoch == epochs:
            right = np.mean(probabilities(weights, check_x).argmax(axis=1) == check_y)
            print(f"epoch {epoch:3}: {right:.1%} of {len(check_y)} unseen digits right")

    target = Path(tempfile.mkdtemp()) / "weights.npz"
    np.savez(target, **weights)
    return target


def probabilities(weights: dict, pictures: np.ndarray) -> np.ndarray:
    """How likely each of the ten digits is, for each picture."""
    active = np.maximum(pictures @ weights["hidden"] + weights["hidden_bias"], 0)
    scores = active @ weights["output"] + weights["output_bias"]
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def step(weights: dict, pictures: np.ndarray, digits: np.ndarray, rate: float) -> None:
    """One step of gradient descent."""
    active = np.maximum(pictures @ weights["hidden"] + weights["hidden_bias"], 0)
    error = (probabilities(weights, pictures) - np.eye(DIGITS)[digits]) / len(pictures)
    error_inside = (error @ weights["output"].T) * (active > 0)
    weights["output"] -= rate * active.T @ error
    weights["output_bias"] -= rate * error.sum(axis=0)
    weights["hidden"] -= rate * pictures.T @ error_inside
    weights["hidden_bias"] -= rate * error_inside.sum(axis=0)
