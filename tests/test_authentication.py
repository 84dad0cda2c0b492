"""Tokens on real connections: who comes in, who is sent away, and what is written of it."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from streamd.address import Address
from tests.harness import CLOSE, CONT, TEXT, Peer, call, frame, post, running, upgrade, websocket
from tests.issuer import issuer
from tests.keys import SECRET, jwk, pair, public_pem, token

ALL = {"read": [{}], "write": [{}]}
CANARY = "canary-7e1d"


async def ask(peer: Peer, method: str, params: Any = None) -> Any:
    """Return the answer to a call, whatever it is."""
    await peer.send(frame(TEXT, call(method, params)))
    while "id" not in (answer := await peer.message()):
        pass
    return answer


@asynccontextmanager
async def known(server: Address, made: str) -> AsyncIterator[Peer]:
    """Open a WebSocket and authenticate."""
    async with websocket(server) as peer:
        await peer.call("authenticate", {"token": made})
        yield peer


async def test_a_token_opens_a_connection() -> None:
    async with running(token_secret=SECRET) as server, websocket(server) as peer:
        assert (await ask(peer, "ping"))["error"]["code"] == -32001
        ends = int(time.time()) + 60
        assert await peer.call("authenticate", {"token": token(ALL, exp=ends)}) == {
            "subject": "ann",
            "expires": ends * 1000,
        }
        assert await peer.call("ping") == "pong"


LARGE = b" " * 500_000


@pytest.mark.parametrize("parts", [1, 30])
async def test_what_is_large_is_not_waited_for_before_a_token(parts: int) -> None:
    async with running(token_secret=SECRET) as server, websocket(server) as peer:
        size = len(LARGE) // parts
        opcodes = [TEXT, *[CONT] * (parts - 1)]
        message = b"".join([frame(opcode, LARGE[:size], fin=False) for opcode in opcodes])
        await peer.send(message[:30_000])
        assert (await peer.message())["error"]["code"] == -32001
        assert await peer.close_code() == 4508


async def test_what_is_large_may_follow_a_token_at_once() -> None:
    async with running(token_secret=SECRET) as server, websocket(server) as peer:
        first = call("authenticate", {"token": token(ALL)}, 1)
        await peer.send(frame(TEXT, first) + frame(TEXT, LARGE + call("ping", None, 2)))
        assert [(await peer.message())["id"] for _ in range(2)] == [1, 2]


async def test_a_program_may_bring_it_with_the_handshake() -> None:
    async with running(token_secret=SECRET) as server:
        async with websocket(server, f"Authorization: Bearer {token(ALL)}") as peer:
            assert await peer.call("ping") == "pong"
        async with websocket(server, "Authorization: Bearer x.y.z") as peer:
            assert await peer.close_code() == 4501


async def test_a_token_in_the_url_is_not_looked_at() -> None:
    async with running(token_secret=SECRET) as server, Peer.connect(server) as peer:
        await peer.send(upgrade(path=f"/?token={token(ALL)}"))
        assert (await peer.response()).status == 101
        assert (await ask(peer, "ping"))["error"]["code"] == -32001


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: "x.y.z", 4501),
        (lambda: token(ALL, key="another secret, of 32 bytes at least"), 4501),
        (lambda: token({"read": [{"colour": 1}]}), 4501),
        (lambda: token(ALL, exp=time.time() - 3_600), 4001),
    ],
    ids=["no token", "another key", "a claim", "expired"],
)
async def test_a_refused_token_is_answered_and_ends_the_connection(
    make: Callable[[], str], code: int
) -> None:
    async with running(token_secret=SECRET) as server, websocket(server) as peer:
        assert (await ask(peer, "authenticate", {"token": make()}))["error"]["code"] == -32001
        assert await peer.close_code() == code


@pytest.mark.parametrize("newcomer", [True, False])
async def test_in_a_batch_a_refused_token_leaves_all_unanswered(newcomer: bool) -> None:
    async with running(token_secret=SECRET) as server:
        async with websocket(server) as peer:
            if not newcomer:
                await peer.call("authenticate", {"token": token(ALL)})
            calls = [call("insert", {"event": {}}, 2), call("authenticate", {"token": "x.y.z"}, 3)]
            await peer.send(
                frame(TEXT, b"[%b]" % b",".join([*calls, call("insert", {"event": {}}, 4)]))
            )
            assert (await peer.frame()).close_code == 4501  # the first and last that it says
        async with known(server, token(ALL)) as peer:
            assert await peer.call("items") == ([] if newcomer else [{}])


FORGED: dict[str, Any] = {
    "unsigned": lambda: token(ALL, key=None, algorithm="none"),
    "HS256 by the public key": lambda: forged({"alg": "HS256"}, public_pem(pair("RS256"))),
    "RS256 that is HS256": lambda: forged({"alg": "RS256"}, public_pem(pair("RS256"))),
    "HS256 by its DER": lambda: forged({"alg": "HS256"}, base64.b64decode(b"".join(public_pem(pair("RS256")).splitlines()[1:-1]))),
    "PS256": lambda: signed(algorithm="PS256"),
    "another key": lambda: signed(key=pair("RS256", "another")),
    "its own key": lambda: signed(key=pair("RS256", "another"), header={"jwk": jwk("RS256", "k1", "another")}),
    "a key from its address": lambda: signed(key=pair("RS256", "another"), header={"jku": "http://127.0.0.1:9/", "x5u": "http://127.0.0.1:9/"}),
    "extensions": lambda: signed(header={"crit": ["exp"]}),
    "no end": lambda: signed(exp=None),
    "no subject": lambda: signed(sub=None),
    "another audience": lambda: signed(aud="others"),
    "no audience": lambda: signed(aud=None),
    "another issuer": lambda: signed(iss="others"),
    "not yet": lambda: signed(nbf=time.time() + 3_600),
    "too long": lambda: signed(x="x" * 8_192),
}  # fmt: skip


def signed(**other: Any) -> str:
    """Return a token that is good for the server of this test, but for what is said."""
    return token(**{"grants": ALL, "key": pair("RS256"), "algorithm": "RS256", "aud": "us", "iss": "them", **other})  # fmt: skip


def forged(header: dict[str, Any], key: bytes) -> str:
    """Return a token signed by HMAC with a key that is none for that."""
    claims = {"sub": "ann", "exp": time.time() + 60, "aud": "us", "iss": "them", "streamd": ALL}
    parts = [base64.urlsafe_b64encode(orjson.dumps(part)).rstrip(b"=") for part in (header, claims)]
    signature = hmac.digest(key, b".".join(parts), hashlib.sha256)
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


async def test_each_forged_token_is_refused_on_each_way_in(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(public_pem(pair("RS256")))
    ours: dict[str, Any] = {"token_key_file": key, "token_audience": "us", "token_issuer": "them"}
    async with running(**ours) as server:
        async with known(server, signed()) as good:
            assert await good.call("ping") == "pong"
        for name, make in FORGED.items():
            made = make()
            async with websocket(server) as peer:
                answer = await ask(peer, "authenticate", {"token": made})
                assert answer["error"]["code"] == -32001, name
                assert await peer.close_code() == 4501, name
            async with Peer.connect(server) as peer:
                await peer.send(upgrade("", f"Authorization: Bearer {made}"))
                status = (await peer.response()).status
                # A line of a handshake's header has 8 KiB at most.
                assert status == (431 if len(made) > 8_000 else 101), name
                assert status == 431 or await peer.close_code() == 4501, name
            async with Peer.connect(server) as peer:
                await peer.send(post(call("ping"), f"Authorization: Bearer {made}"))
                assert (await peer.response()).status == 401, name


async def test_what_is_much_longer_than_a_token_is_not_looked_at() -> None:
    async with running(token_secret=SECRET) as server, websocket(server) as peer:
        await peer.send(frame(TEXT, call("authenticate", {"token": "x" * 16_500})))
        answer = await peer.message()
        assert (answer["id"], answer["error"]["code"]) == (None, -32001)
        assert "8192 bytes" in answer["error"]["message"]
        await peer.call("authenticate", {"token": token(ALL)})


async def test_a_thousand_made_up_keys_ask_the_issuer_once() -> None:
    async with issuer() as shown, running(token_jwks_url=shown.url) as server:

        async def ask_often(first: int) -> set[int]:
            async with Peer.connect(server) as peer:
                seen = set()
                for number in range(first, first + 50):
                    made = signed(aud=None, header={"kid": f"no {number}"})
                    await peer.send(post(call("ping"), f"Authorization: Bearer {made}"))
                    seen.add((await peer.response()).status)
                return seen

        assert await asyncio.gather(*map(ask_often, range(0, 1_000, 50))) == [{401}] * 20
        assert shown.asked == 1


async def test_who_becomes_another_has_the_rights_and_insert_ids_of_that_one() -> None:
    async with running(token_secret=SECRET) as server, known(server, token(ALL)) as peer:
        for user in (1, 2):
            await peer.call("subscribe", {"filter": {"user": user}})
        event = {"event": {"user": 2}, "id": "a"}
        assert (await peer.call("insert", event))["duplicate"] is False
        assert (await peer.message())["params"]["event"] == {"user": 2}
        grants = {"read": [{"user": 2}], "write": [{"user": 2}]}
        await peer.send(frame(TEXT, call("authenticate", {"token": token(grants, sub="ben")})))
        closed = await peer.message()
        assert (closed["params"]["subscription"], closed["params"]["code"]) == (1, -32002)
        assert (await peer.message())["result"]["subject"] == "ben"
        assert (await ask(peer, "insert", event))["result"]["duplicate"] is False
        assert (await ask(peer, "insert", {"event": {"user": 1}}))["error"]["code"] == -32002
        assert await peer.call("items", {"filter": {"user": [1, 2]}}) == [{"user": 2}] * 2


async def test_no_token_in_time_ends_the_connection() -> None:
    async with running(token_secret=SECRET, authenticate_deadline=0.2) as server:
        async with websocket(server) as silent, websocket(server) as talking:
            assert (await ask(talking, "ping"))["error"]["code"] == -32001
            assert await silent.close_code() == 4508
            assert await talking.close_code() == 4508


async def test_the_feed_stops_when_the_token_expires() -> None:
    async with running(token_secret=SECRET, token_leeway=0) as server:
        ends = time.time() + 1.2
        async with known(server, token(ALL, exp=ends)) as peer:
            await peer.call("subscribe")
            assert await peer.close_code() == 4001
            assert ends <= time.time() < ends + 5


async def test_a_renewed_token_keeps_the_feed() -> None:
    async with running(token_secret=SECRET, token_leeway=0) as server:
        async with known(server, token(ALL, exp=time.time() + 1.2)) as peer:
            await peer.call("subscribe")
            await peer.call("authenticate", {"token": token(ALL)})
            await asyncio.sleep(2.3)  # The first would have ended by now.
            assert await peer.call("ping") == "pong"


async def test_rights_that_are_gone_end_a_subscription() -> None:
    async with running(token_secret=SECRET) as server, known(server, token(ALL)) as peer:
        for user in (1, 2):
            await peer.call("subscribe", {"filter": {"user": user}})
        await peer.send(
            frame(TEXT, call("authenticate", {"token": token({"read": [{"user": 1}]})}))
        )
        closed = await peer.message()
        assert closed["method"] == "closed"
        assert (closed["params"]["subscription"], closed["params"]["code"]) == (2, -32002)
        assert (await peer.message())["result"]["subject"] == "ann"


async def test_keys_come_from_an_issuer_and_are_rotated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamd.jwks._AGAIN", 0.0)
    async with issuer() as shown, running(token_jwks_url=shown.url) as server:
        old = token(ALL, key=pair("RS256"), algorithm="RS256", header={"kid": "k1"})
        new = token(ALL, key=pair("ES256"), algorithm="ES256", header={"kid": "k2"})
        async with known(server, old) as peer:
            shown.keys = [jwk("ES256", "k2")]
            async with known(server, new):
                assert shown.asked == 2
            # Who is in stays in, as long as the token lasts; who comes with it again does not come in.
            assert await peer.call("ping") == "pong"
        async with websocket(server) as peer:
            assert (await ask(peer, "authenticate", {"token": old}))["error"]["code"] == -32001
            assert await peer.close_code() == 4501


async def test_an_issuer_that_is_away_refuses_nobody() -> None:
    async with issuer() as shown, running(token_jwks_url=shown.url) as server:
        shown.raw = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
        made = token(ALL, key=pair("RS256"), algorithm="RS256", header={"kid": "k1"})
        async with websocket(server) as peer:
            assert (await ask(peer, "authenticate", {"token": made}))["error"]["code"] == -32011
            assert (await ask(peer, "ping"))["error"]["code"] == -32001
        async with websocket(server, f"Authorization: Bearer {made}") as peer:
            assert await peer.close_code() == 1013


async def test_thousands_of_tokens_hold_nobody_up() -> None:
    async with running(token_secret=SECRET) as server, known(server, token(ALL)) as peer:
        bad = [token(ALL, key="another secret, of 32 bytes at least", n=n) for n in range(300)]

        async def storm(made: str) -> None:
            async with websocket(server) as other:
                await other.send(frame(TEXT, call("authenticate", {"token": made})))
                assert await other.close_code() == 4501

        storms = asyncio.gather(*map(storm, bad))
        longest = 0.0
        while not storms.done():
            began = time.perf_counter()
            assert await peer.call("ping") == "pong"
            longest = max(longest, time.perf_counter() - began)
        await storms
        assert longest < 1.0


async def test_nothing_that_is_written_holds_a_token_or_a_secret(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = f"{CANARY} as a secret of 32 bytes or more"
    answers = []
    good = token({**ALL, "read": [{"user": CANARY}]}, key=secret, sub=CANARY)
    made = [
        good,
        good[:-3],
        token({CANARY: 1}, key=secret),
        token(ALL, key=secret, sub=CANARY, exp=5),
        token(ALL, key=secret, header={"kid": CANARY, "crit": [CANARY]}),
        token(ALL, key=secret, aud=CANARY, iss=CANARY),
        CANARY,
        f"{CANARY}.{CANARY}.{CANARY}",
    ]
    async with running(token_secret=secret) as server:
        for each in made:
            async with websocket(server) as peer:
                answer = await ask(peer, "authenticate", {"token": each})
                if "error" in answer:
                    answers.append(answer)
                    await peer.close_code()
            with contextlib.suppress(EOFError):
                async with websocket(server, f"Authorization: Bearer {each}") as peer:
                    await peer.send(frame(TEXT, call("ping")))
                    received = await peer.frame()
                    answers.append(received.payload if received.opcode == CLOSE else b"")
            async with Peer.connect(server) as peer:
                await peer.send(post(call("ping"), f"Authorization: Bearer {each}"))
                response = await peer.response()
                answers.append((response.headers, response.body))
    written = caplog.text + "".join(capfd.readouterr()) + repr(answers)
    assert CANARY not in written
    for each in made:
        for part in each.split("."):
            assert len(part) < 8 or part not in written
