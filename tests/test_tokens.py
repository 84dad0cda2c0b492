"""streamd.tokens: what is believed, and everything that is not."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from streamd.errors import StartupError, Unauthorized
from streamd.tokens import (
    Claims,
    FixedKeys,
    Rules,
    Verifier,
    make_token,
    peek,
    read_jwk,
    read_public_keys,
    read_secrets,
)
from tests.keys import SECRET, jwk, pair, private_pem, public_pem, token

NOW = 1_795_449_600.0
CANARY = "canary-5f3a"
PAIRS = ("RS256", "ES256", "EdDSA")


def verifier(keys: dict[str, Any] | None = None, **rules: Any) -> Verifier:
    keys = read_secrets(SECRET.encode()) if keys is None else keys
    return Verifier(Rules(**{"algorithms": tuple(keys), **rules}), FixedKeys(keys), lambda: NOW)


async def judge(made: str, by: Verifier) -> Claims:
    kid, algorithm = by.read_header(made)
    return by.verify(made, await by.keys.find(kid, algorithm), algorithm)


async def refused(made: str, by: Verifier) -> Unauthorized:
    with pytest.raises(Unauthorized) as caught:
        await judge(made, by)
    shown = repr(caught.value.to_json())
    for secret in (CANARY, SECRET, *made.split(".")):
        assert len(secret) < 8 or secret not in shown
    assert caught.value.__cause__ is None
    return caught.value


def written(header: Any, claims: Any, key: bytes = SECRET.encode()) -> str:
    """Return a token made by hand, signed with HMAC."""

    def encoded(part: bytes) -> bytes:
        return base64.urlsafe_b64encode(part).rstrip(b"=")

    parts = [
        encoded(each if isinstance(each, bytes) else json.dumps(each).encode())
        for each in (header, claims)
    ]
    text = b".".join(parts)
    return (text + b"." + encoded(hmac.digest(key, text, hashlib.sha256))).decode()


GOOD = {"sub": "ann", "exp": NOW + 60}


# Believed.


async def test_a_token_says_who_it_is_and_until_when() -> None:
    grants = {"read": [{"user": 1}]}
    assert await judge(token(grants, now=NOW), verifier()) == Claims("ann", NOW + 600, grants)
    assert (await judge(token(now=NOW), verifier())).grants is None


@pytest.mark.parametrize("algorithm", PAIRS)
async def test_a_pair_of_keys_signs_and_is_checked(algorithm: str) -> None:
    keys = read_public_keys(public_pem(pair(algorithm)))
    assert list(keys) == [algorithm]
    made = token(now=NOW, key=pair(algorithm), algorithm=algorithm, header={"kid": "x"})
    assert (await judge(made, verifier(keys))).subject == "ann"
    other = token(now=NOW, key=pair(algorithm, "another"), algorithm=algorithm)
    assert "signature" in (await refused(other, verifier(keys))).message


@pytest.mark.parametrize("algorithm", ["HS256", *PAIRS])
async def test_what_is_made_here_is_believed_here(algorithm: str) -> None:
    claims = {**GOOD, "streamd": {"read": [{}]}}
    if algorithm == "HS256":
        made, keys = make_token(claims, secret=SECRET.encode()), read_secrets(SECRET.encode())
    else:
        made = make_token(claims, pem=private_pem(pair(algorithm)), kid="k1")
        keys = read_public_keys(public_pem(pair(algorithm)))
    assert await judge(made, verifier(keys)) == Claims("ann", NOW + 60, {"read": [{}]})
    header, shown = peek(made)
    assert (header["alg"], header.get("kid")) == (algorithm, None if algorithm == "HS256" else "k1")
    assert shown == claims


async def test_clocks_may_differ_by_the_leeway() -> None:
    by = verifier(leeway=30)
    await judge(token(now=NOW, exp=NOW - 29), by)
    await judge(token(now=NOW, nbf=NOW + 30), by)
    error = await refused(token(now=NOW, exp=NOW - 30), by)
    assert error.data == {"reason": "expired"}
    assert (await refused(token(now=NOW, nbf=NOW + 31), by)).data is None


async def test_audience_and_issuer_must_be_those_of_the_rules() -> None:
    by = verifier(audience="streamd", issuer="https://issuer.example")
    good = {"aud": ["other", "streamd"], "iss": "https://issuer.example"}
    await judge(token(now=NOW, **good), by)
    for wrong in (
        {"aud": None},
        {"aud": "streamd2"},
        {"aud": ["x"]},
        {"aud": 7},
        {"iss": None},
        {"iss": "https://issuer.example.evil"},
        {"iss": "issuer"},
    ):
        await refused(token(now=NOW, **{**good, **wrong}), by)
    await refused(written({"alg": "HS256"}, {**GOOD, **good, "iss": [good["iss"]]}), by)
    # Where no audience is expected, a token that is for one is not for us.
    await refused(token(now=NOW, aud="other"), verifier())


# Refused.


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": None},
        {"sub": None},
        {"sub": 7},
        {"exp": "tomorrow"},
        {"exp": str(NOW + 60)},
        {"exp": True},
        {"exp": -1},
        {"exp": 1e300},
        {"exp": [NOW]},
        {"nbf": NOW + 3_600},
        {"nbf": "x"},
    ],
    ids=repr,
)
async def test_claims_that_are_missing_or_wrong(claims: dict[str, Any]) -> None:
    await refused(token({CANARY: 1}, now=NOW, **claims), verifier())


@pytest.mark.parametrize("exp", [b"NaN", b"Infinity", b"1e999", b"9" * 400])
async def test_times_that_are_none(exp: bytes) -> None:
    made = written({"alg": "HS256"}, b'{"sub":"ann","exp":%b}' % exp)
    await refused(made, verifier())


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "None"},
        {"alg": "HS512"},
        {"alg": "RS256"},
        {"alg": ""},
        {"alg": None},
        {"alg": 7},
        {"alg": ["HS256"]},
        {},
        {"alg": "HS256", "crit": ["exp"], "exp": 1},
        {"alg": "HS256", "crit": []},
        {"alg": "HS256", "crit": ["b64"], "b64": False},
        {"alg": "HS256", "crit": ["b64"], "b64": True},
        {"alg": "HS256", "b64": False},
        {"alg": "HS256", "kid": 7},
        {"alg": "HS256", "kid": {"x": CANARY}},
        [],
        "HS256",
        7,
        b"\xff",
        b"[" * 5_000,
    ],
    ids=lambda header: repr(header)[:40],
)
async def test_headers_that_say_what_we_do_not_do(header: Any) -> None:
    await refused(written(header, GOOD), verifier())


@pytest.mark.parametrize("names", [["exp"], ["b64"], []])
async def test_a_token_with_extensions_is_told_of_them(names: list[str]) -> None:
    header = {"alg": "HS256", "crit": names, "exp": 1, "b64": True}
    assert "crit" in (await refused(written(header, GOOD), verifier())).message


async def test_unsigned_tokens() -> None:
    body = written({"alg": "none"}, GOOD).rpartition(".")[0]
    for made in (f"{body}.", body, jwt.encode(GOOD, "", "none")):
        for algorithms in (("HS256",), PAIRS):
            await refused(made, verifier(algorithms=algorithms))


async def test_what_the_header_offers_as_key_does_not_count() -> None:
    key = pair("RS256", "the attacker's")
    offers = {"jwk": jwk("RS256", None, "the attacker's"), "jku": "https://evil.example/keys"}
    made = token(now=NOW, key=key, algorithm="RS256", header=offers)
    await refused(made, verifier(read_public_keys(public_pem(pair("RS256")))))


@pytest.mark.parametrize("algorithm", PAIRS)
async def test_a_public_key_is_no_secret(algorithm: str) -> None:
    """Key confusion: the public key is known, and a token is signed with it as if it were a secret."""
    public = public_pem(pair(algorithm))
    by = verifier(read_public_keys(public))
    for key in (public, public.strip(), public.replace(b"\n", b"\r\n")):
        await refused(written({"alg": "HS256"}, GOOD, key), by)
        await refused(written({"alg": algorithm}, GOOD, key), by)
    with pytest.raises(StartupError, match="key of a pair"):
        read_secrets(public)


async def test_a_key_of_one_kind_checks_no_signature_of_another() -> None:
    for algorithm in PAIRS:
        for other in PAIRS:
            if other != algorithm:
                made = token(now=NOW, key=pair(other), algorithm=other)
                await refused(made, verifier(read_public_keys(public_pem(pair(algorithm)))))


async def test_tokens_that_were_changed() -> None:
    made = token({"read": []}, now=NOW)
    header, claims, signature = made.split(".")
    grown = base64.urlsafe_b64encode(json.dumps({**GOOD, "streamd": {"read": [{}]}}).encode())
    for changed in (
        f"{header}.{grown.rstrip(b'=').decode()}.{signature}",
        f"{header}.{claims}.{'A' * len(signature)}",
        f"{header}.{claims}.",
        f"{header}.{claims}",
        f"{made}.{signature}",
        f"{made}!",
        f" {made}",
        "",
        ".",
        "..",
        "a.b.c",
        "ä" * 40,
        f"{CANARY}.{CANARY}.{CANARY}",
    ):
        await refused(changed, verifier())


async def test_a_token_is_not_read_beyond_its_limit() -> None:
    made = token({"read": [{"user": "x" * 500}]}, now=NOW)
    await judge(made, verifier(token_bytes=len(made)))
    assert "at most" in (await refused(made, verifier(token_bytes=len(made) - 1))).message
    began = time.perf_counter()
    await refused("x" * 1_000_000, verifier())
    assert time.perf_counter() - began < 0.05


async def test_claims_that_are_nested_deep_are_refused() -> None:
    deep = b'{"sub":"ann","exp":%d,"streamd":%b%b}' % (NOW + 60, b"[" * 50_000, b"]" * 50_000)
    await refused(written({"alg": "HS256"}, deep), verifier(token_bytes=1 << 20))


# Keys.


@pytest.mark.parametrize("secret", [b"", b"x" * 31, b"password"])
def test_a_short_secret_is_refused(secret: bytes) -> None:
    with pytest.raises(StartupError) as caught:
        read_secrets(secret)
    assert "at least 32 bytes" in str(caught.value)
    assert not secret or secret.decode() not in str(caught.value)


def test_a_secret_of_32_bytes_will_do() -> None:
    assert list(read_secrets(b"x" * 32)) == ["HS256"]


OLD, NEW = b"the old secret of 32 bytes or more", b"the new secret of 32 bytes or more"


@pytest.mark.parametrize("text", [b"%b\n%b", b"%b\n%b\n", b"\n%b\r\n\r\n%b\r\n"])
async def test_of_several_secrets_all_are_believed_and_the_first_signs(text: bytes) -> None:
    text = text % (NEW, OLD)
    by = verifier(read_secrets(text))
    for secret in (NEW, OLD):
        assert (await judge(token(now=NOW, key=secret), by)).subject == "ann"
    assert jwt.decode(make_token(GOOD, secret=text), NEW, ["HS256"], options={"verify_exp": False})
    await refused(token(now=NOW, key=SECRET), by)
    await refused(token(now=NOW, key=text), by)
    told = await refused(token(now=NOW, key=NEW, sub=None), by)
    assert "lacks the claim sub" in told.message, "its signature is right"
    for secret in (NEW, OLD):
        told = await refused(token(now=NOW, key=secret, exp=NOW - 100), by)
        assert told.data == {"reason": "expired"}, "that one is right in all but its time"


def test_each_of_several_secrets_must_be_one() -> None:
    with pytest.raises(StartupError, match=r"secret 2 of 2 .* got 31"):
        read_secrets(NEW + b"\n" + b"x" * 31)
    for algorithm in PAIRS:
        public = public_pem(pair(algorithm))
        ssh = pair(algorithm).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        for other in (public, ssh):
            for text in (NEW + b"\n" + other, other + b"\n" + NEW):
                with pytest.raises(StartupError, match="key of a pair"):
                    read_secrets(text)
    assert len(read_secrets(b"\n".join([NEW] * 8))["HS256"]) == 8
    with pytest.raises(StartupError, match="8 keys at a time, got 9"):
        read_secrets(b"\n".join([NEW] * 9))


async def test_of_several_public_keys_all_are_believed() -> None:
    pairs = [pair("RS256"), pair("RS256", "new"), pair("EdDSA")]
    pem = b"Some words.\n".join(map(public_pem, pairs))
    by = verifier(read_public_keys(pem))
    for key, algorithm in zip(pairs, ("RS256", "RS256", "EdDSA"), strict=True):
        assert (await judge(token(now=NOW, key=key, algorithm=algorithm), by)).subject == "ann"
    await refused(token(now=NOW, key=pair("RS256", "another"), algorithm="RS256"), by)
    await refused(token(now=NOW, key=pair("ES256"), algorithm="ES256"), by)
    with pytest.raises(StartupError, match="cut off"):
        read_public_keys(pem[:-20])
    with pytest.raises(StartupError, match="must be PEM"):
        read_public_keys(pem + public_pem(pair("RS256 short")))
    with pytest.raises(StartupError, match="private key"):
        read_public_keys(pem + private_pem(pair("EdDSA")))
    with pytest.raises(StartupError, match="8 keys at a time, got 9"):
        read_public_keys(pem * 3)


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"x",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        public_pem(pair("RS256 short")),
        public_pem(pair("ES384")),
        private_pem(pair("ES256")),
    ],
    ids=["empty", "text", "no key", "short", "another curve", "private"],
)
def test_what_is_no_public_key_is_refused(pem: bytes) -> None:
    with pytest.raises(StartupError):
        read_public_keys(pem)


def test_what_can_not_sign_is_refused() -> None:
    for pem in (public_pem(pair("RS256")), public_pem(pair("EdDSA")), b"x"):
        with pytest.raises(StartupError):
            make_token(GOOD, pem=pem)


@pytest.mark.parametrize("algorithm", PAIRS)
def test_a_json_web_key_is_read(algorithm: str) -> None:
    found = read_jwk(jwk(algorithm, "k1"), PAIRS)
    assert found is not None
    assert found[:2] == (algorithm, "k1")
    assert read_jwk(jwk(algorithm, "k1"), [each for each in PAIRS if each != algorithm]) is None


@pytest.mark.parametrize(
    "shown",
    [
        None,
        [],
        {},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "k1"},
        {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "RSA", "n": 7, "e": None},
        {"kty": "EC", "crv": "P-256", "x": "x", "y": "y"},
        {"kty": "OKP", "crv": "X25519", "x": "x"},
        {"kty": "RSA", "n": "A" + "_" * 150_000, "e": "AQAB"},
        {"kty": "RSA", "n": jwk("RS256", "k")["n"], "e": "_" * 150_000},
        {"kty": "RSA", **dict.fromkeys(("n", "e", "d"), "_" * 150000)},
        {**jwk("RS256", None), "kid": 7},
        {**jwk("RS256", None), "kid": ["k1"]},
        jwk("RS256", "k", use="enc"),
        jwk("RS256", "k", alg="HS256"),
        jwk("RS256", "k", alg="none"),
    ],
    ids=lambda shown: repr(shown)[:20],  # No numbers of keys: they are others in each process.
)
@pytest.mark.timeout(10)
def test_keys_of_other_kinds_and_uses_are_passed_over(shown: Any) -> None:
    assert read_jwk(shown, PAIRS) is None
    assert read_jwk(shown, ["HS256"]) is None or shown["kty"] == "oct"


@pytest.mark.parametrize(
    ("algorithm", "made_by"), [("RS256 short", "RS256"), ("ES384", "ES384"), ("ES384", "ES256")]
)
def test_a_json_web_key_that_is_weak_or_on_another_curve_is_passed_over(
    algorithm: str, made_by: str
) -> None:
    to_jwk = jwt.get_algorithm_by_name(made_by.replace("ES256", "ES384")).to_jwk
    shown = {**to_jwk(pair(algorithm).public_key(), True), "kid": "k1"}
    assert read_jwk(shown, PAIRS) is None
    assert read_jwk({**shown, "alg": made_by}, PAIRS) is None


@pytest.mark.parametrize("algorithm", PAIRS)
def test_a_private_key_is_none_to_check_with(algorithm: str) -> None:
    shown = jwt.get_algorithm_by_name(algorithm).to_jwk(pair(algorithm), True)
    assert "d" in shown
    assert read_jwk({**shown, "kid": "k1"}, PAIRS) is None


def test_the_largest_key_that_can_be_used_is_read() -> None:
    # 16,384 bits: made by hand, as to find the primes of one takes minutes.
    number = base64.urlsafe_b64encode(b"\xff" * 2_048).rstrip(b"=").decode()
    assert read_jwk({"kty": "RSA", "n": number, "e": "AQAB"}, PAIRS) is not None
