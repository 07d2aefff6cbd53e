"""The site's one Django app, with the echo and the feed."""

from django.apps import AppConfig


class EchoConfig(AppConfig):
    name = "echo"
    verbose_name = "wsdemo"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from echo import checks  # noqa: F401 -- registers them
        from echo.feed import announce_changed_accounts

        announce_changed_accounts()
