"""Shards over a real Ray cluster of two nodes on this machine, whose workers and nodes die in the middle."""

import os
import sys
import time
from functools import partial
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import sim
from sim.evaluation import cluster
from sim.evaluation.cluster import LostChunk, run_chunks
from sim.evaluation.driver import DriverSpec, RandomDriver
from sim.evaluation.runner import run_batch
from sim.registry import LOADED_FILES
from sim.scenarios import SCENARIOS

pytestmark = pytest.mark.slow  # Ray's nodes take their time to start and to stop


def squared(chunk):
    return {"square": chunk["number"] ** 2}


def drives(folder, spec, chunk):
    """Drives two short episodes; at the first attempt at chunk 2 its worker process ends in the middle of them."""
    driver, marker = spec.build(), Path(folder) / "died"
    if chunk["number"] == 2 and not marker.exists():
        marker.touch()
        driver.act = lambda observation: os._exit(1)
    envs = sim.make_vec("highway-fast-v0", 2, config=SHORT, autoreset_mode=AutoresetMode.DISABLED)
    return run_batch(envs, driver, [2 * chunk["number"], 2 * chunk["number"] + 1])


def dies_always(folder, chunk):
    if chunk["number"] == 1:
        with open(Path(folder) / "attempts", "a") as file:
            file.write("x")
        os._exit(1)
    return squared(chunk)


def slow(folder, chunk):
    """Says that it has begun and takes its time."""
    (Path(folder) / f"begun-{chunk['number']}-{time.monotonic_ns()}").touch()
    time.sleep(0.5)
    return squared(chunk)


def hangs_on(node, folder, chunk):
    """Never ends on one node."""
    import ray

    if ray.get_runtime_context().get_node_id() == node:
        (Path(folder) / "begun").touch()
        time.sleep(600)
    time.sleep(0.5)
    return squared(chunk)


def raises(chunk):
    raise ZeroDivisionError(f"cannot square {chunk['number']}")


SHORT = {"vehicles_count": 5, "duration": 6}
CHUNKS = [{"number": number} for number in range(6)]
EXPECTED = [number**2 for number in range(6)]


@pytest.fixture(scope="module")
def ray():
    """Ray, without its warnings about itself."""
    cluster._imported()
    import ray

    return ray


@pytest.fixture(scope="module")
def nodes(ray):
    """Two nodes with a core each, and a connection to them that the tests share: new ones start new workers."""
    from ray.cluster_utils import Cluster

    quiet = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    # Ray waits half a minute for a node that may only be slow.
    soon = {"health_check_period_ms": 1000, "health_check_failure_threshold": 3}
    made = Cluster(initialize_head=True, head_node_args=quiet | {"include_dashboard": False, "_system_config": soon})
    made.second = made.add_node(**quiet)
    ray.init(address=made.address, logging_level="ERROR", log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


def squares(results):
    return [result["square"] for result in results]


def environments_of(id, chunk):
    """Whether a worker knows an id."""
    return sim.make_vec(id, 1).num_envs


def test_workers_load_the_scenario_files_too(nodes, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import sim\nfrom sim.scenarios import SCENARIOS\nsim.register('mine-v0', SCENARIOS['highway-fast-v0'])\n"
    )
    sim.load_scenarios(file)
    try:
        assert run_chunks(partial(environments_of, "mine-v0"), CHUNKS) == [1] * len(CHUNKS)
    finally:
        LOADED_FILES.remove(str(file.resolve()))
        SCENARIOS.pop("mine-v0")


def test_a_missing_ray_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "slipstream\[cluster\]"'):
        run_chunks(squared, CHUNKS)


def test_nothing_to_do_needs_no_cluster(ray):
    assert run_chunks(squared, [], "127.0.0.1:1") == []


def test_a_cluster_that_does_not_answer_is_named(ray):
    with pytest.raises(ConnectionError, match=r"no Ray cluster at 127\.0\.0\.1:1: "):
        run_chunks(squared, CHUNKS, "127.0.0.1:1")


@pytest.mark.parametrize("address", ["here", "http://127.0.0.1:1", "127.0.0.1:port", ":6379", ""])
def test_an_address_that_is_none_is_refused(ray, address):
    with pytest.raises(ValueError, match="HOST:PORT, ray://HOST:PORT or auto, not"):
        run_chunks(squared, CHUNKS, address)


@pytest.mark.slow
def test_without_an_address_a_cluster_is_started_and_an_interrupt_stops_it(ray, tmp_path):
    """Of twenty chunks few have begun when the first is done; the others never do."""
    assert not ray.is_initialized()
    many = [{"number": number} for number in range(20)]
    seen = []

    def interrupt(index, result):
        seen.append(result["square"] == index**2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_chunks(partial(slow, str(tmp_path)), many, on_result=interrupt)
    assert seen == [True]
    assert not ray.is_initialized()
    begun = len(list(tmp_path.iterdir()))
    assert begun < 10
    time.sleep(1)
    assert len(list(tmp_path.iterdir())) == begun


def test_results_equal_local_ones_though_a_worker_dies_in_the_middle(nodes, tmp_path):
    spec, order = DriverSpec("random", RandomDriver), []
    function = partial(drives, str(tmp_path), spec)
    found = run_chunks(function, CHUNKS[:4], nodes.address, on_result=lambda index, _: order.append(index))
    assert (tmp_path / "died").exists()
    assert sorted(order) == list(range(4))
    for chunk, result in zip(CHUNKS, found, strict=False):
        here = function(chunk)
        assert result.keys() == here.keys()
        for name, values in here.items():
            np.testing.assert_array_equal(result[name], values, err_msg=name)


@pytest.mark.slow
def test_a_chunk_that_kills_every_worker_is_lost_and_says_so(nodes, tmp_path):
    results = run_chunks(partial(dies_always, str(tmp_path)), CHUNKS[:3], nodes.address, retries=1)
    assert isinstance(results[1], LostChunk)
    assert "WorkerCrashedError: lost 2 times" in str(results[1])
    assert (results[0]["square"], results[2]["square"]) == (0, 4)
    assert (tmp_path / "attempts").read_text() == "xx"


@pytest.mark.slow
def test_what_the_function_raises_is_raised_here(nodes):
    with pytest.raises(ZeroDivisionError, match="cannot square"):
        run_chunks(raises, CHUNKS, nodes.address)


@pytest.mark.slow
def test_a_node_that_dies_loses_no_chunk(nodes, tmp_path):
    """The second node dies as soon as a chunk has begun there, and would not have ended otherwise."""
    second = nodes.second

    def kill():
        while not (tmp_path / "begun").exists():
            time.sleep(0.1)
        nodes.remove_node(second, allow_graceful=False)

    killer = Thread(target=kill)
    killer.start()
    results = run_chunks(partial(hangs_on, second.node_id, str(tmp_path)), CHUNKS, nodes.address)
    killer.join()
    assert squares(results) == EXPECTED
