"""Whatever a client sends that the OpenAPI document allows, or does not, the answer is what the document says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from fakes import scripted, tiny_team_engine
from hogwild.server.app import create_app
from hogwild.server.service import Service
from serving import Served, served

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 15


def _operations() -> dict[str, Any]:
    engine = scripted()
    document = create_app(Service(engine)).openapi()
    found: Any = schemathesis.openapi.from_dict(document).get_all_operations()
    return {operation.label: operation for operation in (result.ok() for result in found)}


OPERATIONS = _operations()


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    limits = {"max_budget": 4, "budget_default": 2, "max_workers": 2, "max_choices": 2, "keep_teams": 8}
    with served(tiny_team_engine(), **limits) as running:
        yield running


@pytest.fixture
def team(server: Served) -> str:
    with server.http() as http:
        found: str = http.post("/v1/teams", json={"task": "Go."}).json()["id"]
    return found


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation(server: Served, team: str, name: str, mode: GenerationMode) -> None:
    settings = hypothesis.settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[hypothesis.Phase.generate],
    )

    @settings
    @hypothesis.given(case=OPERATIONS[name].as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        # A model and a team that there are, which nobody guesses.
        if isinstance(case.body, dict) and "model" in case.body and mode is GenerationMode.POSITIVE:
            case.body["model"] = "hogwild-2/tiny" if "messages" in case.body else "tiny"
        if "team" in (case.path_parameters or {}):
            case.path_parameters["team"] = team
        case.call_and_validate(base_url=server.url, checks=CHECKS, timeout=30)

    try:
        check()
    except hypothesis.errors.Unsatisfiable:
        pytest.skip(f"nothing can be sent to {name} that is {mode.value}")
