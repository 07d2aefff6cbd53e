"""What a token's owner may still do decides what the token may."""

import pytest
from django.contrib.auth.models import Permission, User

from echo.models import Token


def fresh(token: Token) -> Token:
    """The token as the next request finds it: permissions are cached on a user."""
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
