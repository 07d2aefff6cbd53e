"""Names static files by their content, and rewrites the imports of ES modules to match."""

from django.contrib.staticfiles.storage import ManifestStaticFilesStorage


class StaticStorage(ManifestStaticFilesStorage):
    """Hashed names after ``collectstatic`` has run, plain names before.

    Django raises for a file that is not in the manifest. This class returns the plain name,
    which the static middleware serves from the apps: a site works before its first
    ``collectstatic``, only without files cached for ever.
    """

    support_js_module_import_aggregation = True

    def stored_name(self, name: str) -> str:
        try:
            return super().stored_name(name)
        except ValueError:
            return name
