"""The site shows its own code, and nothing else."""

import pytest
from django.test import Client

from echo.tests.live import ROOT


def test_a_file_below_echo_is_shown_as_it_is(client: Client) -> None:
    response = client.get("/source/lab/bounds.py")
    assert response.status_code == 200
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response.content == (ROOT / "echo/lab/bounds.py").read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        "../wsdemo/settings.py",
        "%2e%2e/wsdemo/settings.py",
        "/etc/passwd",
        "lab",
        "lab/nothing.py",
        "load/load.c",
        "lab/bounds.py%00",
        "x" * 5000 + ".py",
    ],
)
def test_any_other_path_is_not_found(client: Client, path: str) -> None:
    assert client.get(f"/source/{path}").status_code == 404
