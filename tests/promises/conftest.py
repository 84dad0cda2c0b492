"""Fixtures of the tests that run whole servers."""

import pytest


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgres", marks=pytest.mark.postgres),
        pytest.param("redis", marks=pytest.mark.redis),
    ]
)
def shared_url(request: pytest.FixtureRequest) -> str:
    """The URL of each of the stores that several servers may share."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url
