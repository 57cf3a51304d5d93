"""What holds for all tests."""

from hypothesis import settings

# How long an example takes is no property of the code: on a busy machine one that is right would be called too slow.
settings.register_profile("bflcd", deadline=None)
settings.load_profile("bflcd")
