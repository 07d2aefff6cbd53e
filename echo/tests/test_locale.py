"""The Chinese texts: all there, and compiled."""

import ast
import re
from collections.abc import Iterator
from gettext import GNUTranslations

import pytest
from django.conf import settings
from django.utils.translation.template import templatize

from echo.tests.live import ROOT

MESSAGES = settings.LOCALE_PATHS[0] / "zh_Hans" / "LC_MESSAGES"
ENTRY = re.compile(r'^(?:msgctxt "(.+)"\n)?msgid "(.+)"\nmsgstr "(.*)"$', re.MULTILINE)
# Those with a plural have more than one translation.
TEXT = re.compile(r'^msgid "(.+)"$', re.MULTILINE)
# The functions that translate, and the place of the text among their arguments.
CALLS = {"_": 1, "gettext": 1, "gettext_lazy": 1, "ngettext": 1, "pgettext": 2}
# A call of one of them, and a text in it.
CALL = re.compile(
    rf"\b({'|'.join(CALLS)})\(((?:u?(?:'(?:\\.|[^'])*'|\"(?:\\.|[^\"])*\"),?\s*)+)"
)
LITERAL = re.compile(r"""u?(?:'(?:\\.|[^'])*'|"(?:\\.|[^"])*")""")
PLACEHOLDER = re.compile(r"\{\w+\}|%\(\w+\)s|</?kbd>")


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Return the source file's texts, with their contexts, and their translations."""
    entries = ENTRY.findall((MESSAGES / "django.po").read_text())
    return {
        f"{context}\x04{text}" if context else text: translation
        for context, text, translation in entries
    }


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


def texts_of_python(source: str) -> Iterator[str]:
    """Yield the texts that a Python file has translated."""
    for call in ast.walk(ast.parse(source)):
        if isinstance(call, ast.Call):
            name = getattr(call.func, "id", getattr(call.func, "attr", ""))
            arguments = [
                one.value for one in call.args if isinstance(one, ast.Constant)
            ]
            if place := CALLS.get(name):
                yield str(arguments[place - 1])


def texts_of_template(source: str) -> Iterator[str]:
    """Yield the texts that a template has translated."""
    calls = templatize(source, origin="a template")
    for name, arguments in CALL.findall(calls):
        literals = [ast.literal_eval(one) for one in LITERAL.findall(arguments)]
        yield literals[CALLS[name] - 1]


def test_every_text_of_the_site_has_a_translation() -> None:
    """Otherwise: manage.py makemessages -l zh_Hans --no-wrap --add-location file."""
    sources = {
        texts_of_python: [
            path
            for path in (ROOT / "echo").rglob("*.py")
            if not path.is_relative_to(ROOT / "echo" / "tests")
        ],
        texts_of_template: list((ROOT / "templates").rglob("*.html")),
    }
    known = set(map(unescaped, TEXT.findall((MESSAGES / "django.po").read_text())))
    found = {
        text
        for find, paths in sources.items()
        for path in paths
        for text in find(path.read_text())
    }
    assert len(found) > 500
    assert sorted(found - known) == []
