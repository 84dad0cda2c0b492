"""The specifications' own schemas, out of packages that come with those of the JavaScript client's tests."""

import json
import os
import re
from pathlib import Path

import pytest
from jsonschema import Draft7Validator
from jsonschema.protocols import Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from tests.documents import ROOT

__all__ = ["asyncapi_validator", "openrpc_validator"]

_MODULES = ROOT / "clients" / "js" / "node_modules"

_JSON_SCHEMA = "https://meta.json-schema.tools"
"""Where OpenRPC's schema says what a JSON Schema is: draft 7, in a form of its own."""


def asyncapi_validator() -> Validator:
    """Return what tells whether a document is one of AsyncAPI 3.0."""
    path = _MODULES / "@asyncapi" / "specs" / "schemas" / "3.0.0-without-$id.json"
    return Draft7Validator(json.loads(_read(path)))


def openrpc_validator() -> Validator:
    """Return what tells whether a document is one of OpenRPC 1."""
    module = _read(_MODULES / "@open-rpc" / "meta-schema" / "index.js")
    found = re.search(r"^exports\.openrpcDocument = (\{.*\});$", module, re.M)
    assert found, "the package has another form than was thought"
    schema = json.loads(found[1])
    del schema["$schema"]
    draft = dict(Draft7Validator.META_SCHEMA)
    draft["definitions"] |= {"JSONSchemaObject": {"properties": {"$ref": {"type": "string"}}}}
    registry: Registry = Registry().with_resources(
        (f"{_JSON_SCHEMA}{slash}", Resource(draft | {"$id": f"{_JSON_SCHEMA}{slash}"}, DRAFT7))
        for slash in ("", "/")
    )
    return Draft7Validator(schema, registry=registry)


def _read(path: Path) -> str:
    if not path.exists():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            f"{path.relative_to(_MODULES).parent} is not installed"
        )
    return path.read_text(encoding="utf-8")
