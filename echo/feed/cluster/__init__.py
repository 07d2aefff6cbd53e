"""The other nodes of the site: who they are, what they answer, and what all of them do.

Stands above the hub and the relay, which know nothing of it. This is its door.
"""

from echo.feed.cluster.cluster import Cluster
from echo.feed.cluster.connections import (
    ConnectionList,
    ConnectionRow,
    EndConnections,
    EndedConnections,
    ListConnections,
)
from echo.feed.cluster.deliveries import (
    CountDeliveries,
    CountReaders,
    GetReceipt,
    Receipt,
)
from echo.feed.cluster.presence import NodeList, NodeState
from echo.feed.cluster.survey import Question, Survey
from echo.feed.tallies import STATS_TOPIC

__all__ = [
    "STATS_TOPIC",
    "Cluster",
    "ConnectionList",
    "ConnectionRow",
    "CountDeliveries",
    "CountReaders",
    "EndConnections",
    "EndedConnections",
    "GetReceipt",
    "ListConnections",
    "NodeList",
    "NodeState",
    "Question",
    "Receipt",
    "Survey",
]
