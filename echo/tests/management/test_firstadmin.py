"""``manage.py firstadmin``: creates one superuser, and shows the password once."""

import re
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

pytestmark = pytest.mark.django_db


def run() -> str:
    out = StringIO()
    call_command("firstadmin", stdout=out)
    return out.getvalue()


def test_the_password_that_is_shown_logs_in(client: Client) -> None:
    match = re.search(r"first user: admin, password: (\w{16}) ", run())
    assert match is not None
    assert client.login(username="admin", password=match[1])
    assert client.get("/admin/").status_code == 200


def test_two_sites_get_two_passwords() -> None:
    first = run()
    User.objects.all().delete()
    assert run() != first


def test_nothing_happens_when_there_is_a_superuser() -> None:
    User.objects.create_superuser("somebody")
    assert run() == ""
    assert not User.objects.filter(username="admin").exists()


def test_an_admin_who_is_no_superuser_is_left_alone() -> None:
    User.objects.create_user("admin")
    with pytest.raises(CommandError, match="createsuperuser"):
        run()
    assert not User.objects.filter(is_superuser=True).exists()
