"""Hold an auditor's folder against the signatures in it: `python verify.py FOLDER CHAIN_ID`. Shares no code with the project.

The chain's own bytes prove who decided what; every number in the tables that follows from them is computed anew.
"""

import csv
import sys
from collections import Counter, defaultdict
from hashlib import blake2b
from pathlib import Path

import msgpack
from nacl.signing import VerifyKey

STILL = {"transfer", "apply", "admit", "refuse", "leave", "return"}
"""Kinds of operations that move no units, and transfers, which say how many."""


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


def committee_hash(epoch, committee):
    return digest("committee", epoch.to_bytes(8, "big"), *committee)


def median(values, q):
    """The worse of two middles over q values, of which the absent ones are worst."""
    index = (q - 1) // 2 - (q - len(values))
    return sorted(values)[index] if index >= 0 else None


def table(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


class Audit:
    def __init__(self, folder, chain_id):
        self.rounds, self.parent, self.earned, self.packed = 0, None, Counter(), Counter()
        self.tables = {name: defaultdict(list) for name in ("rounds", "contributions", "operations", "movements")}
        for name, rows in self.tables.items():
            for row in table(folder / f"{name}.csv"):
                rows[int(row["model"])].append(row)
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
        for row in table(folder / "members.csv"):
            node, found = row["node"], [int(row[name]) for name in ("held", "earned", "packed")]
            self.need(found == [self.held[node], self.earned[node], self.packed[node]], f"other sums of member {node[:8]}")

    def need(self, holds, text):
        if not holds:
            raise ValueError(f"round {self.rounds}: {text}")

    def round(self, segment, certificate):
        headers, updates, body = segment
        model = headers[-1]
        self.rounds += 1
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
        # 2. Who decided: a quorum of the committee that the block before names, or that managers gave the round.
        *place, committee, block, signatures, recovery = certificate
        deciding = judging = self.committee
        if recovery is not None:
            deciding = judging = self.recovered(recovery, [self.chain, self.rounds - 1, place[2], opened])
            if recovery[1] is not None:  # it was proposed before, by the committee of then
                basis = recovery[1][0][5]
                judging = self.committee if basis is None else basis[0]
        here = [self.chain, self.rounds - 1, place[2], place[3], opened]
        self.need(place == here and block == parent, "a certificate of another block")
        self.need(committee == committee_hash(place[2], deciding), "a certificate by another committee")
        self.quorum(signatures, deciding, pack(35, *place, committee, block))
        # 3. What it learned from: cards, offers and operations by those whose they are.
        self.need(len({card[0] for card in body[0]} & set(judging)) == len(body[0]) == quorum(judging), "not a quorum's cards")
        said = [update[0] for update in updates if update[0]] + [one for _, envelopes in body[4] for one in envelopes]
        for envelope in (*body[0], *said):
            signed(*envelope)
        cards, epoch = [msgpack.unpackb(payload)[2:] for _, payload, _ in body[0]], model[8][0]
        of = [self.chain, self.rounds - 1, epoch, opened, committee_hash(epoch, judging)]
        self.need(all(card[:5] == of for card in cards), "a card of another round")
        paid = self.scores(updates, body, cards)
        # 4. What the tables say of it.
        rows = self.tables["rounds"][self.rounds]
        self.need(len(rows) == 1, "not one row in the table of rounds")
        told = {"signers": [author for author, _ in signatures], "committee": deciding, "block": [block], "root": [model[6][0]]}
        for name, values in told.items():
            self.need(rows[0][name] == " ".join(value.hex() for value in values), f"the table has another {name}")
        carried = [[kind, one[0][0].hex(), digest("operation", pack(44, kind, one)).hex()] for kind, one in operations]
        told = [[row["kind"], row["author"], row["id"]] for row in self.tables["operations"][self.rounds]]
        self.need(told == carried, "the table has other operations")
        self.movements(paid, body[4])
        self.parent, self.committee = parent, model[8][5]

    def quorum(self, signatures, members, payload):
        """Exactly as many as are needed, each once, each its author's."""
        self.need(len({author for author, _ in signatures} & set(members)) == len(signatures) == quorum(members), "no quorum")
        for author, signature in signatures:
            signed(author, payload, signature)

    def recovered(self, certificate, place):
        """The committee that a quorum of managers gave the round at `place`: chain, round, epoch, parent."""
        recovery, _, signatures = certificate
        self.need(recovery[:4] == place, "a recovery of another round")
        self.quorum(signatures, self.managers, pack(37, *recovery))
        return recovery[4]

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
            medians = [median([entry[index] for entry in found], len(cards)) for index in (0, 1)]
            self.need([gain, accuracy] == medians, f"the score of place {place} does not follow from the cards")
            self.need(score == (gain if self.params[9] == "gain" else accuracy), f"place {place} is ranked by another rule")
            told = {"uploader": author.hex(), "update": root.hex(), "weight": body[2][place], "gain": gain}
            for name, value in (told | {"accuracy": accuracy, "score": score, "reward": paid.get(author, 0)}).items():
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
        """Nothing comes from nowhere: rewards leave the pool, transfers their authors, and every round sums to nothing."""
        rewarded, moved, total = Counter({node.hex(): amount for node, amount in paid.items()}), Counter(), 0
        self.earned.update(rewarded)
        rewarded["pool"] -= sum(paid.values())
        for kind, ((author, payload, _), *_) in carried:
            if kind == "transfer":
                to, amount = msgpack.unpackb(payload)[5:7]
                moved.update({author.hex(): -amount})
                moved[to.hex()] += amount
        told = all(kind in STILL for kind, _ in carried)
        for row in self.tables["movements"][self.rounds]:
            holder, by_rewards, by_operations = row["holder"], int(row["by_rewards"]), int(row["by_operations"])
            self.need(by_rewards == rewarded.pop(holder, 0), f"another reward of {holder[:8]} in the table")
            self.need(by_operations == moved.pop(holder, 0) or not told, f"other units of {holder[:8]} moved in the table")
            self.held[holder] += by_rewards + by_operations
            total += by_rewards + by_operations
            self.need(self.held[holder] == int(row["held"]) >= 0, f"{holder[:8]} does not hold what the table says")
        self.need(total == 0 and not any(rewarded.values()), "units from nowhere, or a reward that nobody got")
        self.need(not told or not any(moved.values()), "a transfer that moved nothing")


if __name__ == "__main__":
    try:
        audit = Audit(Path(sys.argv[1]), bytes.fromhex(sys.argv[2]))
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the folder, it does not hold
        sys.exit(f"does not hold: {type(error).__name__}: {error}")
    sys.stdout.write(f"holds: {audit.rounds} rounds, block {audit.parent.hex() if audit.parent else '-'}\n")
