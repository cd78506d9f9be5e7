"""A writer that is overtaken again and again asks the others to wait, and gets its turn."""

from collections.abc import Sequence

from application.group_commit import OVERTAKEN_MAX
from application.ports import Appended, Conflicts, Decision
from application.writer import Writer
from domain.customer import CustomerIsBlocked
from tests.application.watched import WatchedLog
from tests.asynchronous import asynchronous
from tests.commands import agree, block, register, submission, talk, unblock, writing


class BusyLog(WatchedLog):
    """A log in which another process is always faster on one stream, unless it is asked to wait."""

    another: Writer | None = None
    customer = ""
    overtaken = 0
    _is_overtaking = False

    async def append(self, batch: Sequence[Decision]) -> Appended | Conflicts:
        await self._overtake()
        return await super().append(batch)

    async def _overtake(self) -> None:
        if self.another is None or self.is_alone or self._is_overtaking:
            return
        self._is_overtaking = True
        self.overtaken += 1
        await self.another.submit(submission(talk(), self.customer))
        self._is_overtaking = False


async def _busy(log: BusyLog, another: Writer) -> str:
    registered = await another.submit(submission(register(customer_number="C-1001")))
    log.customer, log.another = str(registered.target_id), another
    return log.customer


@asynchronous
async def test_who_is_overtaken_too_often_asks_the_others_to_wait() -> None:
    log = BusyLog()
    async with writing(log) as another, writing(log) as writer:
        customer = await _busy(log, another)
        answer = await writer.submit(submission(agree(), customer))
        assert log.overtaken == OVERTAKEN_MAX
        assert answer.version == 2 + OVERTAKEN_MAX
        assert not log.is_alone


@asynchronous
async def test_who_is_never_overtaken_lets_the_others_go_on() -> None:
    log = WatchedLog()
    was_alone = []

    async def look() -> None:
        was_alone.append(log.is_alone)

    log.before("append", *[look] * 4)
    async with writing(log) as writer:
        customer = (await writer.submit(submission(register(customer_number="C-1001")))).target_id
        for command in (block(), unblock(), agree()):
            await writer.submit(submission(command, customer))
    assert was_alone == [False] * 4


@asynchronous
async def test_a_refusal_that_is_always_outdated_is_given_in_the_end() -> None:
    log = WatchedLog()
    async with writing(log) as writer, writing(log) as another:
        customer = (await writer.submit(submission(register(customer_number="C-1001")))).target_id
        await writer.submit(submission(block(), customer))
        was_alone = []

        async def move_on() -> None:
            was_alone.append(log.is_alone)
            if not log.is_alone:
                await another.submit(submission(talk(), customer))

        log.before("versions", *[move_on] * (OVERTAKEN_MAX + 2))
        try:
            await writer.submit(submission(agree(), customer))
        except CustomerIsBlocked:
            assert was_alone[: OVERTAKEN_MAX + 1] == [False] * OVERTAKEN_MAX + [True]
        else:
            raise AssertionError
