import pytest
from streamd_client import Entry

from streamd.commands.text import ago, clock, entry_line, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ünïcödé, 猫, [bold]", "plain, ünïcödé, 猫, [bold]"),
        ("\x1b[2J\x07", r"\x1b[2J\x07"),
        ("a\nb\r\tc\x7f", r"a\x0ab\x0d\x09c\x7f"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202egnp.exe\u2066", r"\u202egnp.exe\u2066"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("\U000e0041", r"\U000e0041"),
        ("می\u200cخواهم", "می\u200cخواهم"),
    ],
)
def test_strangers_texts_do_not_move_the_cursor(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s ago"),
        (59, "59s ago"),
        (60, "1m ago"),
        (3_599, "59m ago"),
        (3_600, "1h ago"),
        (86_399, "23h ago"),
        (86_400, "1d ago"),
        (864_000, "10d ago"),
    ],
)
def test_how_long_ago(seconds, text):
    now = 1_795_449_600
    assert ago((now - seconds) * 1000, now) == text


def test_the_time_of_day():
    assert len(clock(1_795_449_600_123)) == len("12:34:56")


def test_an_entry_is_a_line():
    event = {"n": 1, "user": [23, 291], "kind": "fri\x1bend", "text": "[red]\x9b\n"}
    line = entry_line(Entry("c", 0, event), ["user", "kind", "repo"], "5s ago")
    assert line.plain == r"""  5s ago  fri\x1bend  user=[23,291]  {"n":1,"text":"[red]\x9b\n"}"""


def test_an_entry_may_have_none_of_the_keys():
    assert entry_line(Entry("c", 0, {}), ["user"], "5s ago").plain == "  5s ago"
