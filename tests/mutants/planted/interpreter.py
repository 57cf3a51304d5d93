"""Defects of the interpreter that carries out the core's effects, and of the core's deadlines; seeds of the simulated world see them.

The simulated world runs this very code over virtual ports, so what it watches (contradictions, what is said before it is durable,
progress after the heal) has to show each of these.
"""

from typing import Final

from tests.mutants.catchers import Simulated, selection
from tests.mutants.mutant import Mutant, mutant

LOOP = "bflcd/node/runtime/loop.py"
FETCH = "bflcd/node/runtime/fetch.py"
COMPUTE = "bflcd/node/runtime/compute.py"
DELIVERY = "bflcd/node/runtime/delivery.py"
PAYLOADS = "bflcd/node/runtime/payloads.py"
ROUND = "bflcd/core/round/state.py"
CORE = "bflcd/core/core.py"
WORK = "bflcd/core/round/local_work.py"

CALM: Final = Simulated("calm")
LOSSY: Final = Simulated("lossy")
SLOW_DISK: Final = Simulated("slow_disk")
DAMAGE: Final = Simulated("compute")
CUT: Final = Simulated("groups")
DELIVERED: Final = selection("node/test_delivery.py")

MUTANTS: Final[tuple[Mutant, ...]] = (
    # -- durable before said ----------------------------------------------------------------------------------------------
    mutant(
        "records-joined-at-the-last",
        "records that are made one transaction take the last one's place: what stands between is said before it is durable (rule 3)",
        LOOP,
        "            joined[place] = Persist(first.records + effect.records, relies_on, effect.tells or first.tells)\n"
        "            continue\n",
        "            del joined[place]\n"
        "            effect = Persist(first.records + effect.records, relies_on, effect.tells or first.tells)\n",
        CALM,
    ),
    mutant(
        "of-joined-records-the-last-only",
        "records that are made one transaction replace each other (rule 3)",
        LOOP,
        "joined[place] = Persist(first.records + effect.records, relies_on, effect.tells or first.tells)",
        "joined[place] = Persist(effect.records, effect.relies_on)",
        LOSSY,
    ),
    mutant(
        "messages-first",
        "messages leave before the records that they stand for are durable (rule 3; section 3)",
        LOOP,
        "        for effect in _joined(effects):\n",
        "        for effect in sorted(_joined(effects), key=lambda one: not isinstance(one, Send)):\n",
        CALM,
    ),
    mutant(
        "mark-not-awaited",
        "messages leave while the mark file is still being written (rule 3)",
        LOOP,
        "            await self._marks.write(mark)\n",
        "            self._jobs.beside(self._marks.write(mark))\n",
        SLOW_DISK,
    ),
    mutant(
        "commit-not-awaited",
        "the next round is opened, and signed in, before the block under it is durable (section 3)",
        LOOP,
        "await self._commit(effect)",
        "self._jobs.beside(self._commit(effect))",
        SLOW_DISK,
    ),
    # -- events and time --------------------------------------------------------------------------------------------------
    mutant(
        "restart-says-nothing",
        "what a node said before a restart, and that it is here, is asked of the core and not carried out (row 18)",
        LOOP,
        "            await self._carry_out(self._core.handle(first, self._clock()))\n",
        "            self._core.handle(first, self._clock())\n",
        CALM,
    ),
    mutant(
        "timers-wait-for-events",
        "the core is ticked when something comes, and not at its deadline (section 3)",
        LOOP,
        "await self._inbox.wait(wake)",
        "await self._inbox.wait(None)",
        CUT,
    ),
    mutant(
        "ticked-beside-every-event",
        "the core is ticked at every event, and what it wants then is dropped (section 3)",
        LOOP,
        "                effects = self._core.tick(now) if delivered is None else self._core.handle(delivered.event, now)\n",
        "                effects = self._core.tick(now)\n"
        "                effects = effects if delivered is None else self._core.handle(delivered.event, now)\n",
        CALM,
    ),
    mutant(
        "work-without-a-deadline",
        "what failed is tried again only if something else wakes the core (section 6.7)",
        ROUND,
        "waits = [self.retransmissions.deadline(), self.work.deadline()]",
        "waits = [self.retransmissions.deadline()]",
        DAMAGE,
    ),
    mutant(
        "agreement-without-a-deadline",
        "views time out only if something else wakes the core (section 6.7)",
        ROUND,
        "            waits.append(self.agreement.deadline())\n",
        "            pass\n",
        CUT,
    ),
    mutant(
        "card-without-a-deadline",
        "a card that is due waits for something else (section 5.3)",
        ROUND,
        "                waits.append(self.collection.deadline(now))\n",
        "                pass\n",
        CALM,
    ),
    mutant(
        "segment-without-a-deadline",
        "a decided segment that nobody gave is asked for again only if something else wakes the core (section 5.5)",
        ROUND,
        "        if self.decision is not None and self._segment_asked is not None:\n",
        "        if self.decision is not None and self._segment_asked is None:\n",
        LOSSY,
    ),
    mutant(
        "certificates-without-a-deadline",
        "a certificate whose announcer is silent is announced only if something else wakes the core (section 5.5)",
        CORE,
        "waits = (self._certificates.deadline(), self._round.deadline(now.mono))",
        "waits = (None, self._round.deadline(now.mono))",
        CALM,
    ),
    mutant(
        "the-latest-deadline",
        "the core is ticked when the last of its waits is over (section 6.7)",
        CORE,
        "return min((wait for wait in waits if wait is not None), default=None)",
        "return max((wait for wait in waits if wait is not None), default=None)",
        CALM,
    ),
    mutant(
        "work-of-closed-rounds-goes-on",
        "jobs of a closed round run on",
        LOOP,
        "                self._jobs.cancel_before(round_)\n",
        "                pass\n",
        CALM,
    ),
    mutant(
        "decided-segment-never-fetched",
        "who has no seat waits for a heartbeat to learn what was decided (section 5.5)",
        LOOP,
        "                self._jobs.start(round_, self._fetch.segment, effect)\n",
        "                pass\n",
        CALM,
    ),
    mutant(
        "mark-durable-before-its-record",
        "a crash between the two silences a node that has forgotten nothing (section 6.3)",
        LOOP,
        "        await self._reliance.persist(effect)\n        mark = self._guard.mark_for(effect.records)\n        if mark is not None:\n"
        "            await self._marks.write(mark)\n",
        "        mark = self._guard.mark_for(effect.records)\n        if mark is not None:\n            await self._marks.write(mark)\n"
        "        await self._reliance.persist(effect)\n        if mark is not None:\n",
        Simulated("crash_storm"),
    ),
    mutant(
        "repeats-without-a-deadline",
        "what was said is said again only if something else wakes the core (section 6.7)",
        ROUND,
        "waits = [self.retransmissions.deadline(), self.work.deadline()]",
        "waits = [self.work.deadline()]",
        CUT,
    ),
    mutant(
        "failed-work-never-retried",
        "a model that nobody gave, or work that failed, is not tried again (row 19)",
        WORK,
        "        self._retry_at = Millis(now.mono + self._context.params.view_timeout)\n",
        "        assert now\n",
        DAMAGE,
    ),
    mutant(
        "model-not-fetched-again",
        "after the pause that follows a failed fetch of the model nothing is fetched (row 19)",
        WORK,
        "        return [] if self.model_here else self.fetch_model()",
        "        return []",
        DAMAGE,
    ),
    # -- fetching ---------------------------------------------------------------------------------------------------------
    mutant(
        "failed-fetch-stays-under-way",
        "a fetch that has ended counts as running for ever, and is never begun again (row 19)",
        FETCH,
        "            if self._running.get((root, effect.label)) is fetch:\n                del self._running[root, effect.label]\n",
        "            pass\n",
        DAMAGE,
    ),
    mutant(
        "first-holder-only",
        "a payload is asked of the first holder alone, and never of the next (row 19)",
        FETCH,
        "await self._fetcher.fetch(effect.blob, holders, apart",
        "await self._fetcher.fetch(effect.blob, holders[:1], apart",
        DAMAGE,
    ),
    mutant(
        "model-from-the-named-only",
        "a model that its committee has lost is not asked of the others who have it (row 19)",
        FETCH,
        "        if effect.anyone:\n",
        "        if effect.anyone and not holders:\n",
        DAMAGE,
    ),
    mutant(
        "damaged-payload-fetched-from-oneself",
        "a payload that is damaged on this disk stays there, and every fetch of it finds the damage again (row 19)",
        FETCH,
        "            await self._payloads.forget(root)\n            answer = ",
        "            answer = ",
        DAMAGE,
    ),
    mutant(
        "damage-forgotten-in-memory-only",
        "a damaged payload stays on the disk (row 19)",
        PAYLOADS,
        "        await self._store.drop_blob(root)\n",
        "",
        DAMAGE,
    ),
    mutant(
        "unreachable-peer-ends-the-node",
        "a peer that gives no envelopes ends the daemon that asked it (row 11)",
        FETCH,
        '        except (RequestError, PeerError) as error:\n            logger.debug("%s gives no envelopes',
        '        except PeerError as error:\n            logger.debug("%s gives no envelopes',
        Simulated("flapping"),
    ),
    mutant(
        "unreachable-holder-ends-the-node",
        "a peer that gives no segment ends the daemon that asked it (row 9)",
        FETCH,
        '            except (RequestError, PeerError) as error:\n                logger.debug("%s gives no segment',
        '            except PeerError as error:\n                logger.debug("%s gives no segment',
        Simulated("halves"),
    ),
    # -- computing --------------------------------------------------------------------------------------------------------
    mutant(
        "workers-death-ends-the-node",
        "a worker that dies while it scores takes the daemon with it (section 5.3)",
        COMPUTE,
        "        except WorkerError as error:\n            self._compared = Round(-1)\n            await self._inbox.put(WorkFailed(job.round, training=False",
        "        except TimeoutError as error:\n            self._compared = Round(-1)\n            await self._inbox.put(WorkFailed(job.round, training=False",
        DAMAGE,
    ),
    mutant(
        "aggregation-dies-of-damage",
        "a payload that is damaged when it is aggregated ends the daemon (row 19)",
        COMPUTE,
        '            except DamagedBlobError as error:\n                logger.warning("%s", error)\n'
        "                await self._payloads.forget(error.root)\n                await self._fetch_again",
        '            except WorkerError as error:\n                logger.warning("%s", error)\n'
        "                await self._payloads.forget(error.root)\n                await self._fetch_again",
        DAMAGE,
    ),
    mutant(
        "aggregation-fetches-nothing-again",
        "what is damaged when it is aggregated is dropped, and nobody fetches it (row 19)",
        COMPUTE,
        "                await self._fetch_again(job, error.root)\n",
        "",
        DAMAGE,
    ),
    mutant(
        "aggregation-keeps-the-damage",
        "what is damaged when it is aggregated stays, and is read again for ever (row 19)",
        COMPUTE,
        "                await self._payloads.forget(error.root)\n                await self._fetch_again",
        "                await self._fetch_again",
        DAMAGE,
    ),
    # -- sending ----------------------------------------------------------------------------------------------------------
    mutant(
        "pushed-to-one",
        "of those whom a message concerns the first alone gets it (section 5.1)",
        DELIVERY,
        "        for peer in lacking:\n            self._push_to",
        "        for peer in lacking[:1]:\n            self._push_to",
        DELIVERED,
        CALM,
    ),
    mutant(
        "confirmed-for-ever",
        "who has confirmed a message gets it never again, though it has started anew since (section 5.1)",
        DELIVERY,
        "            if connection == self._network.connection(peer) and confirmed > since:\n",
        "            if connection is not None:\n",
        DELIVERED,
    ),
    mutant(
        "said-beside-what-is-under-way",
        "a push that is under way is repeated beside itself: a slow peer becomes slower (section 5.1)",
        DELIVERY,
        "connection is None or peer in progress.under_way or (",
        "connection is None or (",
        DELIVERED,
    ),
    mutant(
        "all-confirmed-nobody-asked",
        "what all have confirmed is said to nobody: who stayed behind learns from no answer that the round is over (section 5.1)",
        DELIVERY,
        "        return (effect.to[progress.said % len(effect.to)],)\n",
        "        return lacking\n",
        DELIVERED,
    ),
    mutant(
        "repeats-are-not-shed",
        "with too much under way what is said again is gossiped to all (section 5.1)",
        DELIVERY,
        "            if first and not effect.alone:\n",
        "            if not effect.alone:\n",
        DELIVERED,
    ),
    mutant(
        "gossip-before-it-is-needed",
        "one judge that is not connected yet makes what is said gossip to all (section 5.1)",
        DELIVERY,
        "        if len(reached) == len(lacking) or (first and reached):\n",
        "        if len(reached) == len(lacking):\n",
        DELIVERED,
    ),
    mutant(
        "unreachable-never-gossiped",
        "who can't be reached straight is not reached at all (section 5.1; row 4)",
        DELIVERY,
        "        if len(reached) == len(lacking) or (first and reached):\n",
        "        if len(reached) == len(lacking) or True:\n",
        DELIVERED,
        CUT,
    ),
    mutant(
        "gossip-for-the-slow",
        "who is late because all have too much to do is given more to do (section 8, Waits)",
        DELIVERY,
        "min(PATIENT * self._pace.of(connected, now), most",
        "min(0, most",
        DELIVERED,
    ),
    mutant(
        "nobody-connected-nobody-told",
        "a node that is connected to no judge waits as if their answers were late (section 8, Waits)",
        DELIVERY,
        "        if not connected:\n            return True\n",
        "",
        DELIVERED,
    ),
    mutant(
        "votes-wait-as-long-as-offers",
        "where all are slow a vote reaches who is not connected after its view has ended (section 8, Waits)",
        DELIVERY,
        "(MOST_PATIENT_TRAINING if of_training else MOST_PATIENT)",
        "MOST_PATIENT_TRAINING",
        DELIVERED,
    ),
    mutant(
        "one-judge-gone-all-gossip",
        "one judge of four that is gone makes every trainer gossip (section 8, Waits)",
        DELIVERY,
        "        waits_longest = of_training and most_have_it\n",
        "        waits_longest = False\n",
        DELIVERED,
    ),
    mutant(
        "one-slow-judge-holds-gossip",
        "the slowest answer sets the pace, so that one liar can hold up gossip (section 8, Waits)",
        "bflcd/node/runtime/pace.py",
        "known[(len(known) - 1) // 2]",
        "known[-1]",
        DELIVERED,
    ),
    mutant(
        "the-silent-hold-what-is-said",
        "who takes pushes and answers none holds as many as there are (section 5.1; row 15)",
        DELIVERY,
        " or (peer in self._silent and not self._may_try(peer)):\n",
        ":\n",
        DELIVERED,
    ),
    mutant(
        "one-try-at-a-time",
        "what was lost on a link holds it until its deadline, though the link is open again (section 5.1)",
        DELIVERY,
        "or (self._under_way[peer] < MOST_TRIES and waited >= self._view_timeout())",
        "or False",
        DELIVERED,
    ),
    mutant(
        "silent-for-ever",
        "who has answered again is still spoken to by gossip (section 5.1)",
        DELIVERY,
        "        self._silent.discard(peer)\n",
        "",
        DELIVERED,
    ),
    mutant(
        "slow-is-silent",
        "who answers late is taken for silent, and all hear what it lacks (section 5.1)",
        DELIVERY,
        "            if peer not in self._heard or self._heard[peer] < begun:\n",
        "            if True:\n",
        DELIVERED,
    ),
)
