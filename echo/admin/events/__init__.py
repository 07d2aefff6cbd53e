"""Events in the admin; importing the package registers them."""

from echo.admin.events.admin import EventAdmin

__all__ = ["EventAdmin"]
