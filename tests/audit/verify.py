"""Hold an auditor's folder against the signatures in it: `python verify.py FOLDER CHAIN_ID`. Shares no code with the project."""

import csv
import sys
from collections import Counter, defaultdict
from hashlib import blake2b
from pathlib import Path

import msgpack
from nacl.signing import VerifyKey


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


class Audit:
    def __init__(self, folder, chain_id):
        self.rounds, self.parent, self.earned, self.packed = 0, None, Counter(), Counter()
        self.motions, self.keys = defaultdict(set), {}  # who is for what; which key a member has rotated to
        self.tables = {name: defaultdict(list) for name in ("rounds", "contributions", "operations", "movements", "members")}
        for name, rows in self.tables.items():
            for row in csv.DictReader((folder / f"{name}.csv").read_text(encoding="utf-8").splitlines()):
                rows[int(row.get("model", 0))].append(row)
        with (folder / "chain.msgpack").open("rb") as file:
            parts = msgpack.Unpacker(file, max_buffer_size=2**30)
            genesis = next(parts)
            self.chain = digest("chain", pack(*genesis[1:]))
            self.need(self.chain == chain_id, "the genesis is that of another chain")
            _, _, self.params, _, self.managers, members, self.committee, pool, *_ = genesis[2:]
            self.held = Counter({node.hex(): balance for node, balance in members} | {"pool": pool, "burnt": 0})
            for segment in parts:
                self.round(*segment[2:])
        self.need(self.rounds == len(self.tables["rounds"]), f"{len(self.tables['rounds'])} rounds in the table")
        for row in self.tables["members"][0]:
            due = [str(one[row["node"]]) for one in (self.held, self.earned, self.packed)]
            self.need([row["held"], row["earned"], row["packed"]] == due, f"other sums of member {row['node'][:8]}")

    def need(self, holds, text):
        if not holds:
            raise ValueError(f"round {self.rounds}: {text}")

    def round(self, segment, certificate):
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
        paid = self.scores(updates, body, cards)
        # 4. What the tables say of it.
        (row,) = self.tables["rounds"][self.rounds]
        told = {"signers": [author for author, _ in signatures], "committee": deciding, "block": [block], "root": [model[6][0]]}
        for name, values in told.items():
            self.need(row[name] == " ".join(value.hex() for value in values), f"the table has another {name}")
        carried = [[kind, one[0][0].hex(), digest("operation", pack(44, kind, one)).hex()] for kind, one in operations]
        told = [[one["kind"], one["author"], one["id"]] for one in self.tables["operations"][self.rounds]]
        self.need(told == carried, "the table has other operations")
        self.movements(paid, body[4])
        self.parent, self.committee = parent, model[8][5]

    def quorum(self, signatures, members, payload):
        self.need(len({author for author, _ in signatures} & set(members)) == len(signatures) == quorum(members), "no quorum")
        for author, signature in signatures:
            signed(author, payload, signature)

    def scores(self, updates, body, cards):
        """Each packed update is worth the median of what the cards say, and is paid by its part of all gains."""
        entries = defaultdict(list)
        for card in cards:
            for uploader, offer, root, gain, accuracy, *_ in card[7]:
                entries[uploader, offer, root].append((gain, accuracy))
        packed, rows = [update for update in updates if update[0]], self.tables["contributions"][self.rounds]
        places = {int(row["place"]): row for row in rows if row["place"]}
        self.need(sorted(places) == list(range(len(packed))), "the table has other places")
        gains, paid = {}, dict(body[3])
        for place, ((author, payload, _), score, gain, accuracy) in enumerate(packed):
            root = msgpack.unpackb(payload)[7][0]
            found = entries[author, digest("message", author, payload), root]
            middle = (len(cards) - 1) // 2 - len(cards) + len(found)  # who names it not says the worst
            medians = [sorted(column)[middle] for column in zip(*found, strict=True)] if middle >= 0 else None
            self.need([gain, accuracy] == medians, f"the score of place {place} does not follow from the cards")
            self.need(score == (gain if self.params[9] == "gain" else accuracy), f"place {place} is ranked by another rule")
            told = {"uploader": author.hex(), "update": root.hex(), "weight": body[2][place], "gain": gain, "accuracy": accuracy}
            for name, value in (told | {"score": score, "reward": paid.get(author, 0)}).items():
                self.need(places[place][name] == str(value), f"the table has another {name} of place {place}")
            gains[author] = max(gain, 0)
            self.packed[author.hex()] += 1
        for row in rows:
            key = tuple(bytes.fromhex(row[name]) for name in ("uploader", "offer", "update"))
            self.need(int(row["entries"]) == len(entries[key]), "the table has another number of cards for an update")
        payout, total = self.held["pool"] * self.params[14] // 1_000_000, sum(gains.values())
        due = {node: payout * gain // total for node, gain in gains.items() if total}
        order = sorted(due, key=lambda node: (-(payout * gains[node] % total), node))
        due.update({node: due[node] + 1 for node in order[: payout - sum(due.values())]})
        self.need({node: amount for node, amount in due.items() if amount} == paid, "rewards that do not follow from the gains")
        return paid

    def movements(self, paid, carried):
        """Nothing comes from nowhere: rewards leave the pool, the rest is moved by what was signed, each round sums to nothing."""
        rewarded, before = Counter({node.hex(): amount for node, amount in paid.items()}), Counter(self.held)
        self.earned.update(rewarded)
        rewarded["pool"] -= sum(paid.values())
        self.held.update(rewarded)
        for kind, ((author, payload, _), *_) in carried:
            self.operate(kind, author, msgpack.unpackb(payload)[5:])
        rows = {row["holder"]: row for row in self.tables["movements"][self.rounds]}
        if any(kind == "kick" for kind, _ in carried):  # how much was its deposit, only the ledger's own rules tell
            self.held.update({holder: int(row["held"]) - self.held[holder] for holder, row in rows.items()})
        for holder in {*rows, *self.held}:
            row = rows.get(holder, {"by_rewards": 0, "by_operations": 0, "held": before[holder]})
            due = [rewarded[holder], self.held[holder] - before[holder] - rewarded[holder], self.held[holder]]
            self.need([int(row[name]) for name in ("by_rewards", "by_operations", "held")] == due, f"other units of {holder[:8]}")
        self.need(sum(self.held.values()) == sum(before.values()) and min(self.held.values()) >= 0, "units from nowhere")

    def operate(self, kind, author, said):
        """What an operation moves, and what a quorum of managers decides by it."""
        motion = self.motions[kind, *said] if kind in ("appoint", "dismiss", "set", "replace") else None
        if motion is not None:
            motion.add(author)
            if len(motion & set(self.managers)) < quorum(self.managers) and (kind, said[0]) != ("dismiss", author):
                return
            del self.motions[kind, *said]
        if kind in ("transfer", "pay"):
            for taker, amount in [(said[0], said[1])] if kind == "transfer" else [(b"", said[2]), (said[0], said[3])]:
                self.move(author.hex(), taker.hex() or "pool", amount)
        elif kind in ("evidence", "dismiss"):
            node = self.now(author if kind == "evidence" else said[0])
            self.move(node.hex(), "burnt", self.held[node.hex()] if kind == "evidence" else 0)
            self.managers = [one for one in self.managers if one != node or len(self.managers) == 1]
        elif kind in ("rotate", "replace"):
            old, new = (author, said[0]) if kind == "rotate" else (self.now(said[0]), said[1])
            self.keys.update({old: new} if kind == "rotate" else {})
            self.move(old.hex(), new.hex(), self.held[old.hex()])
            self.managers = [new if node == old else node for node in self.managers]
            self.motions = defaultdict(set, {key: {self.now(node) for node in those} for key, those in self.motions.items()})
        elif kind == "appoint":
            self.managers = [*self.managers, said[0]]
        elif kind == "set" and said[0] == "reward_share":
            self.params[14] = said[1]

    def move(self, giver, taker, amount):
        self.held.update({giver: -amount, taker: amount} if giver != taker else {})

    def now(self, key):
        return self.now(self.keys[key]) if key in self.keys else key


if __name__ == "__main__":
    try:
        audit = Audit(Path(sys.argv[1]), bytes.fromhex(sys.argv[2]))
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the folder, it does not hold
        sys.exit(f"does not hold: {type(error).__name__}: {error}")
    sys.stdout.write(f"holds: {audit.rounds} rounds, block {audit.parent.hex() if audit.parent else '-'}\n")
