"""The admin's header leads to the site's pages, as the site's own does."""

import pytest
from django.test import Client


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/admin/", "/admin/echo/event/"])
def test_the_admin_leads_to_all_pages(admin_client: Client, path: str) -> None:
    page = admin_client.get(path).content.decode()
    _, _, navigation = page.partition('<nav id="site-pages"')
    navigation = navigation.partition("</nav>")[0]
    for address in ("/", "/live/", "/transports/", "/market/", "/protocol/", "/admin/"):
        assert f'<a href="{address}"' in navigation
