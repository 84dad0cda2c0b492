import re
from pathlib import Path

import orjson
import pytest
from streamd_client import backoff, connection, http, inbox, sync
from streamd_client.errors import BY_CODE
from streamd_client.protocol import MESSAGE_BYTES

from clients.python.tests.fake_http import FakeHttp

HERE = Path(__file__).parents[1]
PROTOCOL = (HERE.parent / "PROTOCOL.md").read_text(encoding="utf-8")
README = (HERE / "README.md").read_text(encoding="utf-8")


def table(section):
    """The rows of the table in a section of the protocol, without its heading."""
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", PROTOCOL, re.M | re.S)
    rows = re.findall(r"^\|(.*)\|$", text, re.M)
    return [[cell.strip().replace("−", "-") for cell in row.split("|")] for row in rows[2:]]


def codes(cell):
    """The codes that a cell names: 4501, or 1000, 1001, or 4000–4499."""
    for part in cell.split(","):
        first, _, last = part.strip().partition("–")
        yield from range(int(first), int(last or first) + 1)


def test_the_error_table_is_the_clients():
    rows = {int(code): name for code, name, _ in table("Errors")}
    assert rows == {
        code: re.sub("(?<!^)(?=[A-Z])", " ", kind.__name__).lower()
        for code, kind in BY_CODE.items()
    }


def test_the_close_codes_are_the_clients():
    for cell, _, reaction in table("Close codes"):
        assert reaction in {"stops", "comes back"}
        for code in codes(cell):
            assert (code in connection.FINAL_CODES) == (reaction == "stops"), code


def test_the_clients_numbers_are_in_the_text():
    limits = {name.strip("`"): default for name, default in table("Limits")}
    assert int(limits["message_bytes"]) == MESSAGE_BYTES
    assert int(limits["answer_bytes"]) < connection.MAX_ANSWER
    assert (inbox.MAX_ENTRIES, inbox.MAX_BYTES) == (1_000, 4 * 1024 * 1024)
    assert "1,000 entries or 4 MiB" in PROTOCOL
    assert f"lasted {backoff.STABLE_AFTER:g} s" in PROTOCOL


def test_the_rules_over_http_are_the_clients():
    (rule,) = re.findall(r"^9\. .*?(?=^10\.)", PROTOCOL, re.M | re.S)
    (statuses,) = re.findall(r"after HTTP ([\d,\sand]+),", rule)
    assert set(map(int, re.findall(r"\d+", statuses))) == http.PASSING
    assert f"no answer for {sync.ATTEMPT_TIMEOUT:g} s" in rule
    limits = {name.strip("`"): default for name, default in table("Limits")}
    assert float(limits["store_deadline"]) < sync.ATTEMPT_TIMEOUT
    assert "waits 0.1 s to a ceiling that doubles from 0.2 s to 2 s" in rule
    for attempt, ceiling in enumerate((0.2, 0.4, 0.8, 1.6, 2.0, 2.0)):
        assert backoff.call_jitter(attempt, random=lambda: 0.0) == 0.1
        assert backoff.call_jitter(attempt, random=lambda: 1.0) == ceiling
    assert "HTTP 408, 425, 429, 502, 503\n  and 504" in README


@pytest.mark.parametrize("line", re.findall(r'^    (\{"jsonrpc.*\})$', PROTOCOL, re.M))
def test_the_examples_are_json(line):
    assert orjson.loads(line.replace("{…}", "{}"))["jsonrpc"] == "2.0"


async def test_the_readme_works(server, capsys):
    (code,) = re.findall(r"```python\n(import asyncio.*?)```", README, re.S)
    assert sum(bool(line) for line in code.splitlines()) == 10
    code = code.replace("ws://127.0.0.1:8080/", server.url)
    code = code.replace("print(entry.cursor, entry.event)", "return print(entry.cursor)")
    names = {}
    exec(code.replace("asyncio.run(main())", ""), names)
    await names["main"]()
    assert capsys.readouterr().out == "[{'kind': 'friend', 'user': 23, 'friend': 291}]\ne1.1\n"


def test_the_readme_without_asyncio_works(capsys):
    (code,) = re.findall(r"```python\n(from streamd_client.sync.*?)```", README, re.S)
    with FakeHttp() as server:
        exec(code.replace("http://127.0.0.1:8080/", server.url), {})
    assert capsys.readouterr().out == "[{'kind': 'friend', 'user': 23, 'friend': 291}]\n"
