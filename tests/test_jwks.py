"""streamd.jwks: an issuer's keys, when they change, and when it is away."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from streamd.errors import StoreUnavailable, Unauthorized
from streamd.jwks import Jwks
from streamd.tokens import PAIRS
from streamd.transports.fetch import fetch
from tests.harness import until
from tests.issuer import Issuer, issuer
from tests.keys import jwk


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def jwks(seconds: float = 5.0) -> AsyncIterator[tuple[Jwks, Issuer, Clock]]:
    async with issuer() as shown:
        clock = Clock()
        keys = Jwks(partial(fetch, shown.url, seconds=seconds), PAIRS, clock)
        try:
            yield keys, shown, clock
        finally:
            await keys.aclose()


async def test_keys_are_fetched_when_the_first_is_needed_once_for_all() -> None:
    async with jwks() as (keys, shown, _):
        shown.keys += [
            jwk("ES256", "k2"),
            jwk("EdDSA", "k3"),
            {"kty": "oct", "kid": "k4", "k": "eA"},
        ]
        assert shown.asked == 0
        found = await asyncio.gather(*[keys.find("k1", "RS256") for _ in range(100)])
        assert shown.asked == 1
        assert len({id(key) for (key,) in found}) == 1
        assert await keys.find("k2", "ES256") != await keys.find("k3", "EdDSA")


async def test_a_key_is_for_its_algorithm_alone() -> None:
    async with jwks() as (keys, _, _):
        with pytest.raises(Unauthorized):
            await keys.find("k1", "ES256")


async def test_a_token_that_names_no_key_is_for_the_only_one() -> None:
    async with jwks() as (keys, shown, clock):
        assert await keys.find(None, "RS256") == await keys.find("k1", "RS256")
        shown.keys.append(jwk("RS256", "k2", "another"))
        clock.now += 30
        with pytest.raises(Unauthorized):
            await keys.find("k3", "RS256")
        with pytest.raises(Unauthorized):
            await keys.find(None, "RS256")


async def test_made_up_names_ask_the_issuer_once_in_thirty_seconds() -> None:
    async with jwks() as (keys, shown, clock):
        await keys.find("k1", "RS256")
        for second in range(1, 91):
            clock.now = float(second)
            for number in range(20):
                with pytest.raises(Unauthorized):
                    await keys.find(f"no {second} {number}", "RS256")
        assert shown.asked == 1 + 3


async def test_a_new_key_is_found_and_an_old_one_counts_no_more() -> None:
    async with jwks() as (keys, shown, clock):
        await keys.find("k1", "RS256")
        version = keys.version
        shown.keys = [jwk("RS256", "k2", "another")]
        clock.now = 30
        assert await keys.find("k2", "RS256")
        assert keys.version != version
        with pytest.raises(Unauthorized):
            await keys.find("k1", "RS256")
        assert shown.asked == 2


async def test_keys_are_looked_at_again_after_a_while_and_nobody_waits_for_that() -> None:
    async with jwks() as (keys, shown, clock):
        await keys.find("k1", "RS256")
        version = keys.version
        shown.going.clear()
        clock.now = 299
        await keys.find("k1", "RS256")
        clock.now = 300
        assert await keys.find("k1", "RS256")
        assert keys.version == version
        shown.keys = []
        shown.going.set()
        await until(lambda: keys.version != version)
        assert shown.asked == 2
        with pytest.raises(Unauthorized):
            await keys.find("k1", "RS256")


async def test_what_has_not_changed_keeps_its_version() -> None:
    async with jwks() as (keys, shown, clock):
        await keys.find("k1", "RS256")
        version = keys.version
        clock.now = 300
        await keys.find("k1", "RS256")
        await until(lambda: shown.asked == 2)
        await keys.aclose()
        assert keys.version == version


async def test_an_issuer_without_keys_is_asked_no_more_often_than_one_with_some() -> None:
    async with jwks() as (keys, shown, clock):
        shown.keys = []
        for second in range(61):
            clock.now = float(second)
            for number in range(5):
                with pytest.raises(Unauthorized):
                    await keys.find(f"no {second} {number}", "RS256")
        assert shown.asked == 1 + 2


async def test_a_thousand_made_up_names_at_once_are_one_question() -> None:
    async with jwks() as (keys, shown, clock):
        await keys.find("k1", "RS256")
        clock.now = 30
        names = [f"no {number}" for number in range(1_000)]
        found = await asyncio.gather(
            *[keys.find(name, "RS256") for name in names], return_exceptions=True
        )
        assert {type(each) for each in found} == {Unauthorized}
        assert shown.asked == 2


GARBAGE = [b"", b"nonsense", b"[]", b"{}", b'{"keys":{}}', b'{"keys":null}', b"\xff" * 100]


@pytest.mark.parametrize("body", GARBAGE, ids=repr)
async def test_while_the_issuer_has_no_keys_nobody_is_refused(
    body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with jwks() as (keys, shown, clock):
        shown.raw = shown.answer(body=body)
        for _ in range(10):
            with pytest.raises(StoreUnavailable):
                await keys.find("k1", "RS256")
        assert shown.asked == 1
        shown.raw = None
        clock.now = 5
        assert await keys.find("k1", "RS256")
    told = [record.getMessage() for record in caplog.records if record.name == "streamd.jwks"]
    assert len(told) == 2
    assert "no key set" in told[0]
    assert "again" in told[1]


@pytest.mark.parametrize(
    "members",
    [
        [None, 7, {}, {"kty": "RSA"}],
        [[]] * 1_000,
        [{**jwk("ES256", None), "kid": kid} for kid in ([1], {"k": 1}, 7)],
    ],
)
async def test_keys_that_are_none_are_passed_over(members: list[object]) -> None:
    async with jwks() as (keys, shown, _):
        shown.keys += members
        assert await keys.find("k1", "RS256")


async def test_of_very_many_keys_the_first_hundred_count() -> None:
    async with jwks() as (keys, shown, _):
        shown.keys = [jwk("ES256", f"k{number}") for number in range(102)]
        assert await keys.find("k99", "ES256")
        with pytest.raises(Unauthorized):
            await keys.find("k100", "ES256")


async def test_while_the_issuer_is_away_the_last_keys_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    async with jwks() as (keys, shown, clock):
        found = await keys.find("k1", "RS256")
        shown.raw = shown.answer("500 Oops", b"canary")
        for clock.now in range(300, 400, 10):
            assert await keys.find("k1", "RS256") == found
            await until(lambda: keys._task is None)
        # Of another it can't be said.
        with pytest.raises(StoreUnavailable):
            await keys.find("k2", "RS256")
    assert [r.getMessage() for r in caplog.records] == [
        "the keys for tokens can't be fetched: HTTP 500"
    ]


async def test_a_slow_issuer_is_given_up_in_time() -> None:
    async with jwks(seconds=0.2) as (keys, shown, _):
        shown.going.clear()
        async with asyncio.timeout(5):
            with pytest.raises(StoreUnavailable):
                await keys.find("k1", "RS256")


async def test_nobody_waits_for_two_questions() -> None:
    async with jwks(seconds=0.2) as (keys, shown, clock):
        shown.going.clear()
        asking = asyncio.create_task(keys.find("k1", "RS256"))
        await until(lambda: shown.asked)
        clock.now = 5
        with pytest.raises(StoreUnavailable):
            await asking
        assert shown.asked == 1
        shown.going.set()
        clock.now = 10
        assert await keys.find("k1", "RS256")


async def test_one_who_gives_up_leaves_the_answer_to_the_others() -> None:
    async with jwks() as (keys, shown, _):
        shown.going.clear()
        gone = asyncio.create_task(keys.find("k1", "RS256"))
        here = asyncio.create_task(keys.find("k1", "RS256"))
        await until(lambda: shown.asked)
        gone.cancel()
        shown.going.set()
        assert await here
        assert shown.asked == 1
