"""clients/python/server.json, by which the MCP registry knows the server.

The rules are those of the registry's schema of 2025-12-11, as far as the file uses it.
"""

import json
import re
import tomllib
from typing import Any

from tests.support.paths import ROOT

PACKAGE = ROOT / "clients/python"
SERVER: dict[str, Any] = json.loads((PACKAGE / "server.json").read_text())
PROJECT: dict[str, Any] = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]

INPUT = {
    "description",
    "default",
    "value",
    "placeholder",
    "isRequired",
    "isSecret",
    "choices",
    "format",
    "variables",
}


def test_it_names_and_describes_the_server() -> None:
    assert SERVER["$schema"].endswith("/schemas/2025-12-11/server.schema.json")
    assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", SERVER["name"])
    assert 1 <= len(SERVER["description"]) <= 100
    assert 1 <= len(SERVER["title"]) <= 100


def test_its_package_is_the_one_that_is_built_here() -> None:
    [package] = SERVER["packages"]

    assert (package["registryType"], package["transport"]) == ("pypi", {"type": "stdio"})
    assert package["identifier"] == PROJECT["name"]
    assert SERVER["version"] == package["version"] == PROJECT["version"]
    run = {argument["type"]: argument["value"] for argument in package["runtimeArguments"]}
    assert run["named"] == f"{PROJECT['name']}[mcp]=={PROJECT['version']}"
    assert run["positional"] in PROJECT["scripts"]
    # The registry takes a package only where its README on PyPI names the server.
    assert f"mcp-name: {SERVER['name']}" in (PACKAGE / "README.md").read_text()


def test_its_variables_are_those_that_the_command_reads() -> None:
    [package] = SERVER["packages"]
    variables = package["environmentVariables"]

    source = (PACKAGE / "src/semantix_client/mcp.py").read_text()
    assert {each["name"] for each in variables} == set(re.findall(r'environ\.get\("(\w+)"', source))
    assert all(each.keys() - {"name"} <= INPUT and each["description"] for each in variables)
    assert [each["name"] for each in variables if each.get("isSecret")] == ["SEMANTIX_API_KEY"]


def test_its_remote_address_is_the_servers() -> None:
    [remote] = SERVER["remotes"]

    assert remote["type"] == "streamable-http"
    assert re.fullmatch(r"https?://[^\s]+/mcp", remote["url"])
    assert set(re.findall(r"{(\w+)}", remote["url"])) == remote["variables"].keys()
    [header] = remote["headers"]
    assert header["name"] == "Authorization"
    assert header["isSecret"]
    assert set(re.findall(r"{(\w+)}", header["value"])) == header["variables"].keys()
