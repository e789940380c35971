"""scikit-learn's searches and pipelines around the estimator."""

import warnings

import pytest
from joblib import parallel_config
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import certssb as cs
from certssb.exceptions import ParameterError

X, Y = cs.datasets.load_digits(classes=(0, 1))


def classifier(**settings: object) -> cs.CertifiedClassifier:
    law = cs.Subsample(cs.Gaussian(0.5), size=20)
    return cs.CertifiedClassifier(
        "discriminant", law, n_members=10, alpha=0.3, seed=0, progress=False
    ).set_params(**settings)


def test_a_grid_over_the_laws_parameters_trains_under_each() -> None:
    grid = {"law__size": [10, 40], "law__inner__sigma": [0.25, 4.0]}
    folds = StratifiedKFold(3)
    with pytest.warns(cs.SearchWarning, match="by a GridSearchCV that looked at the data"):
        search = GridSearchCV(classifier(), grid, cv=folds).fit(X[:200], Y[:200])
    train, test = next(folds.split(X[:200], Y[:200]))
    by_hand = [
        classifier(**params).fit(X[train], Y[train]).score(X[test], Y[test])
        for params in search.cv_results_["params"]
    ]
    assert search.cv_results_["split0_test_score"].tolist() == by_hand
    assert search.best_params_["law__inner__sigma"] == 0.25
    best = search.best_estimator_
    assert best.law == cs.Subsample(cs.Gaussian(0.25), size=search.best_params_["law__size"])
    assert best.certify(X[200:203]).law == best.law


def test_parameters_of_a_law_reach_no_other_estimator_that_has_it() -> None:
    law = cs.Subsample(cs.Gaussian(0.5), size=20)
    first = cs.CertifiedClassifier("linear", law)
    second = cs.CertifiedClassifier("linear", law)
    first.set_params(law__size=5)
    assert (first.law, second.law) == (cs.Subsample(cs.Gaussian(0.5), size=5), law)
    assert law == cs.Subsample(cs.Gaussian(0.5), size=20)


def test_a_fitted_estimators_certificates_keep_the_law_it_was_fitted_under() -> None:
    fitted = classifier().fit(X[:100], Y[:100])
    law = fitted.law
    fitted.set_params(law__size=5)
    law.set_params(size=7)
    assert fitted.certify(X[:3]).law == cs.Subsample(cs.Gaussian(0.5), size=20)


def test_a_law_given_together_with_parameters_of_it_is_set_first() -> None:
    law = cs.Gaussian(2.0)
    assert classifier(law=law, law__sigma=3.0).law == cs.Gaussian(3.0)
    assert law == cs.Gaussian(2.0)


def test_parameters_of_no_law_are_refused_by_name() -> None:
    with pytest.raises(ParameterError, match="'law'.*a law, for law__sigma to be set. Got None"):
        cs.CertifiedClassifier("linear").set_params(law__sigma=1.0)
    with pytest.raises(ParameterError, match="'q'.*of Subsample, which has inner, size"):
        classifier(law__q=0.1)
    with pytest.raises(ValueError, match="Invalid parameter 'lawless'"):
        classifier(lawless=0.1)


def test_a_pipelines_last_step_certifies_what_the_others_made() -> None:
    halve = FunctionTransformer(lambda X: X / 2)
    pipe = clone(make_pipeline(halve, classifier())).set_params(certifiedclassifier__law__size=25)
    pipe.fit(X[:200], Y[:200])
    certs = pipe[-1].certify(pipe[:-1].transform(X[200:]))
    assert (certs.prediction == pipe.predict(X[200:])).all()
    alone = classifier(law__size=25).fit(X[:200] / 2, Y[:200])
    assert (pipe.predict_proba(X[200:]) == alone.predict_proba(X[200:] / 2)).all()


@pytest.mark.filterwarnings("error")
def test_who_chooses_nothing_by_the_data_that_are_fitted_is_told_nothing() -> None:
    grid = {"law__size": [10, 40]}
    best = GridSearchCV(classifier(), grid, cv=2, refit=False).fit(X[:100], Y[:100]).best_params_
    classifier(**best).fit(X[100:200], Y[100:200])
    GridSearchCV(classifier(), {"law__size": [10]}, cv=2).fit(X[:100], Y[:100])
    cross_val_score(classifier(), X[:100], Y[:100], cv=2)


def test_every_search_that_fits_its_choice_says_so_once() -> None:
    knn = cs.CertifiedKNN(1.0)
    double = FunctionTransformer(lambda pixels: 2 * pixels)
    for search in (
        RandomizedSearchCV(classifier(), {"law__size": [10, 40]}, n_iter=2, cv=2, random_state=0),
        GridSearchCV(make_pipeline(double, classifier()), {"certifiedclassifier__law__size": [10, 40]}, cv=2),
        GridSearchCV(classifier(), {"law__size": [10, 40]}, cv=2, n_jobs=2),
        GridSearchCV(knn, {"sigma": [0.5, 1.0]}, cv=2),
    ):
        with parallel_config(backend="threading"), warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            search.fit(X[:100], Y[:100])
        assert [one.category for one in told].count(cs.SearchWarning) == 1, search
