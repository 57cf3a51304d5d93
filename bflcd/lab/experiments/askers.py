"""What askers among the daemons of testnets know of the other nodes' rows at the end of what was run."""

from collections.abc import Sequence

from bflcd.lab.disclosures import HERE
from bflcd.lab.experiments.questions import known_of
from bflcd.lab.questions.listening import Listened
from bflcd.lab.report import Report


def askers_report(listened: Sequence[Listened]) -> Report:
    """Of one or several testnets together. Raises UsageError (`bad_setting`) if nobody sat in enough rounds."""
    learned = [one for found in listened for one in found.learned]
    records = [one for found in listened for one in found.records]
    tables, data = known_of(learned, records, (HERE,))
    told = [{"rounds": one.rounds, "questions": one.questions, "others": one.others} for one in listened]
    notes = tuple(
        f"{one.rounds} rounds: {one.questions} questions were heard, {one.others} offers of the askers were none"
        for one in listened
    )
    return Report("askers", "What daemons that ask learn of the others' rows", tables, data | {"testnets": told}, notes=notes)
