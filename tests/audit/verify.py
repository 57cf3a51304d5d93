"""Hold an auditor's folder against the signatures in it: `python verify.py FOLDER CHAIN_ID`. Shares no code with the project."""

import csv
import json
import sys
from collections import Counter, defaultdict
from hashlib import blake2b
from pathlib import Path

import msgpack
from nacl.signing import VerifyKey

UNPROVED = {"reason", "text", "standing"}  # columns of which only that something stands there is known
DOUBTED = 2_000  # from here on a judge's cards are not paid
REFUSED = -1  # the gain on a card of an update that harms
NEVER = -1  # the round of what has not been


def digest(domain, *parts):
    state = blake2b(digest_size=32, person=f"bflc1.{domain}".encode())
    for part in parts:
        state.update(len(part).to_bytes(8, "big") + part)
    return state.digest()


def pack(number, *fields):
    return msgpack.packb([1, number, *fields], use_bin_type=True)


def signed(author, payload, signature):
    VerifyKey(author).verify(digest("sign", payload), signature)


def quorum(members):
    return len(members) - (len(members) - 1) // 3


def blank(envelope):
    return envelope and [envelope[0], envelope[1], bytes(64)]


def low(numbers):
    return sorted(numbers)[(len(numbers) - 1) // 2] if numbers else None


def cell(value):
    """A value as a spreadsheet has it."""
    if isinstance(value, list):
        return " ".join(map(cell, value))
    if isinstance(value, str):
        return f"'{value}" if value[:1] in {"=", "+", "-", "@"} else value
    return value.hex() if isinstance(value, bytes) else "" if value is None else str(int(value))


class Audit:
    def __init__(self, folder, chain_id):
        self.rounds, self.parent, self.earned, self.moved, self.packed = 0, None, Counter(), Counter(), Counter()
        self.rows = {name: [] for name in ("rounds", "contributions", "operations", "movements", "members")}
        with (folder / "chain.msgpack").open("rb") as file:
            parts = msgpack.Unpacker(file, max_buffer_size=2**30)
            genesis = next(parts)
            self.chain = digest("chain", pack(*genesis[1:]))
            self.need(self.chain == chain_id, "the genesis is that of another chain")
            _, _, self.params, _, self.managers, members, self.committee, pool, *_ = genesis[2:]
            self.held, self.deposits = dict(members) | {"pool": pool, "burnt": 0}, {}
            self.first, self.share, self.doubted = dict.fromkeys(self.held, 0), self.params[21], set()
            self.active, self.belong = self.params[17], len(members)
            for segment, ledger in zip(parts, parts, strict=True):
                self.round(*segment[2:], ledger)
        sums = {"first": self.first, "packed": self.packed, "earned": self.earned, "moved": self.moved, "held": self.held}
        for node, deposit in self.deposits.items():
            self.row("members", node=node, standing=True, deposit=deposit, **{name: one[node] for name, one in sums.items()})
        for name, due in self.rows.items():
            sheet = list(csv.DictReader((folder / f"{name}.csv").read_text(encoding="utf-8").splitlines()))
            self.need(len(sheet) == len(due), f"{len(sheet)} rows in the table {name}, {len(due)} follow from the chain")
            for place, (said, row) in enumerate(zip(sheet, due, strict=True)):
                found = {column: cell(bool(value)) if column in UNPROVED else value for column, value in said.items()}
                wrong = " and ".join(column for column in row | found if row.get(column) != found.get(column))
                self.need(not wrong, f"another {wrong} in line {place} of the table {name}")
            told = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
            same = [{column: cell(value) for column, value in row.items()} for row in told] == sheet
            self.need(same, f"{name}.json says other things than {name}.csv")

    def need(self, holds, text):
        if not holds:
            raise ValueError(f"round {self.rounds}: {text}")

    def row(self, table, **columns):
        """What has to stand there."""
        self.rows[table].append({name: cell(value) for name, value in columns.items()})

    def round(self, segment, certificate, ledger):
        headers, updates, body = segment
        self.rounds, model, epoch = self.rounds + 1, headers[-1], headers[-1][8][0]
        self.need(model[2] == self.rounds, f"round {model[2]} stands here")
        # 1. Links: every block to the one before it, each header to its body.
        parent = opened = headers[0][4] if self.parent is None else self.parent
        bodies = [pack(11, blank(update[0]), *update[1:]) for update in updates]
        operations = [[kind, [blank(envelope) for envelope in said]] for kind, said in body[4]]
        bodies.append(pack(22, [blank(card) for card in body[0]], *body[1:4], operations, *body[5:]))
        for index, header in enumerate(headers):
            self.need(header[0] == self.chain and header[4] == parent, f"block {header[1]} does not follow the one before")
            self.need(header[1] == (self.rounds - 1) * len(headers) + index + 1, f"block {header[1]} has a wrong height")
            self.need(header[5] == digest("body", bodies[index]), f"block {header[1]} has another body than it says")
            parent = digest("header", pack(100, *header))
        # 2. Who decided: a quorum of the committee that the block before names, or that a quorum of managers gave the round.
        *place, committee, block, signatures, recovery = certificate
        deciding = judging = self.committee
        if recovery:
            self.need(recovery[0][:4] == [self.chain, self.rounds - 1, place[2], opened], "a recovery of another round")
            self.quorum(recovery[2], self.managers, pack(37, *recovery[0]))
            deciding = judging = recovery[0][4]
            if recovery[1]:  # it was proposed before, by the committee of then
                judging = recovery[1][0][5][0] if recovery[1][0][5] else self.committee
        here = [self.chain, self.rounds - 1, *place[2:4], opened, parent]
        self.need([*place, block] == here, "a certificate of another block")
        self.need(committee == digest("committee", place[2].to_bytes(8, "big"), *deciding), "a certificate by another committee")
        self.quorum(signatures, deciding, pack(35, *place, committee, block))
        # 3. What it learned from: cards, offers and operations by those whose they are.
        self.need(len({card[0] for card in body[0]} & set(judging)) == len(body[0]) == quorum(judging), "not a quorum's cards")
        for envelope in sum((said for _, said in body[4]), [*body[0], *(update[0] for update in updates if update[0])]):
            signed(*envelope)
        cards = [msgpack.unpackb(payload)[2:] for _, payload, _ in body[0]]
        of = [self.chain, self.rounds - 1, epoch, opened, digest("committee", epoch.to_bytes(8, "big"), *judging)]
        self.need(all(card[:5] == of for card in cards), "a card of another round")
        paid = self.scores(updates, body, cards, [card[0] for card in body[0]], (len(judging) - 1) // 3)
        for index, (kind, said) in enumerate(operations):
            number = None if kind in ("apply", "evidence", "join", "canary") else msgpack.unpackb(said[0][1])[4]
            told = {"number": number, "author": said[0][0], "id": digest("operation", pack(44, kind, said)), "text": True}
            self.row("operations", model=self.rounds, place=index, kind=kind, **told)
        # 4. What it left in the ledger, whose hash its block has.
        self.need(digest("state", pack(*ledger[1:])) == model[8][4], "another ledger than its block says")
        self.movements(paid, ledger[2:])
        told = {"height": model[1], "time": model[7], "epoch": place[2], "view": place[3], "block": block, "packed": len(body[2])}
        told |= {"root": model[6][0], "bytes": model[6][1], "committee": deciding, "signers": [one for one, _ in signatures]}
        told |= {"rewards": sum(paid.values()), "pool": self.held["pool"], "burnt": self.held["burnt"], "step_limit": body[5]}
        told |= {
            f"base_{of}": low([card[n] for card in cards if card[n] is not None]) for n, of in ((5, "loss"), (6, "accuracy"))
        }
        self.row("rounds", model=self.rounds, recovered=bool(recovery), **told)
        self.parent, self.committee = parent, model[8][5]

    def quorum(self, signatures, members, payload):
        self.need(len({author for author, _ in signatures} & set(members)) == len(signatures) == quorum(members), "no quorum")
        for author, signature in signatures:
            signed(author, payload, signature)

    def scores(self, updates, body, cards, judges, faults):
        """Each packed update is worth the median of what the cards say, and is paid by its part of all gains, if not
        most harm, and more than liars can be; cards are paid alike."""
        entries, gains, paid, places = defaultdict(list), {}, dict(body[3]), {}
        for card in cards:
            for uploader, offer, root, *said in card[7]:
                entries[uploader, offer, root].append(said)
        count = Counter(key[0] for key, found in entries.items() if len(found) > faults)
        for place, ((author, payload, _), *worth) in enumerate(update for update in updates if update[0]):
            places[author, digest("message", author, payload), msgpack.unpackb(payload)[7][0]] = place, worth
            gains[author] = max(worth[1], 0)
            self.packed[author] += 1
        self.need(places.keys() <= entries.keys(), "packed is what no card names")
        counted, measured = set(), []
        for key in [*places, *sorted(entries.keys() - places.keys())]:
            found = entries[key]
            known = faults < len(found) and count[key[0]] == 1
            middle = (len(cards) - 1) // 2 - len(cards) + len(found)  # who names it not says the worst
            gain, accuracy = [sorted(one[n] for one in found)[middle] for n in (0, 1)] if known and middle >= 0 else (None, None)
            score = gain if self.params[15] == "gain" else accuracy
            place, worth = places.get(key, (None, [score, gain, accuracy]))
            counted |= {key} if gain is not None else set()
            measured += [gain == REFUSED] if gain is not None else []
            self.need(worth == [score, gain, accuracy], f"the score of place {place} does not follow from the cards")
            told = {"uploader": key[0], "offer": key[1], "update": key[2], "place": place, "reason": place is None}
            told |= {"weight": 0, "reward": 0} if place is None else {"weight": body[2][place], "reward": paid.get(key[0], 0)}
            told |= {"score": score, "gain": gain, "accuracy": accuracy, "norm": low([one[2] for one in found if known])}
            told |= {"entries": len(found), "refusals": sum(one[0] == REFUSED for one in found if known)}
            self.row("contributions", model=self.rounds, **told)
        payout, total = self.held["pool"] * self.share // 1_000_000, sum(gains.values())
        for_cards = payout * self.params[26] // 1_000_000
        payout -= for_cards
        if 2 * sum(measured) > len(measured) and sum(measured) > ((self.belong - 1) // 3 if self.active == 1_000_000 else 2):
            gains, total = {}, 0
        due = {node: payout * gain // total for node, gain in gains.items() if total}
        order = sorted(due, key=lambda node: (-(payout * gains[node] % total), node))
        due.update({node: due[node] + 1 for node in order[: payout - sum(due.values())]})
        for judge, card in zip(judges, cards, strict=True):
            said = sum(tuple(entry[:3]) in counted for entry in card[7])
            if 0 < len(counted) <= 2 * said and not (self.params[27] and not self.params[6] and judge in self.doubted):
                due[judge] = due.get(judge, 0) + for_cards // len(cards)
        self.need({node: amount for node, amount in due.items() if amount} == paid, "rewards that do not follow from the gains")
        return paid

    def movements(self, paid, ledger):
        """Nothing comes from nowhere: rewards leave the pool, operations move the rest, each round sums to nothing."""
        rewarded, before = Counter(paid) + Counter(), Counter(self.held)
        rewarded["pool"] = -sum(paid.values())
        self.deposits = {one[0]: one[15] for one in ledger[7]}
        self.doubted = {one[0] for one in ledger[7] if one[21] >= DOUBTED}
        self.held = {one[0]: one[1] + one[15] for one in ledger[7]} | {"pool": ledger[8], "burnt": ledger[9]}
        self.managers, self.share = ledger[5], dict(ledger[16]).get("reward_share", self.params[21])
        self.active = dict(ledger[16]).get("active_fraction", self.params[17])
        self.belong = sum(one[13] == one[14] == NEVER for one in ledger[7])
        for holder, held in self.held.items():
            self.first.setdefault(holder, self.rounds)
            moved = {"by_rewards": rewarded[holder], "by_operations": held - before[holder] - rewarded[holder]}
            self.earned[holder] += moved["by_rewards"]
            self.moved[holder] += moved["by_operations"]
            if held != before[holder] or rewarded[holder]:
                self.row("movements", model=self.rounds, holder=holder, held=held, **moved)
        self.need(sum(self.held.values()) == sum(before.values()) and min(self.held.values()) >= 0, "units from nowhere")


if __name__ == "__main__":
    try:
        audit = Audit(Path(sys.argv[1]), bytes.fromhex(sys.argv[2]))
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the folder, it does not hold
        sys.exit(f"does not hold: {type(error).__name__}: {error}")
    sys.stdout.write(f"holds: {audit.rounds} rounds, block {audit.parent.hex() if audit.parent else '-'}\n")
