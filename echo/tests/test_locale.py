"""The Chinese texts: all there, and compiled."""

import re
from gettext import GNUTranslations

import pytest
from django.conf import settings

MESSAGES = settings.LOCALE_PATHS[0] / "zh_Hans" / "LC_MESSAGES"
ENTRY = re.compile(r'^msgid "(.+)"\nmsgstr "(.*)"$', re.MULTILINE)
PLACEHOLDER = re.compile(r"\{\w+\}|%\(\w+\)s|</?kbd>")


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Return the source file's texts and their translations."""
    return dict(ENTRY.findall((MESSAGES / "django.po").read_text()))


def unescaped(text: str) -> str:
    return text.replace(r"\"", '"')


def test_every_text_is_translated(texts: dict[str, str]) -> None:
    assert len(texts) > 150
    assert [text for text, translation in texts.items() if not translation] == []


def test_every_place_for_a_value_survives_the_translation(
    texts: dict[str, str],
) -> None:
    for text, translation in texts.items():
        assert sorted(PLACEHOLDER.findall(text)) == sorted(
            PLACEHOLDER.findall(translation)
        ), text


def test_the_compiled_file_is_the_source_file(texts: dict[str, str]) -> None:
    """Otherwise: manage.py compilemessages -l zh_Hans."""
    with (MESSAGES / "django.mo").open("rb") as file:
        compiled = GNUTranslations(file)
    for text, translation in texts.items():
        assert compiled.gettext(unescaped(text)) == unescaped(translation)
