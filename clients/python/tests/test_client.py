import base64

import pytest
from streamd_client import Entry, Inserted, InvalidParams, LimitExceeded

from clients.python.tests.fake_server import fail

STORY = [
    {
        "kind": "create-repo",
        "repo": 17,
        "user": 291,
        "name": "frist",
        "description": "This is my first repo ever!",
    },
    {"kind": "delete-repo", "repo": 17, "user": 291, "reason": "Made a typo :("},
    {"kind": "watch", "repo": 2842, "user": 291, "owner": 23},
    {"kind": "friend", "user": 291, "friend": 23},
    {"kind": "friend", "user": 23, "friend": 291},
]


@pytest.fixture
async def story(client):
    for event in STORY:
        await client.insert(event)
    return STORY[::-1]


async def test_the_story_of_awesomestream(client, story):
    assert await client.items() == story
    assert await client.items(kind="friend") == story[:2]
    assert await client.items(kind="friend", user=23) == story[:1]
    assert await client.items(user=[23, 291]) == story
    assert await client.items(user=[23, 291], start=1, end=3) == story[1:3]


async def test_a_filter_may_be_a_mapping(client, story):
    assert await client.items(filter={"kind": "friend"}, user={23}) == story[:1]
    with pytest.raises(TypeError):
        await client.items(filter={"kind": "friend"}, kind="watch")


async def test_an_unknown_key_is_a_typed_error(client):
    with pytest.raises(InvalidParams) as info:
        await client.items(colour="red")
    assert info.value.data == {"unknown": ["colour"], "keys": ["user", "kind", "repo"]}


async def test_an_insert_tells_its_place(server, client):
    assert await client.insert(STORY[0]) == Inserted("e1.1", 1795449600001, False)


async def test_an_insert_gives_itself_an_id(server, client):
    await client.insert(STORY[0])
    await client.insert(STORY[0])
    ids = [call.params["id"] for call in server.called("insert")]
    assert len(set(ids)) == 2
    assert all(len(base64.urlsafe_b64decode(id + "==")) == 16 for id in ids)


async def test_an_insert_with_a_known_id_adds_nothing(server, client):
    first = await client.insert(STORY[0], "mine")
    again = await client.insert(STORY[0], id="mine")
    assert (again.cursor, again.duplicate) == (first.cursor, True)
    assert len(server.log) == 1


async def test_insert_many_is_one_call(server, client):
    inserted = await client.insert_many(iter(STORY), ids=["a", None, "c", None, "e"])
    assert [each.cursor for each in inserted] == [f"e1.{n}" for n in range(1, 6)]
    (call,) = server.called("insert_many")
    assert call.params["events"] == STORY
    assert [call.params["ids"][n] for n in (0, 2, 4)] == ["a", "c", "e"]
    assert all(call.params["ids"])


async def test_insert_many_wants_as_many_ids_as_events(server, client):
    with pytest.raises(ValueError):
        await client.insert_many(STORY, ["a"])


async def test_a_limit_of_the_server_is_said(server, client):
    server.tricks["insert_many"].append(
        fail(-32004, {"limit": "insert_many", "max": 1000, "got": 1001})
    )
    with pytest.raises(LimitExceeded) as info:
        await client.insert_many([{}] * 1001)
    assert (info.value.limit, info.value.max, info.value.got) == ("insert_many", 1000, 1001)


async def test_what_is_no_json_never_leaves(server, client):
    with pytest.raises(TypeError):
        await client.insert({"kind": object()})
    assert not server.called("insert")


async def test_history_is_paged(client, story):
    pages, before = [], None
    while True:
        page = await client.history(before=before, limit=2)
        pages.append(page)
        if (before := page.before) is None:
            break
    assert [len(page.entries) for page in pages] == [2, 2, 1]
    entries = [entry for page in pages for entry in page.entries]
    assert [entry.event for entry in entries] == story
    assert entries[0] == Entry("e1.5", 1795449600005, story[0])


async def test_history_takes_a_filter(client, story):
    page = await client.history(filter={"kind": "friend"}, user=23)
    assert [entry.event for entry in page.entries] == story[:1]


async def test_a_page_is_followed_without_a_gap(server, client, story):
    page = await client.history(limit=1)
    server.push({"kind": "late"})
    async with client.subscribe(after=page.cursor) as feed:
        assert (await anext(feed)).event == {"kind": "late"}


async def test_info_tells_about_the_server(client):
    info = await client.info()
    assert (info.server, info.epoch, info.keys) == ("streamd", "e1", ["user", "kind", "repo"])
    assert info.limits == {"batch": 100}


async def test_ping_measures(client):
    assert 0 < await client.ping() < 10


async def test_calls_without_a_loop_around_them_are_sent_by_name(server, client):
    await client.items(user=1)
    (call,) = server.called("items")
    assert call.params == {"filter": {"user": 1}, "start": 0, "end": 20}
