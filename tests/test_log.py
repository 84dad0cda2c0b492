"""streamd.log: what is stored of an event comes back whole."""

from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.log import Draft, Entry, pack, unpack

TERMS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20).map(
        lambda text: f"user:{text}"
    ),
    max_size=5,
)
BODIES = st.binary(max_size=50)


@given(TERMS, BODIES, st.integers(1, 2**56), st.integers(0, 2**48))
@settings(deadline=None)
def test_what_is_packed_is_unpacked(terms: list[str], body: bytes, seq: int, time: int) -> None:
    stored = b"%d %d " % (seq, time) + pack(Draft(body, tuple(terms)))
    assert unpack(stored) == Entry(seq, time, tuple(terms), body)


def test_an_event_without_terms_is_packed_too() -> None:
    assert unpack(b"7 8 " + pack(Draft(b"{}", ()))) == Entry(7, 8, (), b"{}")


def test_spaces_and_line_ends_in_terms_do_no_harm() -> None:
    terms = ("user: a b \n 1 2", "kind:{}*:")
    assert unpack(b"1 2 " + pack(Draft(b'{"a":" "}', terms))).terms == terms
