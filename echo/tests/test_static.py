"""Static files: every file that a page refers to is served, under its hashed name."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from django.core.files.base import ContentFile

from echo.tests.live import COMMANDS, PATIENCE_SECONDS, LiveSite
from wsdemo.static import StaticStorage

PAGES = ["/", "/live/", "/transports/", "/market/", "/protocol/", "/admin/login/"]
PRODUCTION = {
    "DEBUG": "off",
    "HTTPS": "off",
    "SECRET_KEY": "only-for-this-test",
    "ALLOWED_HOSTS": "127.0.0.1",
}
# In a page, in a stylesheet, in a module.
LINK = re.compile(
    r"""<(?:link|script|img)\b[^>]*?\b(?:href|src)=["']([^"'#]+)"""
    r"""|url\(["']?([^"')#]+)"""
    r"""|\b(?:from|import|import\()\s*["'](\.[^"']+)"""
)
HASHED = re.compile(r"\.[0-9a-f]{12}\.\w+$")


def static_files(site: LiveSite, page: str) -> dict[str, httpx.Response]:
    """Return the static files that a page refers to, directly or through others."""
    found: dict[str, httpx.Response] = {}
    with httpx.Client(base_url=site.url, timeout=PATIENCE_SECONDS) as client:
        follow(client, page, client.get(page).raise_for_status().text, found)
    return found


def follow(
    client: httpx.Client, url: str, text: str, found: dict[str, httpx.Response]
) -> None:
    for groups in LINK.findall(text):
        target = urljoin(url, "".join(groups))
        if target.startswith("/static/") and target not in found:
            found[target] = client.get(target)
            if target.endswith((".js", ".css")):
                follow(client, target, found[target].text, found)


def assert_whole(files: dict[str, httpx.Response]) -> None:
    """Check that every file is served with the right content."""
    assert any(url.endswith(".css") for url in files)
    assert {url: r.status_code for url, r in files.items()} == dict.fromkeys(files, 200)
    for url, response in files.items():
        kind = {".css": "text/css", ".js": "text/javascript"}.get(Path(url).suffix, "")
        assert response.headers["content-type"].startswith(kind)


@pytest.mark.parametrize("page", PAGES)
def test_pages_are_whole_with_debug_on(site: LiveSite, page: str) -> None:
    assert_whole(static_files(site, page))


@pytest.fixture(scope="module", params=COMMANDS)
def production_site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveSite]:
    """The site with DEBUG off, before its first collectstatic."""
    directory = tmp_path_factory.mktemp("production")
    environment = {**PRODUCTION, "STATIC_ROOT": str(directory / "static")}
    with LiveSite(request.param, directory, **environment) as live:
        yield live


@pytest.mark.parametrize("page", PAGES)
def test_pages_are_whole_before_collectstatic(
    production_site: LiveSite, page: str
) -> None:
    assert_whole(static_files(production_site, page))


def test_collectstatic_names_files_by_their_content(production_site: LiveSite) -> None:
    production_site.stop()
    production_site.manage("collectstatic", "--no-input", "-v0")
    production_site.start()
    for page in PAGES:
        files = static_files(production_site, page)
        assert_whole(files)
        assert [url for url in files if not HASHED.search(url)] == []
        for response in files.values():
            assert "immutable" in response.headers["cache-control"]


Collect = Callable[[dict[str, str]], dict[str, str]]


@pytest.fixture
def collect(tmp_path: Path) -> Collect:
    """Run files through the storage; return what each became, by name."""

    def run(files: dict[str, str]) -> dict[str, str]:
        storage = StaticStorage(location=tmp_path)
        for name, text in files.items():
            storage.save(name, ContentFile(text.encode()))
        paths = {name: (storage, name) for name in files}
        for _ in storage.post_process(paths):
            pass
        return {
            name: (tmp_path / storage.stored_name(name)).read_text() for name in files
        }

    return run


@pytest.mark.parametrize(
    "statement",
    [
        'import { x } from "./b.js";',
        'import "./b.js";',
        'export { x } from "./b.js";',
        'const b = await import("./b.js");',
        'import {\n  x,\n  y,\n} from "./b.js";',
    ],
)
def test_imports_of_modules_are_rewritten(collect: Collect, statement: str) -> None:
    text = collect({"a.js": statement + "\n", "b.js": "export const x = 1;\n"})["a.js"]
    assert "./b.js" not in text
    assert re.search(r'"\./b\.[0-9a-f]{12}\.js"', text)


def test_a_file_that_was_not_collected_keeps_its_name(tmp_path: Path) -> None:
    assert StaticStorage(location=tmp_path).stored_name("echo/a.js") == "echo/a.js"
