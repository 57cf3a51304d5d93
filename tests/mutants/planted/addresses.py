"""Defects of where a node connects on the word of others, and of what it says to peers of other makes."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Mutant, mutant

RULE = "bflcd/net/dialing/rule.py"
BOOK = "bflcd/net/dialing/book.py"
PEERS = "bflcd/net/peers.py"
COURTESY = "bflcd/net/libp2p/courtesy.py"

SAID: Final = selection("net/test_dial_rule.py::test_what_a_peer_says_of_itself")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "seen-elsewhere",
        "a member names any public or private address as its own, and others connect there",
        RULE,
        "ip_of(here.host) != ip_of(address.host)",
        "False",
        SAID,
    ),
    mutant(
        "everything-is-public",
        "hearsay of any private address is dialled",
        RULE,
        "    return Reach.PUBLIC if ip.is_global else Reach.INSIDE\n",
        "    return Reach.PUBLIC\n",
        selection("net/test_dial_rule.py::test_public_means_what_the_registry_calls_global"),
    ),
    mutant(
        "link-local-unknown",
        "a cloud's metadata service counts as a private address like any other",
        RULE,
        '_networks("127.0.0.0/8", "169.254.0.0/16", "::1/128", "fe80::/10")',
        '_networks("127.0.0.0/8", "::1/128")',
        SAID,
    ),
    mutant(
        "any-port",
        "a member sends others to the ports of system services",
        RULE,
        "        if 0 < port < PRIVILEGED and",
        "        if 0 < port < 0 and",
        SAID,
    ),
    mutant(
        "suffix-without-dot",
        "the operator allows .example.org, and badexample.org is looked up",
        RULE,
        "name.endswith(one) if one",
        "name.endswith(one[1:]) if one",
        selection("net/test_dial_rule.py::test_what_the_operator_allows"),
    ),
    mutant(
        "resolved-unchecked",
        "the owner of an allowed name turns it inward, and the node connects there",
        "bflcd/net/libp2p/attempt.py",
        "        return self._checked(targets) if self.address.is_name else targets\n",
        "        return targets\n",
        selection("net/test_addresses.py::test_a_name_that_leads_inside_is_not_connected_to"),
    ),
    mutant(
        "one-teller-is-enough",
        "one member alone names the places of others",
        BOOK,
        " or len(place.tellers) >= vouchers)",
        " or len(place.tellers) >= 1)",
        selection("net/test_dialing.py::test_hearsay_is_dialled_once_enough_members_have_told_of_the_same_address"),
    ),
    mutant(
        "f-tellers-are-enough",
        "f members are enough for an address that no honest one has told",
        BOOK,
        "if seats else tellers)) + 1\n",
        "if seats else tellers))\n",
        selection("net/test_dialing.py::test_so_many_must_tell_that_one_of_them_is_honest"),
    ),
    mutant(
        "no-doubts",
        "others connect to a place that a member named again and again, though somebody else answers there",
        PEERS,
        '            if error.step in ("handshake", "identity"):\n',
        "            if error.step in ():\n",
        selection("net/test_addresses.py::test_a_member_that_names_internal_services_makes_nobody_go_there"),
    ),
    mutant(
        "doubts-forgotten",
        "a member that connects in between has its lies believed again at once",
        BOOK,
        '            target.failures, target.last_error, target.next_try = 0, "", Millis(0)\n',
        '            target.failures, target.last_error, target.next_try = 0, "", Millis(0)\n            target.doubted_until = Millis(0)\n',
        selection(
            "net/test_dialing.py::test_where_somebody_else_answers_words_are_doubted_for_longer_each_time_and_told_to_nobody"
        ),
    ),
    mutant(
        "written-means-reached",
        "a place that a member once announced is believed for ever after a restart",
        PEERS,
        "            self._learn(address, Source.OWN_WORD, node, self._rule.kept)\n",
        "            self._learn(address, Source.REACHED, node, self._rule.kept)\n",
        selection("net/test_addresses.py::test_what_was_written_down_is_doubted_as_any_word_is"),
    ),
    mutant(
        "reached-means-honest",
        "a member that is reached at one place has its words about others believed at once",
        BOOK,
        "            target.places[address].source = max(target.places[address].source, Source.REACHED)\n",
        "            target.places[address].source = Source.REACHED\n            target.doubted_until = Millis(0)\n",
        selection("net/test_dialing.py::test_a_place_that_was_proven_is_dialled_in_spite_of_doubts_and_ends_none"),
    ),
    mutant(
        "names-lost",
        "who announces a name that is not allowed is dialled by nobody",
        PEERS,
        "            place = at_seen_host(address, peer.address, always=True)\n",
        '            return ""\n',
        selection("net/test_addresses.py::test_who_announces_a_name_that_is_not_allowed_is_looked_for_where_it_is_seen"),
    ),
    mutant(
        "identify-cut-off",
        "a peer of another make takes our description for a failure, and leaves",
        COURTESY,
        "    await frames.stream.close()\n    await _read_to_end(frames)\n",
        "",
        selection("net/test_courtesy.py::test_identify_names_key_protocols_and_version_and_ends"),
    ),
    mutant(
        "one-ping",
        "a peer of another make takes us for dead after its first ping",
        COURTESY,
        "            await frames.stream.write(ping)\n            continue\n",
        "            await frames.stream.write(ping)\n",
        selection("net/test_courtesy.py::test_a_ping_comes_back_as_often_as_it_is_sent_in_whatever_pieces"),
    ),
)
