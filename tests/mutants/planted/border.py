"""Defects of the border: what a stranger, or a member, can make a node hold and do."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Mutant, mutant

BUDGET = "bflcd/net/libp2p/budget.py"
PACKET = "bflcd/net/libp2p/packet.py"
YAMUX = "bflcd/net/libp2p/yamux.py"
GOSSIP = "bflcd/net/libp2p/gossip.py"
SWITCH = "bflcd/net/libp2p/switch.py"
REQUESTS = "bflcd/net/libp2p/requests.py"
HANDSHAKE = "bflcd/net/libp2p/handshake.py"

RELAYING = "bflcd/core/relaying.py"
RELAYED: Final = selection("net/test_relaying.py")

COUNTED: Final = selection("net/test_border.py::test_a_packet_is_counted_before_it_is_parsed")
NEGOTIATED: Final = selection(
    "net/test_border.py::test_a_message_out_of_bounds_ends_a_negotiation_before_it_is_read",
    "net/test_border.py::test_a_negotiation_that_never_agrees_ends",
)
POURED: Final = selection("net/test_border.py::test_a_stranger_that_pours_where_nobody_reads_is_dropped")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "same-words-go-round",
        "each seat that announces a certificate makes it go round once more (section 8, Waits)",
        GOSSIP,
        "        if self._told.by_another(publisher, message.data):\n            return",
        "        if False:\n            return",
        RELAYED,
    ),
    mutant(
        "who-says-it-again-is-not-heard",
        "what its own author says again is taken for another's copy: what was lost stays lost (section 5.1)",
        "bflcd/net/libp2p/heard.py",
        "first is not None and first[0] != publisher and",
        "first is not None and",
        RELAYED,
    ),
    mutant(
        "the-proposal-waits",
        "what a stream starts with waits until its protocol is agreed on: one round trip more (section 8)",
        "bflcd/net/libp2p/connection.py",
        "            if begin is not None:\n                await begin(stream)\n            await negotiator.agree(protocol)\n",
        "            await negotiator.agree(protocol)\n            if begin is not None:\n                await begin(stream)\n",
        selection("net/test_negotiation.py"),
    ),
    mutant(
        "all-peers-as-often",
        "a node of a large community asks each of its peers as often as in a small one (section 8, Waits)",
        "bflcd/net/peer.py",
        "        if seldom <= 1:\n",
        "        if True:\n",
        selection("net/test_peers.py"),
    ),
    mutant(
        "packet-not-counted",
        "half a million empty messages in a packet hold up the network thread",
        PACKET,
        "        if fields > PACKET_MESSAGES:\n",
        "        if fields > 2**30:\n",
        COUNTED,
    ),
    mutant(
        "control-not-counted",
        "a packet's control fields may be a megabyte of ids",
        PACKET,
        "            control += length\n",
        "            control = 0\n",
        COUNTED,
    ),
    mutant(
        "packet-parsed-uncounted",
        "a member's packet is parsed before anybody has counted it",
        GOSSIP,
        "                fields, control = check_packet(packet)\n",
        "                fields = control = 0\n",
        selection("net/test_border.py::test_a_members_packet_of_too_many_messages_costs_its_connection"),
    ),
    mutant(
        "strangers-gossip-read",
        "a stranger's gossip is read and answered as a member's",
        GOSSIP,
        "        while not self._hears(connection.peer):",
        "        while False:",
        selection("net/test_border.py::test_a_strangers_gossip_is_not_looked_at"),
    ),
    mutant(
        "negotiation-unlimited",
        "a negotiation's message may have any length",
        BUDGET,
        "        if not 0 < length <= NEGOTIATION_BYTES:\n",
        "        if length == 0:\n",
        NEGOTIATED,
    ),
    mutant(
        "negotiation-endless",
        "a peer may negotiate for ever",
        BUDGET,
        "        self._left -= 1\n",
        "",
        NEGOTIATED,
    ),
    mutant(
        "handshake-unlimited",
        "a socket may send anything before it is authenticated",
        HANDSHAKE,
        "                self._allowance -= len(self._data)\n",
        "                self._allowance -= 0\n",
        selection("net/test_border.py::test_a_socket_that_never_authenticates_is_closed_after_a_few_kilobytes"),
    ),
    mutant(
        "idle-sockets-stay",
        "who holds every handshake open keeps all others out",
        SWITCH,
        "            with _among(self._silent, scope, place):\n",
        "            if len(self._silent) >= MAX_SILENT:\n                return None\n"
        "            with _among(self._silent, scope, place):\n",
        selection("net/test_border.py::test_idle_sockets_keep_nobody_out"),
    ),
    mutant(
        "strangers-ask-anything",
        "a stranger's request may be as large as a member's",
        REQUESTS,
        "min(max_request, STRANGER_REQUEST_BYTES)",
        "max_request",
        selection("net/test_border.py::test_a_stranger_may_ask_little_and_hold_little"),
    ),
    mutant(
        "strangers-streams-unlimited",
        "a stranger opens as many streams as a member",
        SWITCH,
        "room = MAX_STREAMS if self.trusts(connection) else STRANGER_STREAMS",
        "room = MAX_STREAMS",
        selection("net/test_border.py::test_a_stranger_that_opens_many_streams_is_dropped"),
    ),
    mutant(
        "overrun-forgotten",
        "who goes beyond its window in many small frames is never cut off",
        YAMUX,
        "        if isinstance(self.conn, LeanYamux) and (self._overrun > OVERRUN_BYTES or self.conn.is_full()):\n",
        "        if -value > OVERRUN_BYTES:\n",
        POURED,
    ),
    mutant(
        "strangers-stay",
        "strangers use up the connections",
        SWITCH,
        "            if oldest is not None:\n",
        "            if oldest is None:\n",
        selection("net/test_border.py::test_strangers_do_not_use_up_the_connections"),
    ),
    mutant(
        "all-is-passed-on",
        "whatever a member gossips goes through the whole community, of whatever round",
        RELAYING,
        "            return running <= round_of_payload(signed_part(message).payload) <= running + _AHEAD\n",
        "            return True\n",
        RELAYED,
    ),
    mutant(
        "proofs-of-the-past-passed-on",
        "certificates of rounds long over go through the whole community",
        RELAYING,
        "            return message.certificate.round >= running - _BEHIND\n",
        "            return True\n",
        RELAYED,
    ),
    mutant(
        "cards-of-any-size",
        "in a community of seven a member's card may have 2,048 entries",
        RELAYING,
        "most = limit_of(kind) if stands is None else min(limit_of(kind), most_bytes(kind, stands.members))",
        "most = limit_of(kind)",
        RELAYED,
    ),
    mutant(
        "replays-are-heard",
        "what an author said long ago, said again by others, uses up what it may say now",
        GOSSIP,
        "        if not onward and publisher != forwarder:\n",
        "        if publisher is None:\n",
        RELAYED,
    ),
    mutant(
        "authors-say-any-number",
        "one member's small messages take all of everybody's time",
        "bflcd/net/libp2p/allowances.py",
        "return self._published.take(author) and self._published_bytes.take(author, size)",
        "return self._published_bytes.take(author, size)",
        RELAYED,
    ),
    mutant(
        "floods-cost-nothing",
        "who floods is never held to account",
        GOSSIP,
        "            self._flooded(publisher)",
        "            _log.debug(publisher)",
        RELAYED,
    ),
    mutant(
        "forgers-come-back",
        "who brings false signatures loses its connection, connects again and goes on",
        GOSSIP,
        "        self._flooded(forwarder)\n",
        "",
        RELAYED,
    ),
    mutant(
        "work-before-its-turn",
        "who asks without end is answered as fast as it asks",
        "bflcd/net/exchange.py",
        "            await self._keep_pace(lane, peer)\n",
        "",
        selection("net/test_exchange.py::test_who_asks_without_end_waits_before_any_work_is_done_for_it"),
    ),
    mutant(
        "large-answers-for-nothing",
        "a request for megabytes is as cheap as one for a status",
        "bflcd/net/exchange.py",
        "self._pace[lane].charge(peer, len(encoded) / WORK_BYTES[lane])",
        "self._pace[lane].charge(peer, 0)",
        selection("net/test_exchange.py::test_large_answers_count_as_more_work"),
    ),
    mutant(
        "crowd-evicts-anybody",
        "where there are too many, the oldest of all goes: a flood evicts those who were there before",
        BUDGET,
        "victim = next(item for item, one in self._items.items() if counts[one] == most)",
        "victim = next(iter(self._items))",
        selection("net/test_border.py::test_in_a_crowd_the_oldest_of_whoever_has_most_goes"),
    ),
    mutant(
        "nobody-has-to-go",
        "sockets beyond the places for them stay until their time is up",
        SWITCH,
        "        oldest.cancel()\n",
        "        pass\n",
        selection("net/test_border.py::test_idle_sockets_keep_nobody_out"),
    ),
    mutant(
        "silent-sockets-take-turns",
        "sockets that say nothing use up what others at their address may begin",
        SWITCH,
        "                spoken = await stream.has_spoken()\n",
        "                spoken = True\n",
        selection("net/test_border.py::test_who_says_nothing_takes_no_turn_from_others_at_its_address"),
    ),
    mutant(
        "any-key-in-a-handshake",
        "a stranger chooses the exponent by which its signature is checked",
        "bflcd/net/libp2p/library.py",
        "    del _key_readers[_kind]\n",
        "    pass\n",
        selection("net/test_libp2p_defects.py::TestKeys::test_ours_reads_no_other_key_in_a_handshake"),
    ),
    mutant(
        "members-begin-anything",
        "a member holds as much of messages that never end as of answers that were asked for",
        YAMUX,
        "        return unasked > self._unasked_room or asked + unasked > self._room\n",
        "        return asked + unasked > self._room\n",
        selection("net/test_border.py::test_a_member_may_owe_large_answers_and_begin_little_by_itself"),
    ),
    mutant(
        "answers-of-thousands",
        "a member of eight answers with as much as one of thousands could",
        "bflcd/net/exchange.py",
        "max_response=max(self._largest(expected), limit_of(Refused)),",
        "max_response=max(limit_of(expected), limit_of(Refused)),",
        selection("net/test_exchange.py::test_a_reply_that_is_larger_than_any_can_be_here_is_not_read"),
    ),
    mutant(
        "bans-crowded-out",
        "invented strangers make a member's ban forgotten",
        "bflcd/net/scores.py",
        "(self._members, self._strangers) if self._is_member(peer) else (self._strangers, self._members)",
        "(self._members, self._strangers)",
        selection("net/test_scores.py::test_no_number_of_strangers_makes_a_members_ban_forgotten"),
    ),
    mutant(
        "strangers-without-end",
        "each new identity has an allowance of its own, and there is no end of them",
        "bflcd/net/exchange.py",
        "        if not member and not self._strangers.take(1, self._now()):\n",
        "        if False:\n",
        selection("net/test_exchange.py::test_strangers_share_an_allowance_however_many_they_are"),
    ),
)
