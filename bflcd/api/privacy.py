"""What the route of the privacy bounds answers."""

from bflcd.api.route import Backend, Call
from bflcd.api.schema.privacy import PrivacyView


async def privacy(backend: Backend, _: Call) -> PrivacyView:
    """As they stand now."""
    return backend.node.privacy()
