"""Hold an auditor's folder against the signatures in it: `python verify.py FOLDER CHAIN_ID`. Shares no code with the project."""

import csv
import json
import sys
from collections import Counter, defaultdict
from hashlib import blake2b
from pathlib import Path

import msgpack
from nacl.signing import VerifyKey

TERMS = ("admission", "motion_rounds", "application_rounds", "entry_fee", "period_fee", "period_rounds")
TERMS += ("deposit", "deposit_rounds")
REFUSED = -1  # the gain on a card of an update that harms


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
    if isinstance(value, list):
        return " ".join(map(cell, value))
    if isinstance(value, str):
        return f"'{value}" if value[:1] in {"=", "+", "-", "@"} else value
    return value.hex() if isinstance(value, bytes) else "" if value is None else str(int(value))


class Audit:
    def __init__(self, folder, chain_id):
        self.rounds, self.parent, self.earned, self.moved, self.packed = 0, None, Counter(), Counter(), Counter()
        # Since when who is for what; keys rotated to; keys that follow, whoever chose them; when who left, for whom; who was punished.
        self.motions, self.keys, self.next, self.left, self.liars = {}, {}, {}, {}, set()
        self.tables = {name: defaultdict(list) for name in ("rounds", "contributions", "operations", "movements", "members")}
        for name, rows in self.tables.items():
            for row in csv.DictReader((folder / f"{name}.csv").read_text(encoding="utf-8").splitlines()):
                rows[int(row.get("model", 0))].append(row)
        with (folder / "chain.msgpack").open("rb") as file:
            parts = msgpack.Unpacker(file, max_buffer_size=2**30)
            genesis = next(parts)
            self.chain = digest("chain", pack(*genesis[1:]))
            self.need(self.chain == chain_id, "the genesis is that of another chain")
            _, _, self.params, _, self.managers, members, self.committee, pool, _, _, terms = genesis[2:]
            self.terms = dict(zip(TERMS, terms, strict=True))
            self.held = Counter({node.hex(): balance for node, balance in members} | {"pool": pool, "burnt": 0})
            self.deposits = Counter({node.hex(): self.terms["deposit"] for node, _ in members})
            self.first = dict.fromkeys(self.held, 0)
            for segment in parts:
                self.round(*segment[2:])
        for name, rows in self.tables.items():
            models = {0} if name == "members" else set(range(1, self.rounds + 1))
            self.need({model for model, found in rows.items() if found} <= models, f"the table {name} has other rounds")
        rows = {row["node"]: row for row in self.tables["members"][0]}
        alone = len(rows) == len(self.tables["members"][0])
        self.need(alone and rows.keys() == self.held.keys() - {"pool", "burnt"}, "other members in the table")
        sums = {"first": self.first, "packed": self.packed, "earned": self.earned, "moved": self.moved, "held": self.held}
        for node, row in rows.items():
            self.told(
                row, f"of member {node[:8]}", deposit=self.deposits[node], **{name: one[node] for name, one in sums.items()}
            )
        for name, rows in self.tables.items():
            told = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
            same = [{column: cell(value) for column, value in row.items()} for row in told] == [
                row for one in rows.values() for row in one
            ]
            self.need(same, f"{name}.json says other things than {name}.csv")

    def need(self, holds, text):
        if not holds:
            raise ValueError(f"round {self.rounds}: {text}")

    def told(self, row, of, **due):
        for name, value in due.items():
            self.need(row[name] == cell(value), f"the table has another {name} {of}")

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
        paid = self.scores(updates, body, cards, (len(judging) - 1) // 3)
        # 4. What the tables say of it.
        self.movements(paid, body[4])
        row, *others = self.tables["rounds"][self.rounds] or [None]
        self.need(row and not others, "the table has not one row of it")
        place = {"height": model[1], "time": model[7], "epoch": place[2], "view": place[3], "block": block}
        place |= {"root": model[6][0], "bytes": model[6][1], "committee": deciding, "signers": [one for one, _ in signatures]}
        units = {"rewards": sum(paid.values()), "pool": self.held["pool"], "burnt": self.held["burnt"]}
        base = {"base_loss": low([card[5] for card in cards if card[5] is not None]), "step_limit": body[5]}
        base |= {"base_accuracy": low([card[6] for card in cards if card[6] is not None]), "packed": len(body[2])}
        self.told(row, "of the round", recovered=bool(recovery), **place, **units, **base)
        carried = [[kind, one[0][0].hex(), digest("operation", pack(44, kind, one)).hex()] for kind, one in operations]
        numbers = [None if kind in ("apply", "join", "evidence") else msgpack.unpackb(said[0][1])[4] for kind, said in body[4]]
        carried = [[*map(cell, (place, number)), *of] for place, (number, of) in enumerate(zip(numbers, carried, strict=True))]
        told = [
            [one[name] for name in ("place", "number", "kind", "author", "id")] for one in self.tables["operations"][self.rounds]
        ]
        self.need(told == carried, "the table has other operations")
        self.parent, self.committee = parent, model[8][5]

    def quorum(self, signatures, members, payload):
        self.need(len({author for author, _ in signatures} & set(members)) == len(signatures) == quorum(members), "no quorum")
        for author, signature in signatures:
            signed(author, payload, signature)

    def scores(self, updates, body, cards, faults):
        """Each packed update is worth the median of what the cards say, and is paid by its part of all gains."""
        entries, gains, paid = defaultdict(list), {}, dict(body[3])
        for card in cards:
            for uploader, offer, root, *said in card[7]:
                entries[uploader, offer, root].append(said)
        count = Counter(key[0] for key, found in entries.items() if len(found) > faults)
        packed, rows = [update for update in updates if update[0]], {}
        for row in self.tables["contributions"][self.rounds]:
            rows[tuple(bytes.fromhex(row[name]) for name in ("uploader", "offer", "update"))] = row
        same = rows.keys() == entries.keys() and len(rows) == len(self.tables["contributions"][self.rounds])
        self.need(same, "the table has other updates than the cards")
        self.need(sum(row["place"] != "" for row in rows.values()) == len(packed), "the table has other places")
        places = {}
        for place, ((author, payload, _), *worth) in enumerate(packed):
            key = author, digest("message", author, payload), msgpack.unpackb(payload)[7][0]
            places[key] = place, worth, {"weight": body[2][place], "reward": paid.get(author, 0)}
        self.need(places.keys() <= rows.keys(), "packed is what no card names")
        for key, row in rows.items():
            found = entries[key]
            known = faults < len(found) and count[key[0]] == 1
            middle = (len(cards) - 1) // 2 - len(cards) + len(found)  # who names it not says the worst
            gain, accuracy = [sorted(one[n] for one in found)[middle] for n in (0, 1)] if known and middle >= 0 else (None, None)
            score = gain if self.params[9] == "gain" else accuracy
            place, worth, told = places.get(key, (None, [score, gain, accuracy], {"weight": 0, "reward": 0}))
            self.need(worth == [score, gain, accuracy], f"the score of place {place} does not follow from the cards")
            told |= {"score": score, "gain": gain, "accuracy": accuracy, "entries": len(found), "place": place}
            told |= {"norm": low([one[2] for one in found]) if known else None}
            told |= {"refusals": sum(one[0] == REFUSED for one in found) if known else 0}
            self.told(row, f"of update {key[2].hex()[:8]}", **told)
            self.need((row["reason"] == "") == (key in places), f"the table has another reason of update {key[2].hex()[:8]}")
        for key, (_, (_, gain, _), _) in places.items():
            gains[key[0]] = max(gain, 0)
            self.packed[key[0].hex()] += 1
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
        self.need(len(rows) == len(self.tables["movements"][self.rounds]), "the table moves units of somebody twice")
        # Motions run out, and who left long ago has its deposit among its balance again, or its heir has all.
        self.motions = {key: one for key, one in self.motions.items() if self.rounds - one[0] < self.terms["motion_rounds"]}
        for node in sorted(node for node, (since, _) in self.left.items() if self.rounds - since >= self.terms["deposit_rounds"]):
            self.deposits.pop(node, None)
            heir = self.now(self.left.pop(node)[1], self.next)
            if heir is not None and heir not in self.liars:
                self.move(node, heir.hex(), self.held[node])
        for holder in {*rows, *self.held}:
            row = rows.get(holder, {"by_rewards": 0, "by_operations": 0, "held": before[holder]})
            self.first.setdefault(holder, self.rounds)
            due = [rewarded[holder], self.held[holder] - before[holder] - rewarded[holder], self.held[holder]]
            self.moved[holder] += due[1]
            self.need([int(row[name]) for name in ("by_rewards", "by_operations", "held")] == due, f"other units of {holder[:8]}")
        self.need(sum(self.held.values()) == sum(before.values()) and min(self.held.values()) >= 0, "units from nowhere")

    def operate(self, kind, author, said):
        """What an operation moves, and what a quorum of managers decides by it."""
        named = kind in ("admit", "refuse", "kick", "return", "appoint", "dismiss", "set", "replace")
        if named and not self.agreed(kind, author, said):
            return
        if kind in ("transfer", "pay"):
            for taker, amount in [(said[0], said[1])] if kind == "transfer" else [(b"", said[2]), (said[0], said[3])]:
                self.move(author.hex(), taker.hex() or "pool", amount)
            self.deposits[said[0].hex()] += said[3] if kind == "pay" else 0
        elif kind in ("evidence", "kick", "dismiss"):
            node = self.now(author if kind == "evidence" else said[0])
            burnt = 0 if kind == "dismiss" else self.deposits.pop(node.hex(), 0)
            self.left.pop(node.hex(), None)
            self.liars |= {node} if kind == "evidence" else set()
            self.move(node.hex(), "burnt", self.held[node.hex()] if kind == "evidence" else burnt)
            if node in self.managers and len(self.managers) > 1:
                self.managers = [one for one in self.managers if one != node]
                self.silence(node)
        elif kind in ("rotate", "replace"):
            old, new = (author, said[0]) if kind == "rotate" else (self.now(said[0]), said[1])
            self.keys.update({old: new} if kind == "rotate" else {})
            self.next[old] = new
            self.move(old.hex(), new.hex(), self.held[old.hex()])
            self.deposits[new.hex()] = self.deposits.pop(old.hex(), 0)
            if kind == "replace":
                self.silence(old)
            self.managers = [new if node == old else node for node in self.managers]
            self.motions = {key: (since, {self.now(node) for node in those}) for key, (since, those) in self.motions.items()}
        elif kind in ("admit", "return", "join"):
            node = author if kind == "join" else said[0]
            self.left.pop(node.hex(), None)
            self.held[node.hex()] += 0
            self.motions = {key: one for key, one in self.motions.items() if self.now(key[1]) != node or kind != "join"}
        elif kind == "leave":
            self.left[author.hex()] = self.rounds - 1, said[0]
        elif kind == "appoint":
            self.managers = [*self.managers, self.now(said[0])]
        elif kind == "set" and said[0] in self.terms:
            self.terms[said[0]] = said[1]
        elif kind == "set" and said[0] == "reward_share":
            self.params[14] = said[1]

    def agreed(self, kind, author, said):
        """Whether enough managers are for it now; what was open about the same node or parameter is over then."""
        _, those = self.motions.setdefault((kind, *said), (self.rounds - 1, set()))
        those.add(author)
        few = min(self.terms["admission"], len(self.managers))
        needed = few if kind in ("admit", "refuse") else quorum(self.managers)
        if len(those & set(self.managers)) < needed and (kind, said[0]) != ("dismiss", author):
            return False
        about = {self.now(one) for one in (said if kind == "replace" else said[:1])}
        self.motions = {key: one for key, one in self.motions.items() if self.now(key[1]) not in about}
        return True

    def silence(self, node):
        left = {key: (since, those - {node}) for key, (since, those) in self.motions.items()}
        self.motions = {key: one for key, one in left.items() if one[1]}

    def move(self, giver, taker, amount):
        self.held.update({giver: -amount, taker: amount} if giver != taker else {})

    def now(self, key, rows=None):
        rows = self.keys if rows is None else rows
        return self.now(rows[key], rows) if key in rows else key


if __name__ == "__main__":
    try:
        audit = Audit(Path(sys.argv[1]), bytes.fromhex(sys.argv[2]))
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the folder, it does not hold
        sys.exit(f"does not hold: {type(error).__name__}: {error}")
    sys.stdout.write(f"holds: {audit.rounds} rounds, block {audit.parent.hex() if audit.parent else '-'}\n")
