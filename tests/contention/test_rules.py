"""Two processes at every rule that reads another stream, and at every claim: both outcomes occur, no rule is broken."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import pytest

from tests.asynchronous import asynchronous
from tests.commands import submission, writing
from tests.contention import dice, shuffled, times
from tests.contention.processes import Bug, Workers, Workplace, working
from tests.contention.races import RACES, RULES
from tests.contention.sites import Site, Visits, all_sites
from tests.in_memory import InMemoryLog

TRIES_AT_ONCE = 20
ROUNDS_MAX = 50
"""How often a bug, or an outcome, is given the chance to show itself; one or two rounds usually do."""
COLLIDED_MIN = 0.3

WITHOUT_RACE = {
    ("receive-customer-message", "application.support_cases._customer"): (
        "a contact person exists before anybody knows the id, and for ever"
    ),
}
"""Where there is nothing to race for, and why."""


@dataclass
class Score:
    """How a race came out over all tries."""

    tries: int = 0
    collided: int = 0
    broken: int = 0
    first: int = 0
    """How often the first side was recorded."""
    before: int = 0
    """How often it was recorded before the second."""


def prepare(workers: Workers, numbers: dict[str, list[str]]) -> None:
    """Prepare every try, one step after the other, half of them in each process: both know as much."""
    steps = shuffled(RACES[name].prepared(n) for name, each in numbers.items() for n in each)
    for place in range(max(map(len, steps))):
        due = [[each[place] for each in half if len(each) > place] for half in (steps[::2], steps[1::2])]
        for lists in zip(due, workers.work(*due), strict=True):
            for asked, told in zip(*lists, strict=True):
                assert told.is_recorded, (asked, told)


def race(workers: Workers, scores: dict[str, Score]) -> None:
    """Try each of these races some times, all at the same moment."""
    numbers = {name: [f"{dice(10**12):012}" for _ in range(TRIES_AT_ONCE)] for name in scores}
    prepare(workers, numbers)
    tries = shuffled((name, n, dice(2)) for name, each in numbers.items() for n in each)
    sides = [RACES[name].sides(n) for name, n, _ in tries]
    lists = [[both[swapped ^ which] for both, (_, _, swapped) in zip(sides, tries, strict=True)] for which in (0, 1)]
    for (name, _, swapped), *told in zip(tries, *workers.race(*lists), strict=True):
        first, second = reversed(told) if swapped else told
        score = scores[name]
        score.tries += 1
        score.broken += not RACES[name].holds((first, second))
        score.collided += first.collided_with(second)
        score.first += first.is_recorded
        score.before += first.is_recorded and second.is_recorded and first.positions < second.positions


def run(workplace: Workplace, tries: int) -> dict[str, Score]:
    """Try all races so often, and those some more that have come out in one way only."""
    scores = {name: Score() for name in RACES}
    with working(workplace) as workers:
        while sum(score.tries for score in scores.values()) < tries:
            race(workers, scores)
        for _ in range(ROUNDS_MAX):
            if one_sided := {name: scores[name] for name in lopsided(scores)}:
                race(workers, one_sided)
    return scores


def lopsided(scores: Mapping[str, Score]) -> list[str]:
    """The races that have not come out now one way and now the other."""
    return [
        name
        for name, score in scores.items()
        if (score.first if RACES[name].first_has_a_choice else score.before) in (0, score.tries)
    ]


def test_two_processes_break_no_rule_that_reads_another_stream_and_no_claim(
    workplace: Workplace, say: Callable[[str], None]
) -> None:
    scores = run(workplace, times(2 * TRIES_AT_ONCE * len(RACES), 10_000))
    tries, collided = (sum(getattr(score, each) for score in scores.values()) for each in ("tries", "collided"))
    say(f"{tries} tries at {len(RACES)} rules and claims, {100 * collided // tries} % collided")
    for name, score in scores.items():
        say(f"{name}: {score.tries} tries, {score.collided} collided, the first side {score.first} times")
    assert collided >= COLLIDED_MIN * tries
    assert {name: score.broken for name, score in scores.items() if score.broken} == {}
    assert lopsided(scores) == []


def test_a_writer_that_does_not_compare_what_it_read_is_found_out(workplace: Workplace) -> None:
    scores = {name: Score() for name in RULES}
    with working(replace(workplace, bug=Bug.READS_UNCHECKED)) as workers:
        for _ in range(ROUNDS_MAX):
            race(workers, scores)
            if any(score.broken for score in scores.values()):
                return
    pytest.fail(f"{ROUNDS_MAX} rounds broke no rule, though nothing that was read was compared")


# Whether every rule and every claim has a race


async def _visited(visits: Visits, names: Iterable[str]) -> list[Site]:
    """Try each race once, one side after the other, in both orders; the places at which no command came by."""
    async with writing(InMemoryLog()) as writer:
        for number, (name, order) in enumerate((name, order) for name in names for order in (1, -1)):
            for asked in (*RACES[name].prepared(f"{number}"), *RACES[name].sides(f"{number}")[::order]):
                await writer.submit_many([submission(*asked)])
    return visits.missed(sorted(all_sites()))


def _is_excused(site: Site) -> bool:
    return (site.command, site.place.partition(":")[0]) in WITHOUT_RACE


@asynchronous
async def _all_are_visited(monkeypatch: pytest.MonkeyPatch) -> None:
    missed = await _visited(Visits(monkeypatch), RACES)
    assert [site for site in missed if not _is_excused(site)] == []
    assert len(missed) == len(WITHOUT_RACE), "what is excused has a race"


def test_every_place_that_reads_another_stream_or_takes_a_claim_has_a_race(monkeypatch: pytest.MonkeyPatch) -> None:
    _all_are_visited(monkeypatch)


@pytest.mark.parametrize(
    ("left_out", "site"),
    [
        ("a VAT id", ("register-customer", "VatIdIsTaken")),
        ("the team of a case, which is being made", ("transfer-case", "TEAM")),
        ("an invoice over a product, which is being made", ("post-invoice", "read_all(PRODUCT")),
    ],
)
def test_a_place_without_a_race_is_found(monkeypatch: pytest.MonkeyPatch, left_out: str, site: tuple[str, str]) -> None:
    command, call = site

    @asynchronous
    async def missed_without_it() -> None:
        missed = await _visited(Visits(monkeypatch), RACES.keys() - {left_out})
        assert [each.command for each in missed if not _is_excused(each)] == [command]
        assert any(call in each.call for each in missed)

    missed_without_it()
