"""The pages have what their modules need, and agree with the server."""

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.template.loader import render_to_string
from django.test import Client, RequestFactory
from django.utils import translation
from django.views import defaults

from echo.knobs import PARSERS, TOKEN, KnobError, Knobs
from echo.protocol import SENDABLE_CLOSE_CODES, CloseCode
from echo.views.pages import KnobField, knob_groups

CAP = settings.ECHO_MAX_MESSAGE_BYTES
MODULES = Path(settings.BASE_DIR) / "echo" / "static" / "echo"
FIELDS = [field for group in knob_groups() for field in group.fields]
BOUNDED = [field for field in FIELDS if field.highest]
# What text() is called with in a module: a key, or for a few the beginning of one.
TEXT_KEY = re.compile(r"""\b(?:text\(|key: |PayloadError\()\s*["`](\w+)""")
CHINESE = re.compile("[\u4e00-\u9fff]")
# What a peer can send, and what a browser tells by itself.
SHOWN_CODES = {
    *(code for codes in SENDABLE_CLOSE_CODES for code in codes),
    1005,
    1006,
    1015,
}


# The directory of each page's modules, beside those that pages share.
PAGES = {"console": "/", "live": "/live/"}
SHARED = ("log", "feed", "site")


@pytest.fixture
def console(client: Client) -> str:
    """The console's HTML."""
    return client.get("/").content.decode()


def is_accepted(name: str, value: str) -> bool:
    try:
        Knobs.from_query(f"{name}={value}".encode(), max_message_size=CAP)
    except KnobError:
        return False
    return True


def beyond(value: str, step: int) -> str:
    """Return the value one step further, in the same unit."""
    number = re.match(r"\d+", value)
    assert number
    return f"{int(number[0]) + step}{value[number.end() :]}"


def javascript(*directories: str) -> str:
    """Return the text of the modules in the directories, by default in all."""
    paths = [p for each in directories or [""] for p in (MODULES / each).rglob("*.js")]
    return "\n".join(path.read_text() for path in paths)


def test_the_form_has_every_knob_once() -> None:
    names = [field.name for field in FIELDS]
    assert sorted(names) == sorted([*PARSERS, "max_message_size"])


@pytest.mark.parametrize("field", BOUNDED, ids=lambda field: field.name)
def test_the_range_beside_a_knob_is_the_one_the_server_judges_by(
    field: KnobField,
) -> None:
    assert is_accepted(field.name, field.lowest)
    assert is_accepted(field.name, field.highest)
    assert not is_accepted(field.name, beyond(field.lowest, -1))
    assert not is_accepted(field.name, beyond(field.highest, +1))


@pytest.mark.parametrize(
    "field", [field for field in BOUNDED if "seed" not in field.name]
)
def test_the_range_in_words_names_both_bounds(field: KnobField) -> None:
    words = str(field.range).replace(",", "")
    assert words.startswith(f"{field.lowest} – {field.highest}")


def test_the_ranges_of_close_codes_are_the_servers() -> None:
    [field] = [field for field in FIELDS if field.name == "close_code"]
    bounds = [int(code) for code in re.findall(r"\d+", str(field.range))]
    assert all(is_accepted("close_code", str(code)) for code in bounds)
    for low, high in zip(bounds[::2], bounds[1::2], strict=True):
        assert not is_accepted("close_code", str(low - 1))
        assert not is_accepted("close_code", str(high + 1))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("directory", PAGES)
def test_the_page_has_every_text_that_a_module_asks_for(
    client: Client, directory: str
) -> None:
    html = client.get(PAGES[directory]).content.decode()
    keys = set(re.findall(r'data-text="(\w+)"', html))
    asked = set(TEXT_KEY.findall(javascript(directory, *SHARED)))
    assert len(asked) > 10
    missing = {ask for ask in asked if not any(key.startswith(ask) for key in keys)}
    assert missing == set()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "path", ["/", "/live/", "/transports/", "/market/", "/protocol/"]
)
def test_no_two_texts_of_a_page_have_the_same_name(client: Client, path: str) -> None:
    """One section's text would be shown in the other."""
    names = re.findall(r'data-text="(\w+)"', client.get(path).content.decode())
    assert len(names) == len(set(names)), [n for n in names if names.count(n) > 1]


@pytest.mark.parametrize("code", [code for code in CloseCode if code < 3000])
def test_every_close_code_of_the_echo_is_explained(
    console: str, code: CloseCode
) -> None:
    assert f'data-text="close_{code.value}"' in console


def test_every_code_that_a_browser_can_show_is_explained(console: str) -> None:
    for code in (code for code in SHOWN_CODES if code < 3000):
        assert f'data-text="close_{code}"' in console


def test_the_twin_of_the_status_for_a_refusal_by_chance_is_the_servers() -> None:
    knobs = Knobs.from_query(b"failure_rate=1", max_message_size=CAP)
    status = knobs.refusal(knobs.random_generator())
    assert f"REFUSED_BY_CHANCE = {status};" in javascript()


def test_the_twin_of_a_subprotocols_alphabet_is_the_servers() -> None:
    assert f"TOKEN = /^{TOKEN.pattern}$/;" in javascript()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("page", PAGES.values())
def test_modules_hold_no_text_of_their_own(client: Client, page: str) -> None:
    """In Chinese, a module shows no English text."""
    client.cookies["django_language"] = "zh-hans"
    with translation.override("zh-hans"):  # the request's language outlives it
        html = client.get(page).content.decode()
    texts = dict(re.findall(r'data-text="(\w+)">([^<]*)<', html))
    assert len(texts) > 30
    untranslated = {
        key: text
        for key, text in texts.items()
        if re.search("[A-Za-z]{3}", re.sub(r"{\w+}", "", text))
        and not CHINESE.search(text)
    }
    assert untranslated == {}


@pytest.mark.parametrize("status", ["400", "403", "404", "500"])
def test_error_pages_need_no_request(status: str) -> None:
    html = render_to_string(f"{status}.html")
    assert f">{status}<" in html
    assert "<h1>" in html


def test_a_broken_view_is_answered_with_the_sites_own_page() -> None:
    response = defaults.server_error(RequestFactory().get("/"))
    assert response.status_code == 500
    assert "Something broke" in response.content.decode()
