"""Live connections in the admin; importing the package registers them."""

from echo.admin.connections.admin import ConnectionAdmin

__all__ = ["ConnectionAdmin"]
