"""What the engine says of its keys and values."""

import pytest

from tests.llama_inference.engine.native.bench import Bench, a_prompt, a_request

pytestmark = pytest.mark.slow


def test_entries_in_use_are_those_of_the_jobs_that_run(tiny: Bench) -> None:
    """They grow by what is read and decoded, a search's by less than its beams would need apart, and end at none."""
    batch = tiny.batch(tokens=80)
    engine = tiny.engine_of(batch)
    used: list[int] = []
    for request in (a_request(a_prompt(100), new=3), a_request(a_prompt(20), new=3, num_beams=4, eos_token_id=None)):
        for job in tiny.jobs(request):
            batch.submit(job)
        while not batch.idle:
            batch.step()
            used.append(engine.entries_in_use)
    assert used[:3] == [80, 100, 101]
    assert used[3:5] == [0, 20]
    assert 20 < used[5] <= 24
    assert used[-1] == 0
    batch.submit(tiny.jobs(a_request(a_prompt(9)))[0])
    batch.step()
    assert engine.entries_in_use == 9
    batch.cancel(max(batch.last_plan.places))
    assert engine.entries_in_use == 0
