import os
import time
from functools import partial

import joblib
import numpy as np
import pytest
import torch

from astrolearn.core.parallel import in_batches, map_batches


def _scale(factor, batch):
    return factor * batch


def _process_and_threads(batch):
    return os.getpid(), torch.get_num_threads()


@pytest.mark.parametrize("n_jobs", [None, 1, 2])
def test_results_come_in_order(n_jobs):
    batches = [np.full(3, i) for i in range(5)]
    results = list(map_batches(partial(_scale, 2), batches, n_jobs))
    np.testing.assert_array_equal(results, 2 * np.array(batches))


def test_one_job_stays_in_this_process_and_reads_batches_as_it_goes():
    read = []

    def batches():
        for i in range(4):
            read.append(i)
            yield i

    results = map_batches(partial(_scale, 1), batches(), n_jobs=1)
    assert next(results) == 0
    assert len(read) < 4
    assert list(results) == [1, 2, 3]
    assert {process for process, _ in map_batches(_process_and_threads, [0, 1])} == {os.getpid()}


def test_workers_run_one_torch_thread_each():
    results = list(map_batches(_process_and_threads, range(4), n_jobs=2))
    assert os.getpid() not in {process for process, _ in results}
    assert {threads for _, threads in results} == {1}


def test_joblib_configuration_decides_where_no_number_is_given():
    with joblib.parallel_config(backend="loky", n_jobs=2):
        processes = {process for process, _ in map_batches(_process_and_threads, range(4))}
    assert os.getpid() not in processes


@pytest.mark.parametrize("n_jobs", [None, 1])
def test_moves_to_a_dask_cluster_unchanged(n_jobs):
    distributed = pytest.importorskip("distributed", reason="needs dask.distributed")
    with (
        distributed.LocalCluster(n_workers=1, host="127.0.0.1", dashboard_address=None) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        results = list(map_batches(_process_and_threads, range(4), n_jobs))
    assert os.getpid() not in {process for process, _ in results}


def test_error_reaches_the_caller():
    with pytest.raises(TypeError):
        list(map_batches(partial(_scale, 1), [None]))


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_few_results_wait_for_a_slow_caller(n_jobs):
    read = []

    def batches():
        for i in range(20):
            read.append(i)
            yield i

    results = map_batches(partial(_scale, 1), batches(), n_jobs, ahead=2)
    assert next(results) == 0
    time.sleep(0.3)
    assert len(read) <= 2 * n_jobs
    assert list(results) == list(range(1, 20))


@pytest.mark.parametrize("ahead", [None, 4])
def test_a_caller_may_stop_early(ahead):
    results = map_batches(partial(_scale, 1), range(20), n_jobs=2, ahead=ahead)
    assert next(results) == 0
    time.sleep(0.5)  # others are done
    results.close()


def test_batches_of_a_size():
    assert list(in_batches(iter(range(5)), 2)) == [[0, 1], [2, 3], [4]]
    assert list(in_batches([], 2)) == []


def _is_memmap(batch):
    return isinstance(batch, np.memmap)


def test_large_batches_are_not_kept_in_files():
    # joblib memory-maps arrays above 1 MB, and keeps the files until the last batch is done
    assert not any(map_batches(_is_memmap, [np.zeros(2**18)] * 3, n_jobs=2))
