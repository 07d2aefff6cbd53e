"""The documentation points at files that exist."""

import re
from pathlib import Path

import pytest

from echo.tests.live import ROOT

LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")
DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_every_link_leads_somewhere(document: Path) -> None:
    links = LINK.findall(document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []
