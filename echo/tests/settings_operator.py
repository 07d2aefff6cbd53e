"""The site's settings with the URLs of echo.tests.operator."""

from wsdemo.settings import *  # noqa: F403

ROOT_URLCONF = "echo.tests.operator"
