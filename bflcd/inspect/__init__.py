"""A chain looked at without a daemon: read beside one, or checked from the genesis on."""
