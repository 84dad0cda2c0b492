"""streamd.guard: who somebody is, and what becomes of a connection by that."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from streamd.access import NOBODY, OPEN, Access, Grants
from streamd.closing import Closing
from streamd.deadlines import Deadlines
from streamd.errors import StoreUnavailable, Unauthorized
from streamd.guard import Guard, read_bearer
from streamd.limits import Limits
from streamd.tokens import FixedKeys, Rules, Verifier, read_secrets
from streamd.worker import Worker
from tests.keys import SECRET, token
from tests.parts import KEYS, LIMITS, Client, call, serving, turns

ALL = {"read": [{}], "write": [{}]}


class Clock:
    """Time as a test says: for tokens and for deadlines alike."""

    def __init__(self) -> None:
        self.now = float(int(time.time()))

    def __call__(self) -> float:
        return self.now


class Keys:
    """A source of keys that is slow, or away, when a test says so."""

    def __init__(self) -> None:
        self.version = 0
        self.there = asyncio.Event()
        self.there.set()
        self.away = False
        self.asked = 0
        self._fixed = FixedKeys(read_secrets(SECRET.encode()))

    async def find(self, kid: str | None, algorithm: str) -> Any:
        self.asked += 1
        await self.there.wait()
        if self.away:
            raise StoreUnavailable("the keys are away")
        return await self._fixed.find(kid, algorithm)

    async def aclose(self) -> None:
        """Nothing is open."""


class World:
    """A worker with access rules, and the clock."""

    def __init__(self, worker: Worker, clock: Clock, keys: Keys) -> None:
        self.worker = worker
        self.clock = clock
        self.keys = keys

    def client(self) -> Client:
        return Client(self.worker)

    def token(self, grants: Any = ALL, **claims: Any) -> str:
        return token(grants, now=self.clock.now, **claims)

    async def known(self, grants: Any = ALL, **claims: Any) -> Client:
        """Return a client that has authenticated."""
        client = self.client()
        await client.call("authenticate", {"token": self.token(grants, **claims)})
        return client

    def pass_(self, seconds: float) -> None:
        """Let time pass, and deadlines with it."""
        self.clock.now += seconds
        for each in self.worker.guard.deadlines.due():
            each.expire()


def make_guard(
    clock: Clock, keys: Keys, newcomer: Access = NOBODY, limits: Limits = LIMITS, **rules: Any
) -> Guard:
    verifier = Verifier(Rules(algorithms=("HS256",), **rules), keys, clock)
    guard = Guard(KEYS, limits, verifier, newcomer)
    guard.deadlines = Deadlines(clock)
    return guard


@asynccontextmanager
async def world(newcomer: Access = NOBODY, **limits: Any) -> AsyncIterator[World]:
    clock, keys = Clock(), Keys()
    guard = make_guard(clock, keys, newcomer, Limits(**limits))
    async with serving(guard=guard, **limits) as worker:
        yield World(worker, clock, keys)


# Before a token, and with one.


async def test_nothing_can_be_called_before_a_token() -> None:
    async with world() as w:
        client = w.client()
        for method in ("ping", "info", "items", "history", "subscribe", "unsubscribe"):
            assert (await client.fail(method))["code"] == -32001, method
        assert (await client.fail("insert", {"event": {}}))["code"] == -32001
        assert (await client.fail("nonsense"))["code"] == -32601
        answers = await client.reply([call(1), call(2, "authenticate", token=w.token()), call(3)])
        assert {a["id"]: a.get("error", {}).get("code") for a in answers} == {1: -32001, 2: None, 3: None}  # fmt: skip
        assert client.ended == []


async def test_an_answer_tells_whose_the_token_is_and_when_it_ends() -> None:
    async with world() as w:
        ends = int(w.clock.now) + 77
        told = await w.client().call(
            "authenticate", {"token": w.token(sub="ann ö", exp=ends + 0.5)}
        )
        assert told == {"subject": "ann ö", "expires": ends * 1000 + 500}


async def test_without_rules_a_token_is_not_looked_at() -> None:
    async with serving() as worker:
        client = Client(worker)
        assert await client.call("authenticate", {"token": "any"}) == {"subject": None, "expires": None}  # fmt: skip
        assert await client.call("ping") == "pong"
        client.session.take_header(["Bearer any"])
        assert await client.call("ping") == "pong"
        assert client.session.access is OPEN


@pytest.mark.parametrize("params", [{}, {"token": None}, {"token": 7}, {"token": "x", "y": 1}])
async def test_a_call_without_a_token_is_a_bad_call(params: Any) -> None:
    async with world() as w:
        client = w.client()
        assert (await client.fail("authenticate", params))["code"] == -32602
        assert client.ended == []


async def test_what_is_long_is_not_read_before_a_token() -> None:
    async with world(token_bytes=1_000) as w:
        client = w.client()
        long = call(1, "subscribe", filter={"user": list(range(1_000))})
        assert await client.reply(long) == {
            "jsonrpc": "2.0",
            "error": {
                "code": -32001,
                "message": "come with a token first, of at most 1000 bytes, in a message of its own",
            },
            "id": None,
        }
        # Behind the token it is read when that is judged.
        w.keys.there.clear()
        client.ask("authenticate", {"token": w.token()})
        client.send(long)
        await turns()
        w.keys.there.set()
        assert (await client.answer(1))["result"]["subscription"] == 1


async def test_anonymous_callers_may_do_what_is_allowed_to_them() -> None:
    async with world(Access(Grants(read=[{}]), LIMITS)) as w:
        client = w.client()
        assert await client.call("items") == []
        assert (await client.fail("insert", {"event": {}}))["code"] == -32002
        w.pass_(100)
        assert client.ended == []
        await client.call("authenticate", {"token": w.token({"write": [{}]})})
        await client.call("insert", {"event": {"user": 1}})
        assert (await client.fail("items"))["code"] == -32002


# Order.


async def test_what_comes_behind_a_token_waits_until_it_is_judged() -> None:
    async with world() as w:
        client = w.client()
        w.keys.there.clear()
        client.ask("authenticate", {"token": w.token()})
        for number in range(20):
            client.send([call(f"a{number}", "insert", event={"user": number}), call(f"b{number}")])
        await turns()
        assert client.transport.messages == []
        assert client.reading[-1] is False
        w.keys.there.set()
        await client.answer("b19")
        first, *rest = client.transport.messages
        assert first["id"] == "call 1"
        assert all("result" in part for batch in rest for part in batch)
        events = await client.call("items", {"end": 100})
        assert [event["user"] for event in reversed(events)] == list(range(20))
        assert client.reading[-1] is True


async def test_what_stands_behind_a_token_in_its_batch_waits_too() -> None:
    async with world() as w:
        client = w.client()
        w.keys.there.clear()
        client.send([call("t", "authenticate", token=w.token()), call("s", "subscribe"), call("p")])
        client.send(call("q"))
        await turns()
        assert client.transport.messages == []
        w.keys.there.set()
        await client.answer("q")
        await client.transport.until(lambda: len(client.transport.messages) == 2)
        (batch,) = [each for each in client.transport.messages if isinstance(each, list)]
        assert sorted(answer["id"] for answer in batch) == ["p", "s", "t"]
        assert all("result" in answer for answer in batch)


@pytest.mark.parametrize("late", [False, True])
async def test_a_connection_that_goes_while_its_token_is_judged_leaves_nothing(late: bool) -> None:
    async with world() as w:
        client = w.client()
        w.keys.there.clear()
        client.ask("authenticate", {"token": w.token()})
        client.ask("ping")
        await turns()
        if late:  # judged at the moment it goes
            w.keys.there.set()
        client.session.close()
        w.keys.there.set()
        await turns()
        assert client.transport.messages == []
        assert len(w.worker.guard.deadlines) == 0


# Refused.

NO_TOKEN = "this is no token: it must be a signed JWT without extensions (crit)"
NO_BEARER = "Authorization must be there once, as Bearer and a token"


async def test_a_token_that_is_refused_ends_the_connection() -> None:
    async with world() as w:
        for bad, why in (
            ("x", NO_TOKEN),
            (
                w.token(key="another secret of 32 bytes or more"),
                "the token's signature is wrong: it is of another key, or was changed",
            ),
            (w.token({"read": [{"secret": 1}]}), "the token's claim streamd can't be understood"),
        ):
            client = w.client()
            assert (await client.fail("authenticate", {"token": bad}))["code"] == -32001
            assert client.ended == [(Closing.TOKEN_REFUSED, why)]


async def test_a_renewal_that_is_refused_ends_it_as_well() -> None:
    async with world() as w:
        client = await w.known()
        await client.call("subscribe")
        assert (await client.fail("authenticate", {"token": "x"}))["code"] == -32001
        assert client.ended == [(Closing.TOKEN_REFUSED, NO_TOKEN)]


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "\ud83d"},
        {"streamd": {"read": [{"user": "\ud83d"}]}},
        {"streamd": {"write": [{"kind": ["a", "\ud83d" * 200]}]}},
    ],
    ids=["sub", "read", "write"],
)
async def test_half_of_an_emoji_refuses_the_token(
    claims: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with world() as w:
        client = w.client()
        error = await client.fail("authenticate", {"token": w.token(**{"grants": ALL, **claims})})
        assert (error["code"], error["message"]) == (-32001, "the token has a text that is not Unicode")  # fmt: skip
        assert client.ended == [(Closing.TOKEN_REFUSED, error["message"])]
    assert not caplog.records


async def test_who_comes_with_a_token_that_has_expired_is_asked_for_a_new_one() -> None:
    async with world() as w:
        client = w.client()
        error = await client.fail("authenticate", {"token": w.token(exp=w.clock.now - 31)})
        assert (error["code"], error["data"]) == (-32001, {"reason": "expired"})
        assert client.ended == [(Closing.TOKEN_EXPIRED, "token expired")]


async def test_a_token_in_the_handshake_is_judged_as_if_it_were_called_with() -> None:
    async with world() as w:
        good, bad, basic, twice = (w.client() for _ in range(4))
        good.session.take_header([f"bearer  {w.token()}"])
        assert await good.call("ping") == "pong"
        bad.session.take_header(["Bearer x.y.z"])
        basic.session.take_header(["Basic eDp5"])
        twice.session.take_header([f"Bearer {w.token()}"] * 2)
        await turns()
        for client, why in ((bad, NO_TOKEN), (basic, NO_BEARER), (twice, NO_BEARER)):
            assert client.ended == [(Closing.TOKEN_REFUSED, why)]


async def test_a_token_that_can_not_be_judged_is_not_refused() -> None:
    async with world() as w:
        w.keys.away = True
        client, header = w.client(), w.client()
        error = await client.fail("authenticate", {"token": w.token()})
        assert (error["code"], error["data"]) == (-32011, {"retry_after_ms": 1000})
        assert client.ended == []
        header.session.take_header([f"Bearer {w.token()}"])
        await turns()
        assert header.ended == [(Closing.TRY_AGAIN_LATER, "the token can't be judged now")]
        # It came in time, and has as much again.
        w.pass_(9)
        await client.fail("authenticate", {"token": w.token()})
        w.pass_(9)
        assert client.ended == []
        w.keys.away = False
        await client.call("authenticate", {"token": w.token()})


@pytest.mark.parametrize("headers", [["Bearer"], ["Bearer "], ["x"], ["Basic x"], ["Bearer a"] * 2])
def test_other_headers_have_no_token(headers: list[str]) -> None:
    with pytest.raises(Unauthorized):
        read_bearer(headers)


# Time.


async def test_a_token_must_come_in_time() -> None:
    async with world(authenticate_deadline=10) as w:
        late, last = w.client(), w.client()
        await late.fail("ping")
        w.pass_(9)
        assert late.ended == []
        await last.call("authenticate", {"token": w.token()})
        w.pass_(1)
        assert late.ended == [(Closing.NO_TOKEN_IN_TIME, "no token in time")]
        assert last.ended == []


async def test_while_it_is_judged_a_token_has_come_in_time() -> None:
    async with world() as w:
        client = w.client()
        w.keys.there.clear()
        client.ask("authenticate", {"token": w.token()})
        await turns()
        w.pass_(10)
        assert client.ended == []
        w.keys.there.set()
        await client.answer("call 1")
        w.pass_(100)
        assert client.ended == []


async def test_the_feed_stops_when_the_token_has_expired() -> None:
    async with world() as w:
        client, writer = await w.known(exp=w.clock.now + 60), await w.known()
        await client.call("subscribe")
        w.pass_(60 + 29)
        await writer.call("insert", {"event": {"n": 1}})
        await turns()
        assert client.transport.events() == [{"n": 1}]
        w.pass_(1)
        assert client.ended == [(Closing.TOKEN_EXPIRED, "token expired")]
        await writer.call("insert", {"event": {"n": 2}})
        await turns()
        assert client.transport.events() == [{"n": 1}]
        assert writer.ended == []


async def test_a_token_that_is_renewed_lasts_as_long_as_the_new_one() -> None:
    async with world() as w:
        client = await w.known(exp=w.clock.now + 60)
        w.pass_(80)
        await client.call("authenticate", {"token": w.token(exp=w.clock.now + 100)})
        w.pass_(129)
        assert client.ended == []
        w.pass_(1)
        assert client.ended == [(Closing.TOKEN_EXPIRED, "token expired")]
        assert len(w.worker.guard.deadlines) == 0


async def test_a_subject_has_as_many_connections_as_it_may() -> None:
    async with world(subject_connections=2) as w:
        one, two = await w.known(), await w.known()
        await w.known(sub="another")
        await one.call("authenticate", {"token": w.token()})
        third = w.client()
        error = await third.fail("authenticate", {"token": w.token()})
        assert error["code"] == -32004
        assert error["data"] == {"limit": "subject_connections", "max": 2, "got": 3}
        assert third.ended == [(Closing.TOO_MANY, "too many connections of this subject")]
        fourth = w.client()
        fourth.session.take_header([f"Bearer {w.token()}"])
        await turns()
        assert [code for code, _ in fourth.ended] == [Closing.TOO_MANY]
        one.session.close()
        await w.known()
        # Who becomes another leaves a place behind.
        await two.call("authenticate", {"token": w.token(sub="another")})
        assert two.ended == []
        last = await w.known()
        assert (await last.fail("authenticate", {"token": w.token(sub="another")}))[
            "code"
        ] == -32004


async def test_of_connections_that_are_gone_no_subject_is_kept() -> None:
    async with world(subject_connections=2) as w:
        for _ in range(10):
            w.keys.there.clear()
            early = w.client()
            early.ask("authenticate", {"token": w.token(jti=str(w.keys.asked))})
            early.session.close()
            w.keys.there.set()
            late = await w.known(jti="late")
            await late.call("authenticate", {"token": w.token(sub="another")})
            late.session.close()
            late.session.close()
            await turns()
        assert not w.worker.guard._present


async def test_years_are_no_trouble() -> None:
    async with world() as w:
        client = await w.known(exp=w.clock.now + 10 * 365 * 86_400)
        w.pass_(5 * 365 * 86_400)
        assert client.ended == []
        w.pass_(5 * 365 * 86_400 + 30)
        assert client.ended == [(Closing.TOKEN_EXPIRED, "token expired")]


# Renewed in the middle.


async def test_a_renewal_changes_every_subscription_at_one_place_of_the_log() -> None:
    async with world() as w:
        writer = await w.known()
        client = await w.known({"read": [{"user": 1}, {"user": 2}]})
        for query in ({}, {"kind": "a"}, {"user": [1, 2, 3]}, {"user": 2, "kind": ["a", "b"]}):
            await client.call("subscribe", {"filter": query})
        stop = asyncio.Event()

        async def write() -> int:
            number = 0
            while not stop.is_set():
                event = {"user": 1 + number % 3, "kind": "ab"[number % 2], "n": number}
                await writer.call("insert", {"event": event})
                number += 1
            return number

        writing = asyncio.create_task(write())
        await client.transport.until(lambda: len(client.transport.events(1)) > 20)
        renewed = await client.answer(
            client.ask("authenticate", {"token": w.token({"read": [{"user": [2, 3]}]})})
        )
        assert "result" in renewed
        seen = len(client.transport.events(1))
        await client.transport.until(lambda: len(client.transport.events(1)) > seen + 20)
        stop.set()
        total = await writing
        await turns()
        assert client.ended == []
        events = {number: client.transport.events(number) for number in range(1, 5)}
        # The first event of user 3 and the last of user 1 tell where it was.
        place = next(event["n"] for event in events[1] if event["user"] == 3)
        assert max(e["n"] for e in events[1] if e["user"] == 1) < place
        log = [{"user": 1 + n % 3, "kind": "ab"[n % 2], "n": n} for n in range(total)]
        expected = [e for e in log if e["user"] in ((1, 2) if e["n"] < place else (2, 3))]
        # Where the place lies between two events of user 2 does not show.
        assert events[1] == expected
        assert events[3] == expected
        assert events[2] == [e for e in expected if e["kind"] == "a"]
        assert events[4] == [e for e in log if e["user"] == 2]


async def test_what_is_asked_for_counts_though_less_may_be_read() -> None:
    async with world(connection_filter_values=10) as w:
        client = await w.known({"read": [{"user": 1}]})
        await client.call("subscribe", {"filter": {"user": [1, 2, 3, 4, 5, 6]}})
        error = await client.fail("subscribe", {"filter": {"user": [1, 2, 3, 4, 5]}})
        limit = {"limit": "connection_filter_values", "max": 10, "got": 11}
        assert (error["code"], error["data"]) == (-32004, limit)
        await client.call("subscribe", {"filter": {"user": [1, 2, 3, 4]}})
        # Other rights: some of one, all of the other; then nothing of both.
        for grants, left in (({"user": [1, 2, 3, 4]}, 10), ({}, 10), ({"kind": "a"}, 12)):
            await client.call("authenticate", {"token": w.token({"read": [grants]})})
            told = [each["code"] for each in client.transport.sent("closed")]
            assert told == ([-32004] if left > 10 else [])
        peer = client.session.peer
        for number in list(peer.subscriptions):
            await client.call("unsubscribe", {"subscription": number})
        assert peer.num_values == 0


async def test_a_subscribe_that_is_under_way_gets_what_may_be_read_by_then() -> None:
    async with world() as w:
        writer = await w.known()
        for user in (1, 2):
            await writer.call("insert", {"event": {"user": user}})
        client = await w.known({"read": [{"user": 1}]})
        reading, going = asyncio.Event(), asyncio.Event()
        view = w.worker._view
        newest = view.newest

        async def slow(*args: Any) -> Any:
            page = await newest(*args)
            reading.set()
            await going.wait()
            return page

        view.newest = slow  # type: ignore[method-assign]  # the moment is what this is about
        asked = client.ask("subscribe")
        await reading.wait()
        await client.call("authenticate", {"token": w.token({"read": [{"user": 2}]})})
        going.set()
        entries = (await client.answer(asked))["result"]["entries"]
        assert [entry["event"] for entry in entries] == [{"user": 2}]
        reading.clear()
        going.clear()
        asked = client.ask("subscribe")
        await reading.wait()
        await client.call("authenticate", {"token": w.token({"write": [{}]})})
        going.set()
        assert (await client.answer(asked))["error"]["code"] == -32002


async def test_one_that_reads_from_the_store_goes_on_by_the_new_token() -> None:
    async with world(window=3) as w:
        writer = await w.known()
        for number in range(40):
            await writer.call("insert", {"event": {"user": number % 2, "n": number}})
        client = await w.known({"read": [{"user": 0}]})
        view = w.worker._view
        reading, going = asyncio.Event(), asyncio.Event()
        after = view.after

        async def slow(*args: Any) -> Any:
            run = await after(*args)
            reading.set()
            await going.wait()
            return run

        view.after = slow  # type: ignore[method-assign]  # as above
        await client.call("subscribe", {"after": "start"})
        await reading.wait()
        await client.call("authenticate", {"token": w.token({"read": [{"user": 1}]})})
        going.set()
        await client.transport.until(lambda: client.transport.sent("progress"))
        assert [e["n"] for e in client.transport.events()] == list(range(1, 40, 2))


# What is remembered.


async def test_a_token_is_checked_once_while_its_keys_stay() -> None:
    clock, keys = Clock(), Keys()
    guard = make_guard(clock, keys)
    made = token(ALL, now=clock.now)
    first = await guard.judge(made)
    assert await guard.judge(made) is first
    assert keys.asked == 1
    keys.version += 1
    assert await guard.judge(made) is not first
    assert keys.asked == 2
    clock.now += 700
    with pytest.raises(Unauthorized) as caught:
        await guard.judge(made)
    assert caught.value.data == {"reason": "expired"}
    assert keys.asked == 2


@pytest.mark.parametrize("noticed", [False, True])
async def test_keys_that_change_while_a_token_is_judged_are_not_overlooked(noticed: bool) -> None:
    clock, keys = Clock(), Keys()
    guard = make_guard(clock, keys)
    verifier = guard._verifier
    assert verifier is not None
    verify: Callable[..., Any] = verifier.verify

    def changing(*args: Any) -> Any:
        keys.version += 1
        if noticed:  # by another's token, which is looked up meanwhile
            guard._recall(b"", verifier)
        return verify(*args)

    verifier.verify = changing  # type: ignore[method-assign]  # the moment is what this is about
    made = token(ALL, now=clock.now)
    await guard.judge(made)
    await guard.judge(made)
    assert keys.asked == 2


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamd.guard._REMEMBERED", 2_000)
    clock, keys = Clock(), Keys()
    guard = make_guard(clock, keys)
    made = [token(ALL, now=clock.now, sub=f"subject {number}") for number in range(50)]
    for each in made:
        await guard.judge(each)
    assert sum(map(len, made[-len(guard._remembered) :])) <= 2_000
    assert len(guard._remembered) >= 5
    await guard.judge(made[-1])
    assert keys.asked == 50
    await guard.judge(made[0])
    assert keys.asked == 51


def test_the_limits_have_their_defaults() -> None:
    assert (Limits().token_bytes, Limits().authenticate_deadline) == (8_192, 10.0)
