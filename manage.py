#!/usr/bin/env python
"""Django's command-line utility for wsdemo."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from environs import EnvError


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wsdemo.settings")
    try:
        execute_from_command_line(sys.argv)
    except (ImproperlyConfigured, EnvError) as error:
        # The text names the variable and the remedy; a traceback would hide it.
        sys.exit(f"manage.py: {error}")


if __name__ == "__main__":
    main()
