"""Runs an experiment as the page does: a POST with the token of its form."""

import re
from typing import Any

import httpx

from echo.tests.live import PATIENCE_SECONDS, LiveSite


class Visitor:
    """A visitor of a page of experiments, with its cookie and its token."""

    def __init__(self, site: LiveSite, page: str, **options: Any) -> None:
        """Open the page; the options are those of an httpx client."""
        self.client = httpx.Client(
            base_url=site.url,
            timeout=PATIENCE_SECONDS,
            trust_env=False,
            verify=site.tls or False,
            **options,
        )
        text = self.client.get(page).text
        token = re.search('name="csrfmiddlewaretoken" value="([^"]+)"', text)
        assert token, text
        self.headers = {"X-CSRFToken": token[1], "Referer": f"{site.url}{page}"}

    def __enter__(self) -> "Visitor":
        return self

    def __exit__(self, *exception: object) -> None:
        self.client.close()

    def post(self, path: str, **settings: Any) -> httpx.Response:
        return self.client.post(path, json=settings, headers=self.headers)
