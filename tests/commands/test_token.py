import asyncio
import json
import time
from pathlib import Path

import jwt
import pytest
from typer.testing import CliRunner

from streamd.commands.token import token as commands
from tests.commands.cli import Command, streamd
from tests.harness import running
from tests.issuer import issuer
from tests.keys import SECRET, pair, private_pem, public_pem, token

CANARY = "canary-2b9c is a secret of 32 bytes"
ALL = {"read": [{}], "write": [{}]}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STREAMD_TOKEN_SECRET", "STREAMD_TOKEN", "STREAMD_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def secret(tmp_path: Path) -> str:
    path = tmp_path / "secret"
    path.write_text(CANARY + "\n")
    return str(path)


def run(*words: str, env: dict[str, str] | None = None, stdin: str | None = None):
    result = CliRunner().invoke(commands, [*words], env=env, input=stdin)
    assert CANARY not in result.output
    return result


def made(*words: str) -> str:
    result = run("make", *words)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def test_a_token_says_what_it_was_told_to_say(secret):
    words = (
        "--sub", "ann ö", "--secret-file", secret, "--read", '{"user":[23]}', "--read", "{}",
        "--write", '{"user":291}', "--expires", "15m", "--aud", "feed", "--iss", "us", "--kid", "k1", "--admin",
    )  # fmt: skip
    text = made(*words)
    claims = jwt.decode(text, CANARY, ["HS256"], audience="feed", issuer="us")
    assert claims.pop("exp") == pytest.approx(time.time() + 900, abs=10)
    assert claims == {
        "sub": "ann ö",
        "aud": "feed",
        "iss": "us",
        "streamd": {"read": [{"user": [23]}, {}], "write": [{"user": 291}], "admin": True},
    }
    assert jwt.get_unverified_header(text)["kid"] == "k1"


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_private_key_signs(algorithm, tmp_path):
    path = tmp_path / "key.pem"
    path.write_bytes(private_pem(pair(algorithm)))
    text = made("--sub", "ann", "--key", str(path))
    claims = jwt.decode(text, pair(algorithm).public_key(), [algorithm])
    assert claims["streamd"] == {"read": [], "write": []}, "nothing is granted unasked"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "--secret-file"),
        (["--secret-file", "{secret}", "--key", "{secret}"], "one of"),
        (["--secret-file", "/nowhere/secret"], "can't be read"),
        (["--key", "{secret}"], "PEM"),
        (["--secret-file", "{secret}", "--read", "user=1"], "--read"),
        (["--secret-file", "{secret}", "--write", "[]"], "--write"),
        (["--secret-file", "{secret}", "--expires", "soon"], "--expires"),
        (["--secret-file", "{secret}", "--expires", "-5"], "--expires"),
        (["--secret-file", "{secret}", "--expires", "99999999d"], "--expires"),
        (["--secret-file", "{secret}", "--read", '{{"user":{{"in":[1]}}}}'], "an object"),
        (["--secret-file", "{secret}", "--write", '{{"a b":1}}'], "not a key"),
        (["--secret-file", "{secret}", *["--read", "{{}}"] * 65], "grants"),
        (["--secret-file", "{secret}", "--read", '{{"colour":1}}', "--keys", "user"], "colour"),
    ],
)
async def test_what_can_not_be_made_is_told_in_a_sentence(words, told, secret, url):
    words = [each.format(secret=secret) for each in words]
    result = await streamd("token", "make", "--sub", "ann", *words, url=url)
    assert result.code in (1, 2)
    assert told in result.err
    assert "Traceback" not in result.err
    assert CANARY not in result.err


def test_a_token_is_explained(secret):
    text = made("--sub", "ann", "--secret-file", secret, "--read", '{"user":[1,2],"kind":"a"}')
    result = run("explain", text, env={"STREAMD_TOKEN_SECRET_FILE": secret})
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert "subject    ann" in lines
    assert "may read   user = 1 or 2 and kind = a" in lines
    assert "may write  nothing" in lines
    assert lines[-1] == "verdict    good"
    result = run("explain", env={"STREAMD_TOKEN_SECRET": CANARY}, stdin=text + "\n")
    assert result.stdout.splitlines()[-1] == "verdict    good"
    result = run("explain", "-", stdin=text + "\n")
    assert "not checked" in result.stdout
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: token(ALL, key="another secret, of 32 bytes at least"), "signature"),
        (lambda: token(ALL, key=CANARY, exp=time.time() - 100), "expired"),
        (lambda: token(ALL, key=CANARY, nbf=time.time() + 100_000), "not valid yet"),
        (lambda: token({"read": [{"colour": 1}]}, key=CANARY), "colour"),
        (lambda: token([1], key=CANARY, sub=None), "lacks the claim sub"),
        (lambda: token({"read": 7}, key=CANARY), "list of grants"),
        (lambda: token(ALL, key=pair("ES256"), algorithm="ES256"), "HS256"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_why_it_would_be_refused_is_told(make, told):
    result = run("explain", make(), env={"STREAMD_TOKEN_SECRET": CANARY})
    assert result.exit_code == 1
    assert told in result.stdout.splitlines()[-1]


def test_one_that_grants_nothing_is_good_and_told():
    result = run("explain", token(key=CANARY), env={"STREAMD_TOKEN_SECRET": CANARY})
    assert (result.exit_code, "grants nothing" in result.stdout) == (0, True)


@pytest.mark.parametrize("text", ["", "x", "x.y.z", "ä" * 50, "x" * 2_000_000, "[" * 90_000])
def test_what_is_no_token_is_told(text):
    result = run("explain", "--", text)
    assert result.exit_code == 1
    assert "Traceback" not in result.output


def test_what_a_stranger_has_put_into_a_token_does_nothing_to_the_terminal():
    odd = "\x1b[2J\x9b\n"
    text = token(
        {"read": [{odd: [odd]}]}, key=CANARY, sub=odd, aud=[odd], iss=odd, header={"kid": odd}
    )
    result = run("explain", text)
    assert result.exit_code == 0
    assert not any(ord(char) < 32 and char != "\n" for char in result.output)
    assert "\x9b" not in result.output


async def test_an_issuer_is_asked(tmp_path):
    async with issuer() as shown:
        text = token(ALL, key=pair("RS256"), algorithm="RS256", header={"kid": "k1"})
        config = tmp_path / "streamd.toml"
        config.write_text(f"token_jwks_url = {json.dumps(shown.url)}\n")
        result = await asyncio.to_thread(run, "explain", text, "--config", str(config))
        assert result.stdout.splitlines()[-1] == "verdict    good"
        shown.raw = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
        result = await asyncio.to_thread(run, "explain", text, "--config", str(config))
        assert result.exit_code == 1
        assert "can't be said now" in result.stdout


# Those who call with one.


async def test_the_commands_say_who_calls(tmp_path):
    async with running(token_secret=SECRET) as server:
        url = server.ws_url
        good = token({"read": [{"user": 1}], "write": [{"user": 1}]})
        path = tmp_path / "token"
        path.write_text(good + "\n")
        inserted = await streamd("insert", '{"user":1}', "--token", good, url=url)
        assert inserted.code == 0, inserted.err
        refused = await streamd("insert", '{"user":2}', "--token", good, url=url)
        assert (refused.code, "not granted" in refused.err) == (1, True)
        found = await streamd("items", "--token-file", str(path), url=url)
        assert found.lines == [{"user": 1}]
        command = await Command.start("tail", "--token-file", str(path), url=url)
        assert await command.line() == {"user": 1}
        command.process.terminate()
        await command.end()


async def test_without_a_token_or_with_a_wrong_one_they_tell_so(tmp_path):
    async with running(token_secret=SECRET) as server:
        url = server.ws_url
        for words in (["items"], ["tail"], ["insert", "{}"]):
            result = await streamd(*words, url=url)
            assert result.code == 1
            assert result.err == (
                "streamd: the server wants to know who calls: give a token with --token-file (-32001)\n"
            )
        result = await streamd("items", "--token", CANARY.replace(" ", "."), url=url)
        assert result.code == 1
        assert "(-32001)" in result.err
        assert "canary" not in result.err
        result = await streamd("items", "--token-file", str(tmp_path / "none"), url=url)
        assert result.code == 2
        result = await streamd("items", "--token-file", "x", "--token", "y", url=url)
        assert result.code == 2


def test_a_public_key_is_not_for_signing(tmp_path):
    path = tmp_path / "public.pem"
    path.write_bytes(public_pem(pair("ES256")))
    result = run("make", "--sub", "ann", "--key", str(path))
    assert result.exit_code == 1


async def test_bytes_that_are_no_text_are_no_token(url):
    command = await Command.start("token", "explain", url=url)
    result = await command.end(stdin=b"\xff\xfe\x00")
    assert result.code == 1
    assert (
        result.err
        == "streamd: this is no token: it must be a signed JWT without extensions (crit)\n"
    )
