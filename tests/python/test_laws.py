"""Noise laws as Python objects."""

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from sklearn.base import BaseEstimator, clone

import certssb as cs
from certssb.exceptions import ParameterError

LAWS = {
    "Gaussian(sigma=0.5)": lambda: cs.Gaussian(0.5),
    "Uniform(half_width=0.25)": lambda: cs.Uniform(0.25),
    "Discrete(keep=0.8, alphabet=2, labels=True, test_input=False)": lambda: cs.Discrete(0.8),
    "Discrete(keep=0.9, alphabet=4, labels=False, test_input=True)": lambda: cs.Discrete(
        keep=0.9, alphabet=4, labels=False, test_input=True
    ),
    "LabelNoise(q=0.2)": lambda: cs.LabelNoise(q=0.2),
    "Subsample(size=30)": lambda: cs.Subsample(size=30),
    "Subsample(Gaussian(sigma=1.0), size=100)": lambda: cs.Subsample(cs.Gaussian(1.0), size=100),
    "Gaussian(sigma=1.0) & LabelNoise(q=0.2)": lambda: cs.Gaussian(1.0) & cs.LabelNoise(0.2),
    "Subsample(Uniform(half_width=1.0) & LabelNoise(q=0.1), size=50)": lambda: cs.Subsample(
        cs.Uniform(1.0) & cs.LabelNoise(0.1), size=50
    ),
    "SampleSpecific(sigma=0.5, guarantee='sound')": lambda: cs.SampleSpecific(0.5),
    "SampleSpecific(sigma=0.5, guarantee='published', sigma_max=1.0, steps=3)": lambda: cs.SampleSpecific(
        0.5, "published", sigma_max=1.0, steps=3
    ),
    "Cascade([Gaussian(sigma=1.0), Subsample(SampleSpecific(sigma=0.5, guarantee='sound'), size=9)], "
    "thresholds=[0.25])": lambda: cs.Cascade(
        [cs.Gaussian(1.0), cs.Subsample(cs.SampleSpecific(0.5), size=9)], thresholds=[0.25]
    ),
}

each_law = pytest.mark.parametrize(("text", "make"), LAWS.items(), ids=list(LAWS))


@each_law
def test_the_representation_is_python_that_makes_the_same_law(text: str, make: Callable[[], cs.Law]) -> None:
    law = make()
    assert repr(law) == text
    names = {
        name: getattr(cs, name)
        for name in [
            "Cascade",
            "Gaussian",
            "Uniform",
            "Discrete",
            "LabelNoise",
            "SampleSpecific",
            "Subsample",
        ]
    }
    assert eval(text, names) == law
    assert isinstance(law, cs.Law)


@each_law
def test_equal_laws_are_equal_and_hash_alike(text: str, make: Callable[[], cs.Law]) -> None:
    law = make()
    assert law == make()
    assert hash(law) == hash(make())
    others = [other() for name, other in LAWS.items() if name != text]
    assert all(law != other for other in others)
    assert len({law, make(), *others}) == len(LAWS)
    assert law not in (None, 0.5, text)


@each_law
def test_pickles_and_copies_are_equal_and_of_the_same_class(text: str, make: Callable[[], cs.Law]) -> None:
    law = make()
    copies = [copy.copy(law), copy.deepcopy(law)]
    copies += [
        pickle.loads(pickle.dumps(law, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)
    ]
    for other in copies:
        assert other == law
        assert type(other) is type(law)
        assert repr(other) == text


@each_law
def test_an_estimator_with_the_law_is_cloned(text: str, make: Callable[[], cs.Law]) -> None:
    estimator = cs.CertifiedClassifier(law=make(), n_members=30)
    copied = clone(estimator)
    assert copied.law == make()
    assert copied.get_params()["n_members"] == 30
    assert text in repr(estimator)


def test_attributes_of_laws_cannot_be_set() -> None:
    law = cs.Gaussian(0.5)
    assert law.sigma == 0.5
    with pytest.raises(AttributeError):
        law.sigma = 1.0  # type: ignore[misc]


def test_composition_takes_one_law_on_features_and_one_on_labels_in_either_order() -> None:
    both = cs.Gaussian(1.0) & cs.LabelNoise(0.2)
    other = cs.LabelNoise(0.2) & cs.Gaussian(1.0)
    assert repr(other) == "LabelNoise(q=0.2) & Gaussian(sigma=1.0)"
    assert repr(both) == "Gaussian(sigma=1.0) & LabelNoise(q=0.2)"
    assert isinstance(cs.Discrete(0.8, labels=False) & cs.LabelNoise(0.1), cs.Law)


@pytest.mark.parametrize(
    ("compose", "said"),
    [
        (lambda: cs.Gaussian(1.0) & cs.Gaussian(2.0), "'&'.*one law on the features and one on the labels"),
        (lambda: cs.Gaussian(1.0) & cs.Uniform(2.0), "'&'.*two laws on the same part"),
        (lambda: cs.LabelNoise(0.1) & cs.LabelNoise(0.1), "'&'.*two laws on the same part"),
        (lambda: cs.Discrete(0.8) & cs.LabelNoise(0.1), "'&'.*two laws on the same part"),
        (
            lambda: cs.Gaussian(1.0) & cs.LabelNoise(0.1) & cs.LabelNoise(0.1),
            "'&'.*two laws on the same part",
        ),
        (lambda: cs.Subsample(size=5) & cs.LabelNoise(0.1), "'&'.*put them inside.*a Subsample beside"),
        (lambda: cs.Gaussian(1.0) & cs.Subsample(size=5), "'&'.*put them inside.*a Subsample beside"),
    ],
)
def test_compositions_without_a_certificate_are_refused(compose: Callable[[], cs.Law], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        compose()


@pytest.mark.parametrize("other", [None, 0.5, "Gaussian", object()])
def test_a_law_is_composed_with_laws_only(other: Any) -> None:
    with pytest.raises(TypeError, match="unsupported operand"):
        cs.Gaussian(1.0) & other


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: cs.Gaussian(0.0), "'sigma'.*finite float greater than 0, also in single precision. Got 0 "),
        (
            lambda: cs.Gaussian(sigma=-0.5),
            "'sigma'.*finite float greater than 0, also in single precision. Got -0.5",
        ),
        (
            lambda: cs.Gaussian(math.nan),
            "'sigma'.*finite float greater than 0, also in single precision. Got NaN",
        ),
        (
            lambda: cs.Gaussian(math.inf),
            "'sigma'.*finite float greater than 0, also in single precision. Got inf",
        ),
        (lambda: cs.Uniform(0), "'half_width'.*finite float greater than 0, also in single precision. Got 0"),
        (
            lambda: cs.Uniform(half_width=-1.0),
            "'half_width'.*finite float greater than 0, also in single precision. Got -1",
        ),
        (lambda: cs.LabelNoise(-0.1), r"'q'.*\[0, \(K-1\)/K\).*Got -0.1"),
        (lambda: cs.LabelNoise(1.0), r"'q'.*\[0, \(K-1\)/K\).*Got 1"),
        (lambda: cs.LabelNoise(math.nan), r"'q'.*\[0, \(K-1\)/K\).*Got NaN"),
        (lambda: cs.Discrete(0.5), r"'keep'.*\(0.5000, 1\]. Got 0.5"),
        (lambda: cs.Discrete(0.2, alphabet=5), r"'keep'.*\(0.2000, 1\]. Got 0.2"),
        (lambda: cs.Discrete(1.1), r"'keep'.*\(0.5000, 1\]. Got 1.1"),
        (lambda: cs.Discrete(math.nan), "'keep'.*Got NaN"),
        (lambda: cs.Discrete(0.9, alphabet=1), "'alphabet'.*from 2 to.*Got 1 "),
        (lambda: cs.Subsample(size=0), "'size'.*from 1 to the number of training samples. Got 0"),
        (lambda: cs.Subsample(size=-3), "'size'.*from 1 to the number of training samples"),
        (lambda: cs.Subsample(cs.Gaussian(1.0)), "'size'.*or else 'rate'.*Got neither"),
        (lambda: cs.Subsample(size=3, rate=0.1), "'size'.*not both"),
        (lambda: cs.Subsample(rate=1.0), r"'rate'.*\[1e-9, 1\). Got 1 instead"),
        (lambda: cs.Subsample(rate=float("nan")), "'rate'"),
        (lambda: cs.Subsample(cs.Subsample(size=9), size=3), "'inner'.*does not subsample.*a Subsample"),
        (lambda: cs.Subsample(cs.Discrete(0.8, test_input=True), size=3), "'inner'.*test input"),
    ],
)
def test_parameters_out_of_range_are_refused_by_name(make: Callable[[], cs.Law], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: cs.Gaussian(),
        lambda: cs.Subsample(cs.Gaussian(1.0), 100),
    ],
)
def test_arguments_that_are_missing_or_too_many_are_type_errors(make: Callable[[], cs.Law]) -> None:
    with pytest.raises(TypeError):
        make()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: cs.Gaussian("wide"), "'sigma'.*a number. Got 'wide'"),
        (lambda: cs.Gaussian(True), "'sigma'.*a number. Got True"),
        (lambda: cs.Subsample(0.5, size=3), "'inner'.*a noise law.*Got 0.5"),
        (lambda: cs.Subsample(size=2.5), "'size'.*an integer or None. Got 2.5"),
        (lambda: cs.Discrete(0.9, labels="no"), "'labels'.*a bool. Got 'no'"),
        (lambda: cs.Cascade([cs.Gaussian(1.0), 2]), "'levels'.*a sequence of noise laws"),
        (lambda: cs.SampleSpecific(0.5, guarantee=3), "'guarantee'.*a string. Got 3"),
        (lambda: cs.Gaussian(0.5).set_params(sigma=[1]), r"'sigma'.*a number. Got \[1\]"),
    ],
)
def test_arguments_of_another_type_are_refused_by_name(make: Callable[[], cs.Law], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        make()


def test_a_law_on_labels_needs_room_for_the_classes() -> None:
    votes = [[0]] * 50
    law = cs.LabelNoise(0.6)
    with pytest.raises(ParameterError, match=r"'q'.*\[0, 0.5000\) for 2 classes. Got 0.6"):
        cs.certify_votes(votes, law, n_train=10, n_classes=2)
    assert len(cs.certify_votes(votes, law, n_train=10, n_classes=3)) == 1


@each_law
def test_parameters_are_what_makes_the_same_law(text: str, make: Callable[[], cs.Law]) -> None:
    law = make()
    params = law.get_params(deep=False)
    if " & " in text and not text.startswith("Subsample"):
        first, second = params.values()
        assert first & second == law
    else:
        assert type(law)(**params) == law
    assert all(params[name] == value for name, value in law.get_params().items() if "__" not in name)
    copied = clone(law)
    assert copied == law
    assert copied is not law
    assert clone(law).set_params(**law.get_params()) == law


SETTINGS = [
    (cs.Gaussian(0.5), {"sigma": 2.0}, "Gaussian(sigma=2.0)"),
    (cs.Uniform(0.5), {"half_width": 2}, "Uniform(half_width=2.0)"),
    (cs.LabelNoise(0.25), {"q": 0.125}, "LabelNoise(q=0.125)"),
    (
        cs.Discrete(0.9),
        {"keep": 0.8, "alphabet": 3, "labels": False, "test_input": True},
        "Discrete(keep=0.8, alphabet=3, labels=False, test_input=True)",
    ),
    (cs.Subsample(size=9), {"size": 7}, "Subsample(size=7)"),
    (cs.Subsample(size=9), {"inner": cs.Uniform(1.0)}, "Subsample(Uniform(half_width=1.0), size=9)"),
    (
        cs.Subsample(size=9),
        {"inner__sigma": 2.0, "inner": cs.Gaussian(1.0)},
        "Subsample(Gaussian(sigma=2.0), size=9)",
    ),
    (cs.Subsample(cs.Gaussian(1.0), size=9), {"inner": None}, "Subsample(size=9)"),
    (
        cs.Subsample(cs.Gaussian(1.0) & cs.LabelNoise(0.1), size=9),
        {"inner__gaussian__sigma": 0.5, "inner__labelnoise__q": 0.2, "size": 3},
        "Subsample(Gaussian(sigma=0.5) & LabelNoise(q=0.2), size=3)",
    ),
    (
        cs.LabelNoise(0.1) & cs.Gaussian(1.0),
        {"gaussian": cs.Uniform(1.0)},
        "LabelNoise(q=0.1) & Uniform(half_width=1.0)",
    ),
    # What follows from sigma follows the new one.
    (cs.SampleSpecific(0.5), {"sigma": 1.0}, "SampleSpecific(sigma=1.0, guarantee='sound')"),
    (
        cs.SampleSpecific(0.5, sigma_max=0.1, steps=3),
        {"sigma": 1.0, "steps": None},
        "SampleSpecific(sigma=1.0, guarantee='sound', start=0.1, sigma_max=0.1)",
    ),
    (
        cs.Cascade([cs.Gaussian(1.0), cs.Gaussian(0.5)]),
        {"levels": [cs.Gaussian(2.0), cs.Gaussian(0.5)]},
        "Cascade([Gaussian(sigma=2.0), Gaussian(sigma=0.5)], thresholds=[0.4])",
    ),
]


@pytest.mark.parametrize(("law", "params", "text"), SETTINGS)
def test_parameters_are_set_by_name(law: cs.Law, params: dict[str, Any], text: str) -> None:
    given = {name: repr(value) for name, value in params.items()}
    before, own = repr(law), clone(law)
    assert own.set_params(**params) is own
    assert repr(own) == text
    assert hash(own) != hash(law)
    # Neither the law that was cloned nor the laws that were passed change.
    assert repr(law) == before
    assert {name: repr(value) for name, value in params.items()} == given


@pytest.mark.parametrize(
    ("law", "params", "said"),
    [
        (cs.Gaussian(1.0), {"sigma": -1.0}, "'sigma'.*greater than 0"),
        (cs.Gaussian(1.0), {"size": 5}, "'size'.*a parameter of Gaussian, which has sigma"),
        (cs.Gaussian(1.0), {"sigma__size": 5}, "'sigma'.*a law, for sigma__size to be set"),
        (cs.Subsample(size=5), {"size": 3, "inner__sigma": 5}, "'inner'.*a law, for inner__sigma"),
        (cs.Subsample(cs.Gaussian(1.0), size=5), {"size": 3, "inner__q": 5}, "'q'.*of Gaussian"),
        (cs.Gaussian(1.0) & cs.LabelNoise(0.1), {"gaussian": 5}, "'gaussian'.*a law"),
        (
            cs.Gaussian(1.0) & cs.LabelNoise(0.1),
            {"gaussian": cs.LabelNoise(0.1)},
            "'&'.*two laws on the same",
        ),
    ],
)
def test_a_refused_parameter_leaves_the_law_as_it_was(law: cs.Law, params: dict[str, Any], said: str) -> None:
    before = repr(law)
    with pytest.raises(ParameterError, match=said):
        law.set_params(**params)
    assert repr(law) == before


def test_estimators_of_others_set_the_laws_parameters() -> None:
    class Owner(BaseEstimator):  # type: ignore[misc]
        def __init__(self, law: cs.Law) -> None:
            self.law = law

    owner = Owner(cs.Subsample(cs.Gaussian(1.0), size=9))
    assert owner.get_params()["law__inner__sigma"] == 1.0
    assert clone(owner).set_params(law__inner__sigma=0.5, law__size=3).law == cs.Subsample(
        cs.Gaussian(0.5), size=3
    )
    assert owner.law == cs.Subsample(cs.Gaussian(1.0), size=9)
