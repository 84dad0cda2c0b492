import pytest
import typer

from streamd.commands.arguments import read_filter


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (None, {}),
        ([], {}),
        (["user=23"], {"user": ["23"]}),
        (["user=23,291", "kind=friend"], {"user": ["23", "291"], "kind": ["friend"]}),
        (["user=a", "user=b,c"], {"user": ["a", "b", "c"]}),
        (["page=a=b"], {"page": ["a=b"]}),
        (["user="], {"user": []}),
        (["user=", "user=a"], {"user": ["a"]}),
        (["user=a,"], {"user": ["a", ""]}),
        (["user=,"], {"user": ["", ""]}),
        ([r"page=Paris\, Texas,Rome"], {"page": ["Paris, Texas", "Rome"]}),
        ([r"user=DOMAIN\name"], {"user": [r"DOMAIN\name"]}),
        ([r"user=ends\\,b"], {"user": ["ends\\", "b"]}),
        ([r"user=ends\ "], {"user": ["ends\\ "]}),
        (["user=x\\"], {"user": ["x\\"]}),
        (["user= a , b "], {"user": [" a ", " b "]}),
        (["user=ünï"], {"user": ["ünï"]}),
    ],
)
def test_words_make_a_filter(words, wanted):
    assert read_filter(words) == wanted


@pytest.mark.parametrize("word", ["user", "=23", "", "user=\udcff"])
def test_what_is_no_filter_is_wrong_usage(word):
    with pytest.raises(typer.BadParameter) as info:
        read_filter([word])
    assert info.value.exit_code == 2
