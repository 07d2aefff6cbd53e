"""The experiment Market: trades that come through the feed and become candles in a page.

``walk`` invents trades, ``csvfile`` reads somebody's own, ``pace`` says when each is due, and
``visitors`` runs one market for all visitors of a site.
"""
