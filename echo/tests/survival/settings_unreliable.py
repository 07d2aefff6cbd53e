"""The site's settings with a channel layer that drops, delays and reorders doorbells."""

from wsdemo.settings import *  # noqa: F403
from wsdemo.settings import CHANNEL_LAYERS

CHANNEL_LAYERS["default"]["BACKEND"] = "echo.tests.survival.layers.UnreliableLayer"
