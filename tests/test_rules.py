"""streamd.rules: which settings make which rules, and which none that can be kept."""

import os
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from streamd.access import NOBODY, OPEN
from streamd.config import load_settings
from streamd.errors import Forbidden, StartupError, Unauthorized
from streamd.filters import EVERYTHING
from streamd.guard import Guard
from streamd.tokens import make_token
from tests.keys import SECRET, pair, private_pem, public_pem, token
from tests.parts import draft

PUBLIC = "0.0.0.0"
CANARY = "canary-of-32-bytes-or-some-more-than-that"


def guard(**options: Any) -> Guard:
    settings = load_settings(**options)
    return settings.to_guard(settings.to_stream())


def refused(**options: Any) -> str:
    with pytest.raises(StartupError) as caught:
        load_settings(**options)
    text = str(caught.value)
    assert CANARY not in text
    assert SECRET not in text
    return text


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key.pem"
    path.write_bytes(public_pem(pair("ES256")))
    return path


# Safe as installed.


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "::1", "127.1.2.3"])
def test_on_loopback_everything_is_allowed(host: str) -> None:
    made = guard(host=host)
    assert made.newcomer is OPEN
    assert not made.required


@pytest.mark.parametrize("host", [PUBLIC, "::", "192.168.1.7", "feed.example", "localhost.example"])
def test_any_other_address_needs_rules_or_a_word(host: str) -> None:
    sentence = refused(host=host)
    assert host in sentence
    assert "--allow-anonymous read,write" in sentence
    assert guard(host=host, allow_anonymous="read,write").newcomer is OPEN
    assert guard(host=host, token_secret=SECRET).required


def test_anonymous_callers_may_do_what_is_named() -> None:
    reader, writer = (guard(host=PUBLIC, allow_anonymous=right) for right in ("read", "write"))
    assert reader.newcomer.narrow(EVERYTHING) is EVERYTHING
    assert writer.newcomer.admit(draft({"user": 1}))
    with pytest.raises(Forbidden):
        reader.newcomer.admit(draft({"user": 1}))
    with pytest.raises(Forbidden):
        writer.newcomer.narrow(EVERYTHING)
    assert guard(allow_anonymous="read").newcomer is not OPEN, (
        "what is named counts on loopback too"
    )
    assert "read or write" in refused(allow_anonymous="admin")
    # With tokens, nobody's insert ids are anybody's.
    both = guard(token_secret=SECRET, allow_anonymous=["read", "write"])
    assert both.newcomer is not OPEN
    assert both.newcomer.admit(draft({}, "a")).id != "a"
    assert not both.newcomer.admin


# Sources.


async def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    for end in ("", "\n", "\r\n"):
        path = tmp_path / "secret"
        path.write_bytes((SECRET + end).encode())
        made = guard(token_secret_file=path)
        assert made.newcomer is NOBODY
        assert (await made.judge(token())).subject == "ann"


async def test_a_secret_is_the_same_bytes_in_the_environment_and_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = b"\xff\xfe" * 16
    path = tmp_path / "secret"
    path.write_bytes(secret)
    monkeypatch.setitem(os.environb, b"STREAMD_TOKEN_SECRET", secret)
    by_environment = guard()
    monkeypatch.delitem(os.environb, b"STREAMD_TOKEN_SECRET")
    for made in (by_environment, guard(token_secret_file=path)):
        assert (await made.judge(token(key=secret))).subject == "ann"


async def test_a_secret_is_changed_without_cutting_anybody_off(tmp_path: Path) -> None:
    old, new = SECRET, "the next secret, of 32 bytes or more"
    path = tmp_path / "secret"
    # Servers learn the new one; then it signs; and when the last token of the old one has ended, it is alone.
    steps = [([old, new], old), ([new, old], new), ([new], new)]
    for known, signing in steps:
        path.write_text("\n".join(known) + "\n")
        claims = {"sub": "ann", "exp": time.time() + 60, "streamd": {}}
        signed = make_token(claims, secret=path.read_bytes())
        assert jwt.decode(signed, signing, ["HS256"])["sub"] == "ann"
        for made in (guard(token_secret_file=path), guard(token_secret="\n".join(known))):
            for secret in known:
                await made.judge(token({}, key=secret))
    with pytest.raises(Unauthorized):
        await made.judge(token({}, key=old))


async def test_a_file_may_have_the_keys_of_several_pairs(tmp_path: Path) -> None:
    path = tmp_path / "keys.pem"
    path.write_bytes(public_pem(pair("ES256")) + public_pem(pair("EdDSA")))
    made = guard(token_key_file=path)
    for algorithm in ("ES256", "EdDSA"):
        assert await made.judge(token({}, key=pair(algorithm), algorithm=algorithm))
    narrowed = guard(token_key_file=path, token_algorithms="EdDSA")
    with pytest.raises(Unauthorized):
        await narrowed.judge(token({}, key=pair("ES256"), algorithm="ES256"))


async def test_a_key_may_stand_in_a_file(key_file: Path) -> None:
    made = guard(token_key_file=key_file)
    assert (await made.judge(token(key=pair("ES256"), algorithm="ES256"))).subject == "ann"
    with pytest.raises(Unauthorized):
        await made.judge(token())


async def test_claims_are_judged_by_the_settings(key_file: Path) -> None:
    made = guard(token_secret=SECRET, token_audience="feed", token_issuer="us", token_leeway=0)
    await made.judge(token(aud="feed", iss="us"))
    for claims in ({"aud": "feed"}, {"iss": "us"}, {"aud": "feed", "iss": "them"}):
        with pytest.raises(Unauthorized):
            await made.judge(token(**claims))


async def test_a_claim_that_can_not_be_understood_refuses_the_token() -> None:
    made = guard(token_secret=SECRET, grants=2)
    for grants in ({"read": [{CANARY: 1}]}, {"read": [{}] * 3}, [CANARY]):
        with pytest.raises(Unauthorized) as caught:
            await made.judge(token(grants))
        assert "claim streamd" in caught.value.message


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"token_secret": "short canary"}, "at least 32 bytes"),
        ({"token_secret": CANARY, "token_secret_file": "x"}, "one of them"),
        ({"token_secret": CANARY, "token_jwks_url": "https://x.example"}, "one of them"),
        ({"token_secret_file": "/nowhere/secret"}, "can't be read"),
        ({"token_key_file": "/nowhere/key"}, "can't be read"),
        ({"token_jwks_url": "http://issuer.example/"}, "https"),
        ({"token_jwks_url": f"https://a:{CANARY}@issuer.example/"}, "password"),
        ({"token_secret": CANARY, "token_algorithms": "RS256"}, "HS256"),
        ({"token_secret": CANARY, "token_algorithms": ["none"]}, "HS256"),
        ({"token_secret": CANARY, "token_algorithms": ["HS256", "HS512"]}, "HS256"),
        ({"token_jwks_url": "https://x.example", "token_algorithms": "HS256"}, "RS256"),
        ({"token_audience": "x"}, "none of"),
        ({"token_issuer": "x"}, "none of"),
        ({"token_algorithms": "HS256"}, "none of"),
        ({"token_secret": CANARY, "token_leeway": -1}, "at least 0"),
        ({"token_secret": CANARY, "token_leeway": "nan"}, "token_leeway"),
        ({"token_secret": [CANARY]}, "must be a text"),
        ({"token_secret": CANARY + "\ud800"}, "token_secret"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_rules_that_can_not_be_kept_are_refused_in_a_sentence(
    options: dict[str, Any], told: str
) -> None:
    assert told in refused(**options)


def test_files_that_hold_the_wrong_key_are_refused(tmp_path: Path, key_file: Path) -> None:
    private = tmp_path / "private.pem"
    private.write_bytes(private_pem(pair("ES256")))
    assert "private key" in refused(token_key_file=private)
    # Key confusion, by the settings: the public key would be the secret.
    assert "key of a pair" in refused(token_secret_file=key_file)
    assert "ES256" in refused(token_key_file=key_file, token_algorithms="HS256,ES256")


def test_no_secret_is_shown() -> None:
    settings = load_settings(token_secret=CANARY)
    for shown in (
        repr(settings),
        str(settings),
        settings.model_dump_json(),
        repr(settings.to_stream()),
    ):
        assert CANARY not in shown


def test_what_is_for_clients_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMD_TOKEN", "x.y.z")
    monkeypatch.setenv("STREAMD_TOKEN_FILE", "x")
    load_settings()
    monkeypatch.setenv("STREAMD_TOKEN_SECRET", SECRET)
    assert load_settings().token_secret is not None
    monkeypatch.setenv("STREAMD_TOKEN_SECRE", SECRET)
    assert "token_secret" in refused()
