"""streamd.inserts: what an acknowledged insert means, and what one repeated with its id does."""

from typing import Any

import pytest

from tests.parts import Client, serving


async def test_an_insert_says_where_the_event_went() -> None:
    async with serving() as worker:
        client = Client(worker)
        one = await client.call("insert", {"event": {"user": 1}})
        two = await client.call("insert", {"event": {"user": 2}})
        assert one["duplicate"] is two["duplicate"] is False
        assert one["cursor"] != two["cursor"]
        assert one["time"] <= two["time"]
        entries = (await client.call("history"))["entries"]
        assert entries == [
            {"cursor": two["cursor"], "time": two["time"], "event": {"user": 2}},
            {"cursor": one["cursor"], "time": one["time"], "event": {"user": 1}},
        ]


async def test_the_same_id_adds_nothing_and_returns_the_first_place() -> None:
    async with serving() as worker:
        client = Client(worker)
        first = await client.call("insert", {"event": {"user": 1}, "id": "a"})
        again = await client.call("insert", {"event": {"user": 1}, "id": "a"})
        assert again == first | {"duplicate": True}
        assert await client.call("items") == [{"user": 1}]


async def test_the_same_id_with_another_event_is_refused() -> None:
    async with serving() as worker:
        client = Client(worker)
        await client.call("insert", {"event": {"user": 1}, "id": "a"})
        error = await client.fail("insert", {"event": {"user": 2}, "id": "a"})
        assert (error["code"], error["data"]) == (-32602, {"reason": "id_reused"})
        error = await client.fail("insert_many", {"events": [{"user": 3}, {"user": 2}], "ids": [None, "a"]})  # fmt: skip
        assert error["data"] == {"reason": "id_reused"}
        assert await client.call("items") == [{"user": 1}]


async def test_first_come_wins_within_one_batch_and_one_call() -> None:
    async with serving() as worker:
        client = Client(worker)
        ids = [client.ask("insert", {"event": {"user": 1}, "id": "a"}) for _ in range(3)]
        answers = [(await client.answer(ident))["result"] for ident in ids]
        assert [answer["duplicate"] for answer in answers] == [False, True, True]
        assert len({answer["cursor"] for answer in answers}) == 1
        many = await client.call("insert_many", {"events": [{"user": 2}] * 3, "ids": ["b", None, "b"]})  # fmt: skip
        assert [entry["duplicate"] for entry in many["entries"]] == [False, False, True]
        assert many["entries"][0]["cursor"] == many["entries"][2]["cursor"]
        assert await client.call("items") == [{"user": 2}, {"user": 2}, {"user": 1}]


async def test_many_events_are_consecutive_and_all_or_nothing() -> None:
    async with serving() as worker:
        client, other = Client(worker), Client(worker)
        many = client.ask("insert_many", {"events": [{"user": n} for n in range(50)]})
        other.ask("insert", {"event": {"user": "other"}})
        await client.answer(many)
        error = await client.fail("insert_many", {"events": [{"user": "half"}, {"user": "\0"}]})
        assert error["data"] == {"key": "user"}
        users = [event["user"] for event in await client.call("items", {"end": 100})]
        assert [user for user in reversed(users) if user != "other"] == list(range(50))
        assert "half" not in users
        assert users.index("other") in (0, 50)


async def test_no_events_are_no_error() -> None:
    async with serving() as worker:
        client = Client(worker)
        assert await client.call("insert_many", {"events": []}) == {"entries": []}
        assert await client.call("insert_many", {"events": [], "ids": []}) == {"entries": []}


DUPLICATE = b'{"jsonrpc":"2.0","id":1,"method":"insert","params":{"event":{"user":1,"user":2,"x":{"a":1,"a":2}}}}'


async def test_of_duplicate_keys_the_last_counts() -> None:
    async with serving() as worker:
        client = Client(worker)
        await client.reply(DUPLICATE)
        assert await client.call("items", {"filter": {"user": 2}}) == [{"user": 2, "x": {"a": 2}}]
        assert await client.call("items", {"filter": {"user": 1}}) == []


@pytest.mark.parametrize(
    ("value", "same", "others"),
    [
        (291, ["291", 291.0], [292, "0291", "291 "]),
        ("291", [291], [True]),
        (True, ["true"], [1, "1", "True"]),
        (1, ["1", 1.0], [True, "true"]),
        (0, [-0.0, "0"], [False, ""]),
        (2**53 + 1, [str(2**53 + 1)], [2**53]),
        (2**64 - 1, [str(2**64 - 1)], [float(2**64 - 1)]),
        (-(2**63), [str(-(2**63))], [2**63]),
        (1.5, ["1.5"], [1, "1.50"]),
        (":{}*\n", [":{}*\n"], [":{}*"]),
        ("", [""], [" ", 0]),
    ],
)
async def test_a_value_is_found_by_all_that_equals_it(
    value: Any, same: list[Any], others: list[Any]
) -> None:
    async with serving() as worker:
        client = Client(worker)
        await client.call("insert", {"event": {"user": value}})
        await client.call("subscribe", {"filter": {"user": same}, "after": "start"})
        for each in [value, *same]:
            assert len(await client.call("items", {"filter": {"user": each}})) == 1, each
        for other in others:
            assert await client.call("items", {"filter": {"user": other}}) == [], other
        await client.transport.until(lambda: client.transport.events())
        assert await client.call("items", {"filter": {"user": others}}) == []
