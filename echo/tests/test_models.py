"""Tokens are as strong as their owners, and connections and nodes have no table."""

from io import StringIO

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import connection

from echo.models import Connection, Node, Token

UNSTORED = {"echo_connection", "echo_node"}


def fresh(token: Token) -> Token:
    """Return the token as the next request finds it: permissions are cached on a user."""
    return Token.objects.get(pk=token.pk)


@pytest.mark.django_db
def test_a_token_may_publish_for_as_long_as_its_owner_may() -> None:
    owner = User.objects.create_user("ada")
    permission = Permission.objects.get(codename="add_event")
    owner.user_permissions.add(permission)
    token = Token.objects.create(name="tests", owner=owner)
    assert fresh(token).owner_may_publish()
    owner.user_permissions.remove(permission)
    assert not fresh(token).owner_may_publish()
    User.objects.update(is_superuser=True)
    assert fresh(token).owner_may_publish()
    User.objects.update(is_active=False)
    assert not fresh(token).owner_may_publish()


@pytest.mark.django_db
def test_a_token_without_an_owner_may_publish() -> None:
    assert Token.objects.create(name="tests").owner_may_publish()


# --- connections and nodes -------------------------------------------------------------


@pytest.mark.django_db
def test_the_models_and_the_migrations_agree() -> None:
    call_command("makemigrations", "--check", "--dry-run", stdout=StringIO())


@pytest.mark.django_db
def test_connections_and_nodes_have_permissions_and_no_table() -> None:
    assert UNSTORED.isdisjoint(connection.introspection.table_names())
    assert not Connection.objects.exists()
    assert not Node.objects.exists()
    names = {"view_connection", "end_connection", "view_node"}
    assert Permission.objects.filter(codename__in=names).count() == 3


@pytest.mark.django_db(transaction=True)
def test_the_empty_tables_of_an_older_database_are_dropped() -> None:
    call_command("migrate", "echo", "0003", verbosity=0)
    with connection.schema_editor() as editor:
        for table in sorted(UNSTORED):
            editor.execute(f"CREATE TABLE {table} (id varchar(20) PRIMARY KEY)")
    call_command("migrate", "echo", verbosity=0)
    assert UNSTORED.isdisjoint(connection.introspection.table_names())
