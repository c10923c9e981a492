"""One suite for every Designer: inline (simulations) and in a worker process (the operator).

The study is the optimizer's own toy service; what differs between the two is where the fit runs and what limits it.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from tests.unit.optimize.toy import HOUR, Service, play, search, web_study
from threadpoolctl import threadpool_limits

from trimtab.adapters import executor
from trimtab.adapters.executor import InlineDesigner, ProcessDesigner
from trimtab.domain.space import SearchSpace
from trimtab.domain.study import Hold, NoAnswer, Proposal, Recommended, Study
from trimtab.domain.trial import Purpose, Suggestion
from trimtab.optimize import designer
from trimtab.optimize.sobol import without_model
from trimtab.optimize.steps import within_steps
from trimtab.ports import Designer

ROOT = Path(__file__).resolve().parents[2]


def past(trials: int, kind: str = "GaussianProcess") -> Study:
    """A study with so many trials of one run behind it."""
    with threadpool_limits(limits=1):
        run = play(web_study(search=search(kind, seed=1)), Service(), designer.suggest, designer.recommend, trials)
    return replace(run.study, index=trials, now=run.study.now + HOUR * trials)


@pytest.fixture(scope="module")
def study() -> Study:
    return past(8)


@pytest_asyncio.fixture(params=["inline", "process"], scope="module", loop_scope="module")
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Designer]:
    if request.param == "inline":
        yield InlineDesigner()
        return
    async with ProcessDesigner(deadline=PATIENCE) as process:
        yield process


PATIENCE = 120.0  # seconds: what is asked here is the answer, and the machine may be busy
together = pytest.mark.asyncio(loop_scope="module")  # the worker takes a second to start: one serves all of these


def timeless(proposal: Proposal) -> Proposal:
    """Without the seconds that a fit took."""
    if not isinstance(proposal.answer, Suggestion):
        return proposal
    return replace(proposal, answer=replace(proposal.answer, fit_seconds=0.0, search_seconds=0.0))


@together
async def test_the_first_trial_is_the_baseline(subject: Designer) -> None:
    answer = (await subject.suggest(web_study())).answer
    assert isinstance(answer, Suggestion)
    assert (answer.purpose, answer.assignment) == (Purpose.BASELINE, web_study().baseline)


@together
async def test_a_search_is_suggested_by_the_model(subject: Designer, study: Study) -> None:
    proposal = await subject.suggest(study)
    assert isinstance(proposal.answer, Suggestion)
    assert proposal.answer.by_model
    assert proposal.diagnostics.fallback == ""
    assert within_steps(study.space, proposal.answer.assignment, [t.canary.assignment for t in study.outcomes])


@together
@pytest.mark.thorough
async def test_every_process_gives_the_same_answer(subject: Designer, study: Study) -> None:
    assert timeless(await subject.suggest(study)) == designer.suggest(study, lambda: 0.0)
    assert await subject.recommend(study) == designer.recommend(study)


@together
async def test_calls_side_by_side_do_not_mix_up_their_answers(subject: Designer, study: Study) -> None:
    studies = [replace(study, outcomes=study.outcomes[:n], index=n) for n in (0, 2, 4, 6)]
    found = await asyncio.gather(*(subject.suggest(s) for s in studies))
    assert [timeless(p) for p in found] == [designer.suggest(s, lambda: 0.0) for s in studies]


@together
async def test_bad_input_has_a_typed_answer(subject: Designer) -> None:
    broken = web_study(space=SearchSpace(()), now=float("nan"))
    answer = (await subject.suggest(broken)).answer
    assert isinstance(answer, Hold)
    assert isinstance(await subject.recommend(broken), NoAnswer)


@together
async def test_a_defect_is_typed_and_says_nothing_about_the_search(subject: Designer) -> None:
    """Neither the model nor its stand-in can work with this study: no Hold, and no baseline that is kept."""
    strange = replace(web_study(), baseline=replace(web_study().baseline, items_=()))
    for answer in (
        (await subject.suggest(strange)).answer,
        await subject.recommend(replace(strange, outcomes=past(2).outcomes)),
    ):
        assert isinstance(answer, NoAnswer)
        assert "failed" in answer.message


@together
async def test_the_sobol_designer_needs_no_model(subject: Designer) -> None:
    answer = (await subject.suggest(past(4, "Sobol"))).answer
    assert isinstance(answer, Suggestion)
    assert not answer.by_model


@together
async def test_a_recommendation(subject: Designer, study: Study) -> None:
    found = await subject.recommend(study)
    assert isinstance(found, Recommended)
    assert not found.keep_baseline
    assert 0 < found.saving < 1


# The worker process alone.


@pytest.mark.thorough
async def test_at_the_deadline_the_worker_is_replaced_and_the_answer_is_space_filling(study: Study) -> None:
    late = ProcessDesigner(deadline=0.0)
    await late.start()
    first = late.pid
    proposal = await late.suggest(study)
    assert isinstance(proposal.answer, Suggestion)
    assert not proposal.answer.by_model
    assert proposal.diagnostics.fallback.startswith("no answer to suggest within 0 s")
    assert timeless(proposal) == without_model(study, proposal.diagnostics.fallback)
    recommended = await late.recommend(study)
    assert isinstance(recommended, NoAnswer)
    assert recommended.message.startswith("no answer to recommend within 0 s")
    await late.close()
    assert first is not None
    assert not alive(first)


@pytest.mark.thorough
async def test_a_killed_worker_is_replaced(study: Study) -> None:
    async with ProcessDesigner() as process:
        first = process.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        wait_for_exit(first)
        lost = await process.suggest(study)
        again = await process.suggest(study)
        assert isinstance(again.answer, Suggestion)
        assert again.answer.by_model
        assert process.pid != first
        # Found dead before or during the call: replaced at once, or answered without a model.
        assert isinstance(lost.answer, Suggestion)
        assert lost.answer.by_model or "died during suggest" in lost.diagnostics.fallback


@pytest.mark.thorough
async def test_a_worker_that_dies_over_a_recommendation_says_nothing(study: Study) -> None:
    """One out-of-memory kill at the end of a week of trials is no reason to keep the baseline."""
    async with ProcessDesigner() as process:
        first = process.pid
        assert first is not None

        async def kill() -> None:
            os.kill(first, signal.SIGKILL)

        os.kill(first, signal.SIGSTOP)  # it answers nothing any more, whatever it is asked before its end
        lost, _ = await asyncio.gather(process.recommend(study), kill())
        assert isinstance(lost, NoAnswer)
        assert "died during recommend" in lost.message
        assert isinstance(await process.recommend(study), Recommended)


async def test_a_worker_that_cannot_start_falls_back(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor.sys, "executable", "/nowhere/python")
    async with ProcessDesigner() as process:
        proposal = await process.suggest(study)
        assert proposal.diagnostics.fallback == "the fitting worker did not start"
        assert process.pid is None


async def test_a_worker_that_says_nonsense_falls_back(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor.sys, "executable", "/bin/echo")
    async with ProcessDesigner() as process:
        assert "did not start" in (await process.suggest(study)).diagnostics.fallback


@pytest.mark.thorough
async def test_a_cancelled_call_does_not_leak_its_answer(study: Study) -> None:
    other = replace(study, outcomes=study.outcomes[:4], index=4)
    async with ProcessDesigner() as process:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.0):
                await process.suggest(study)
        assert timeless(await process.suggest(other)) == designer.suggest(other, lambda: 0.0)


@pytest.mark.thorough
async def test_close_is_final_and_idempotent(study: Study) -> None:
    process = ProcessDesigner()
    await process.start()
    pid = process.pid
    await process.close()
    await process.close()
    assert pid is not None
    assert not alive(pid)
    proposal = await process.suggest(study)
    assert proposal.diagnostics.fallback == "the fitting worker did not start"


@pytest.mark.thorough
def test_the_worker_dies_with_its_parent() -> None:
    program = (
        "import asyncio\n"
        "from trimtab.adapters.executor import ProcessDesigner\n"
        "async def main():\n"
        "    designer = ProcessDesigner()\n"
        "    await designer.start()\n"
        "    print(designer.pid, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "operator")}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert alive(worker)
        parent.kill()
    wait_for_exit(worker)
    assert not alive(worker)


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def wait_for_exit(pid: int) -> None:
    """Block until the process, which need not be a child, has exited."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        select.select([descriptor], [], [])
    finally:
        os.close(descriptor)
