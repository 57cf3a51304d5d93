"""One harness under atheris: `python -m tests.fuzz.drive NAME [libFuzzer options] CORPUS`. `make fuzz` starts these."""

import sys

import atheris

CHECK_EVERY = 250
"""Inputs after which a harness looks whether what it attacks still serves honest peers."""


def main() -> None:
    """Fuzz until the inputs are used up, or one of them raises."""
    name, *options = sys.argv[1:]
    with atheris.instrument_imports(include=["bflcd", "bflc_cli"]):
        from tests.fuzz.slowest import Slowest
        from tests.fuzz.target import FOLDER, HARNESSES, target

        if name not in HARNESSES:
            sys.exit(f"{name!r} is no harness: {', '.join(HARNESSES)}")
        found = target(name)
    found.one(next(iter(found.seeds()), b""))  # whatever is made once is made before memory and speed count

    count = 0
    kept = FOLDER / "slowest" / name
    kept.parent.mkdir(parents=True, exist_ok=True)
    timed = Slowest(found, kept)

    def one(data: bytes) -> None:
        nonlocal count
        timed(data)
        count += 1
        if count % CHECK_EVERY == 0:
            found.quiet()

    atheris.Setup([sys.argv[0], f"-max_len={found.longest}", *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
