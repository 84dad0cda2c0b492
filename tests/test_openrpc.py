"""streamd.openrpc: the document is one of OpenRPC, and the server hands it out."""

import orjson
import pytest
from jsonschema_rs import ValidationError

from streamd import __version__
from streamd.openrpc import make_openrpc
from streamd.signatures import METHODS
from tests.parts import Client, serving
from tests.specifications import openrpc_validator


def test_it_is_an_openrpc_document() -> None:
    openrpc_validator().validate(make_openrpc("1.2.3"))


@pytest.mark.parametrize("broken", [{"methods": [{"name": "x"}]}, {"colour": 1}, {"openrpc": "9"}])
def test_a_document_that_is_none_is_found_out(broken: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        openrpc_validator().validate(make_openrpc("1.2.3") | broken)


def test_it_has_every_method_as_the_table_has_it() -> None:
    document = make_openrpc("1.2.3")
    assert document["info"]["version"] == "1.2.3"
    assert [method["name"] for method in document["methods"]] == list(METHODS)
    for method in document["methods"]:
        own = METHODS[method["name"]]
        assert [(each["name"], each["required"], each["schema"]) for each in method["params"]] == [
            (param.name, param.required, param.schema) for param in own.params
        ]
        assert method["result"]["schema"] == own.result
        assert {error["code"] for error in method["errors"]} == {kind.code for kind in own.errors}


async def test_the_server_hands_it_out() -> None:
    async with serving() as worker:
        client = Client(worker)
        document = await client.call("rpc.discover")
        assert document == orjson.loads(orjson.dumps(make_openrpc(__version__)))
        assert await client.call("rpc.discover", []) == document
        assert (await client.fail("rpc.discover", {"colour": 1}))["code"] == -32602
        assert orjson.loads(await worker.call("rpc.discover", {})) == document
