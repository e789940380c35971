"""IBM's Adversarial Robustness Toolbox: its backdoor attacks certified, its smoothing radius beside ours."""

from typing import Any

import numpy as np
import pytest
import torch

import certssb as cs
from certssb.adapters import ArtTrigger, attack_size

pytest.importorskip("art", reason="needs adversarial-robustness-toolbox: make external")

from art.attacks.poisoning import PoisoningAttackBackdoor, PoisoningAttackCleanLabelBackdoor, perturbations
from art.estimators.certification.randomized_smoothing import PyTorchRandomizedSmoothing
from art.estimators.classification import PyTorchClassifier

X, Y = cs.datasets.load_digits(classes=(0, 1))
N_TRAIN = 260
X_TRAIN, Y_TRAIN, X_TEST, Y_TEST = X[:N_TRAIN], Y[:N_TRAIN], X[N_TRAIN:], Y[N_TRAIN:]


def fitted(X: Any, y: Any, law: cs.Law, seed: int = 0) -> cs.CertifiedClassifier:
    clf = cs.CertifiedClassifier("linear", law, n_members=200, learning_rate=0.05, seed=seed, progress=False)
    return clf.fit(X, y)


def check_against_the_clean_set(X_bad: Any, y_bad: Any, law: cs.Law) -> None:
    """Certify what an attack left; whatever survives it is what members of the clean set say."""
    size = attack_size(X_TRAIN, Y_TRAIN, X_bad, y_bad)
    assert size.n_poisoned > 0
    certs = fitted(X_bad, y_bad, law).certify(X_TEST)
    survives = certs.holds(**size._asdict())
    assert survives.mean() > 0.8
    clean = fitted(X_TRAIN, Y_TRAIN, law, seed=1).predict(X_TEST)
    assert (clean[survives] == certs.prediction[survives]).all()


@pytest.mark.parametrize("perturbation", ["add_single_bd", "add_pattern_bd"])
def test_backdoors_of_the_toolbox_are_certified(perturbation: str) -> None:
    attack = PoisoningAttackBackdoor(getattr(perturbations, perturbation))
    trigger = ArtTrigger(attack, channels_last=True)
    X_bad, y_bad, index = cs.triggers.poison(X_TRAIN, Y_TRAIN, trigger, rate=0.015, target=0, seed=0)
    assert len(index) == 4
    check_against_the_clean_set(X_bad, y_bad, cs.Subsample(cs.Gaussian(0.5), size=20))


def test_a_clean_label_attack_of_the_toolbox_is_certified() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
    proxy = PyTorchClassifier(
        network, torch.nn.CrossEntropyLoss(), (1, 8, 8), 2, torch.optim.Adam(network.parameters(), 0.01),
        clip_values=(0.0, 1.0),
    )  # fmt: skip
    one_hot = np.eye(2, dtype=np.float32)[Y_TRAIN]
    proxy.fit(X_TRAIN, one_hot, nb_epochs=5)
    backdoor = PoisoningAttackBackdoor(lambda x: perturbations.add_pattern_bd(x, channels_first=True))
    attack = PoisoningAttackCleanLabelBackdoor(
        backdoor, proxy, np.array([0.0, 1.0], dtype=np.float32), pp_poison=0.03, eps=0.2, eps_step=0.05, max_iter=5
    )  # fmt: skip
    np.random.seed(0)
    X_bad, one_hot_bad = attack.poison(X_TRAIN, one_hot)
    assert (one_hot_bad.argmax(axis=1) == Y_TRAIN).all()
    check_against_the_clean_set(X_bad, Y_TRAIN, cs.Subsample(cs.Gaussian(0.5), size=20))


def test_its_smoothing_radius_is_ours_for_the_same_votes() -> None:
    """Randomised smoothing noises the test input, the Gaussian law the training set: one formula, one radius."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
    chosen, counted, alpha, scale = 100, 1000, 0.001, 0.75
    smoother = PyTorchRandomizedSmoothing(
        network, torch.nn.CrossEntropyLoss(), (1, 8, 8), 2, torch.optim.Adam(network.parameters(), 0.01),
        sample_size=chosen, scale=scale, alpha=alpha,
    )  # fmt: skip
    samples = X_TEST[:30]
    np.random.seed(0)
    theirs, their_radius = smoother.certify(samples, n=counted)
    np.random.seed(0)
    votes = np.empty((chosen + counted, len(samples)), dtype=np.int64)
    for place, sample in enumerate(samples):
        # First the draws that choose the class, then those that bound it, as they are drawn there.
        for rows in (slice(0, chosen), slice(chosen, None)):
            noisy = smoother._noisy_samples(sample, n=len(votes[rows]))
            votes[rows, place] = smoother._predict_classifier(noisy, 128, False).argmax(axis=1)
    ours = cs.certify_votes(
        votes, cs.Gaussian(scale), n_train=1, n_classes=2, alpha=alpha, selection="split", split=chosen
    )
    assert ours.radius is not None
    certified = theirs >= 0
    assert certified.sum() > 5 and (~ours.abstained == (their_radius > 0)).all()
    assert (ours.prediction[certified] == theirs[certified]).all()
    # Rounded outward, so never above, and no further below than the rounding.
    assert (ours.radius <= their_radius).all()
    np.testing.assert_allclose(ours.radius, their_radius, rtol=0, atol=1e-9)
