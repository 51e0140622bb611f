"""Local rank from every launcher."""

from __future__ import annotations

import pytest

from maskrcnn_benchmark_hml.compat.launcher import local_rank_argument, take_local_rank


@pytest.mark.parametrize(
    ("arguments", "environ", "expected"),
    [
        (["--config-file", "c"], {}, ["--config-file", "c"]),
        (["--local-rank=1", "--config-file", "c"], {}, ["--local_rank=1", "--config-file", "c"]),
        (["--local_rank=1", "K", "V"], {"LOCAL_RANK": "1"}, ["--local_rank=1", "K", "V"]),
        (["--config-file", "c", "--local-rank", "3", "K", "V"], {}, ["--local_rank=3", "--config-file", "c", "K", "V"]),
        (["K", "V"], {"LOCAL_RANK": "2", "WORLD_SIZE": "4"}, ["--local_rank=2", "K", "V"]),
    ],
)
def test_every_launcher_ends_in_the_hosts_flag(arguments, environ, expected):
    assert local_rank_argument(arguments, environ) == expected


def test_take_local_rank_prefers_the_flag():
    assert take_local_rank(["--local-rank=1", "run"], {"LOCAL_RANK": "0"}) == ("1", ["run"])
