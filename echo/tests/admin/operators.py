"""Signs in operators with just the permissions that a test is about."""

from django.contrib.auth.models import Permission, User
from django.test import AsyncClient


async def sign_in(client: AsyncClient, *permissions: str) -> None:
    """Sign in ann, a member of staff with these permissions only."""
    user = await User.objects.acreate_user("ann", is_staff=True)
    found = Permission.objects.filter(codename__in=permissions)
    await user.user_permissions.aset([permission async for permission in found])
    await client.aforce_login(user)
