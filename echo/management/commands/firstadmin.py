"""``manage.py firstadmin``: creates the first superuser of a new site."""

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from django.utils.crypto import get_random_string

PASSWORD_CHARACTERS = 16


class Command(BaseCommand):
    help = (
        "Creates the superuser `admin` with a random password, which is shown this once. "
        "Does nothing when there is a superuser."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if User.objects.filter(is_superuser=True).exists():
            return
        if User.objects.filter(username="admin").exists():
            raise CommandError(
                "expected no user, or a superuser, called admin; got one who is no "
                "superuser. Make a superuser with: manage.py createsuperuser"
            )
        password = get_random_string(PASSWORD_CHARACTERS)
        User.objects.create_superuser("admin", password=password)
        self.stdout.write(
            f"first user: admin, password: {password} (shown this once; "
            "`manage.py changepassword admin` sets another)"
        )
