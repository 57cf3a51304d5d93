"""The tasks that come with this software, by name: known without importing any of them."""

from typing import Final

SHIPPED: Final = {
    "digits": "bflcd.learn.tasks.digits:DigitsTask",
    "femnist": "bflcd.learn.tasks.femnist:FemnistTask",
}
"""Looked up first: no installed package can take these names, and a checkout works without being installed."""
