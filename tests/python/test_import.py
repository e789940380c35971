"""What the package says of itself."""

import certssb


def test_the_package_tells_its_version_and_names() -> None:
    assert certssb.__version__.count(".") == 2
    for name in certssb.__all__:
        assert getattr(certssb, name) is not None
