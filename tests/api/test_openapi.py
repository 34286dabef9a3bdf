"""The description of the API is true: each route is in it, and what schemathesis makes of it is answered as it says.

The same requests in every run: examples are derandomized.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
import schemathesis
from api_rig import Rig
from schemathesis.checks import CheckFunction, allow_header_conformance, positive_data_acceptance, unsupported_method
from schemathesis.config import GenerationConfig, SchemathesisConfig
from starlette.routing import Route

from tunflow.api.app import API, DESCRIPTION
from tunflow.api.facts import TunnelFacts
from tunflow.dataplane.flow_book import FlowBook

EXAMPLES = 15
"""Of each operation, beside those that cover its limits."""
CONFIG = SchemathesisConfig()
CONFIG.projects.default.generation = GenerationConfig(deterministic=True, max_examples=EXAMPLES)
SCHEMA = schemathesis.openapi.from_dict(json.loads(DESCRIPTION.read_text()), config=CONFIG)


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.close()


def answers_as_it_is_described(case: schemathesis.Case, rig: Rig) -> None:
    excluded: list[CheckFunction] = []
    if "refused" in (case.operation.tags or ()):
        excluded.append(positive_data_acceptance)
    if "{name}/" in case.operation.path:  # a name may have slashes: with other methods the rest is of the name
        excluded += [allow_header_conformance, unsupported_method]
    case.call_and_validate(base_url=rig.api.where, excluded_checks=excluded)


# One test each, by names of their own: a scheduler of workers takes tests of one name for one test.
for found in SCHEMA.exclude(tag="stream").get_all_operations():
    operation = found.ok()
    one = SCHEMA.include(path=operation.path, method=operation.method)
    words = re.sub(r"\W+", "_", f"{operation.method}_{operation.path}").strip("_")
    globals()[f"test_{words}"] = one.parametrize()(answers_as_it_is_described)


def test_all_routes_are_described_and_nothing_else(rig: Rig) -> None:
    told = {
        (path, method.upper())
        for path, operations in json.loads(DESCRIPTION.read_text())["paths"].items()
        for method in operations
        if method != "parameters"
    }
    app = API(TunnelFacts(FlowBook()), rig.calls, rig.api.log).app
    routes = [each for each in app.routes if isinstance(each, Route) and not each.path.startswith("/ui")]
    served = {(each.path_format, method) for each in routes for method in each.methods or () if method != "HEAD"}
    assert served == told


def test_what_may_be_done_with_a_path_is_told(rig: Rig) -> None:
    answer = rig.http.request("PATCH", "/connections")
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET, HEAD")


def test_the_description_is_served(rig: Rig) -> None:
    assert rig.http.get("/openapi.json").json() == json.loads(DESCRIPTION.read_text())
