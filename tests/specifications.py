"""The specifications' own schemas, out of packages that come with those of the JavaScript client's tests."""

import json
import os
import re
from pathlib import Path

import pytest
from jsonschema_rs import Draft7, Draft7Validator, Registry

from tests.documents import ROOT

__all__ = ["DRAFT_7", "asyncapi_validator", "openrpc_validator"]

DRAFT_7 = {"$ref": "http://json-schema.org/draft-07/schema#"}
"""The schema of what JSON Schema was in draft 7; the validators know it."""

_MODULES = ROOT / "clients" / "js" / "node_modules"

_JSON_SCHEMA = "https://meta.json-schema.tools"
"""Where OpenRPC's schema says what a JSON Schema is: draft 7, in a form of its own."""


def asyncapi_validator() -> Draft7Validator:
    """Return what tells whether a document is one of AsyncAPI 3.0."""
    path = _MODULES / "@asyncapi" / "specs" / "schemas" / "3.0.0-without-$id.json"
    return Draft7Validator(json.loads(_read(path)))


def openrpc_validator() -> Draft7Validator:
    """Return what tells whether a document is one of OpenRPC 1."""
    module = _read(_MODULES / "@open-rpc" / "meta-schema" / "index.js")
    found = re.search(r"^exports\.openrpcDocument = (\{.*\});$", module, re.M)
    assert found, "the package has another form than was thought"
    schema = json.loads(found[1])
    del schema["$schema"]
    draft = {
        "allOf": [DRAFT_7],
        "definitions": {"JSONSchemaObject": {"properties": {"$ref": {"type": "string"}}}},
    }
    registry = Registry([(f"{_JSON_SCHEMA}{slash}", draft) for slash in ("", "/")], draft=Draft7)
    return Draft7Validator(schema, registry=registry)


def _read(path: Path) -> str:
    if not path.exists():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            f"{path.relative_to(_MODULES).parent} is not installed"
        )
    return path.read_text(encoding="utf-8")
