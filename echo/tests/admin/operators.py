"""Operators who may do just what a test is about."""

from django.contrib.auth.models import Permission, User
from django.test import AsyncClient


async def sign_in(client: AsyncClient, *permissions: str) -> None:
    """Signs in ann, a member of the staff with these permissions alone."""
    user = await User.objects.acreate_user("ann", is_staff=True)
    found = Permission.objects.filter(codename__in=permissions)
    await user.user_permissions.aset([permission async for permission in found])
    await client.aforce_login(user)
