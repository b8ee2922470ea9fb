"""How many CPUs a process in a container may use: the least quota of its cgroup and the parents."""

import os
import subprocess
import sys

import pytest

from programs import compile_program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="cgroups are Linux's")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return compile_program(tmp_path_factory.mktemp("cpus"), "cpu_count")


@pytest.fixture
def count(program, tmp_path):
    def count_with(files, cgroup):
        """cgroup is the process's own file; files of the control file system are by path."""
        for path, text in {"proc/self/cgroup": cgroup, **files}.items():
            if text is not None:
                (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / path).write_text(text)
        run = subprocess.run([program, tmp_path], capture_output=True, text=True, check=True)
        return int(run.stdout)

    return count_with


ALL = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 0
V2, V1 = "sys/fs/cgroup", "sys/fs/cgroup/cpu"
ONE, PART, MANY = "100000 100000", "50000 100000", "999900000 100000"


@pytest.mark.parametrize(("files", "cgroup", "expected"), [
    ({}, None, ALL),
    ({}, "", ALL),
    ({}, "no colon at all\nonly:one\n", ALL),
    ({}, "0::/", ALL),
    ({f"{V2}/cpu.max": "max 100000"}, "0::/", ALL),
    ({f"{V2}/cpu.max": ""}, "0::/", ALL),
    ({f"{V2}/cpu.max": "0 100000"}, "0::/", ALL),
    ({f"{V2}/cpu.max": "100000 0"}, "0::/", ALL),
    ({f"{V2}/cpu.max": MANY}, "0::/", ALL),
    ({f"{V2}/cpu.max": ONE}, "0::/", 1),
    ({f"{V2}/cpu.max": ONE}, "0::/not/there", 1),
    ({f"{V2}/a/b/cpu.max": PART}, "0::/a/b\n", 1),
    ({f"{V2}/a/cpu.max": ONE, f"{V2}/a/b/cpu.max": MANY}, "0::/a/b\n", 1),
    ({f"{V2}/a/cpu.max": MANY, f"{V2}/a/b/cpu.max": ONE}, "0::/a/b\n", 1),
    ({f"{V2}/other/cpu.max": ONE}, "0::/a\n", ALL),
    ({f"{V1}/a/cpu.cfs_quota_us": "100000", f"{V1}/a/cpu.cfs_period_us": "100000"},
     "5:memory:/a\n4:cpu,cpuacct:/a\n", 1),
    ({f"{V1}/a/cpu.cfs_quota_us": "200000", f"{V1}/a/cpu.cfs_period_us": "200000"}, "4:cpu:/a", 1),
    ({f"{V1}/a/cpu.cfs_quota_us": "100000"}, "4:cpu:/a", 1),
    ({f"{V1}/a/cpu.cfs_quota_us": "100000", f"{V1}/a/cpu.cfs_period_us": "?"}, "4:cpu:/a", ALL),
    ({f"{V1}/a/cpu.cfs_quota_us": "-1"}, "4:cpu:/a", ALL),
    ({f"{V1}/a/cpu.cfs_quota_us": "100000"}, "4:cpuset:/a", ALL),
    ({f"{V1}/a/cpu.cfs_quota_us": "100000"}, "4:memory:/a", ALL),
])  # fmt: skip
def test_the_least_quota_counts(count, files, cgroup, expected):
    assert count(files, cgroup) == expected


def test_a_part_of_a_cpu_counts_as_one(count):
    assert count({f"{V2}/cpu.max": "1 100000"}, "0::/") == 1
    assert count({f"{V2}/cpu.max": "100001 100000"}, "0::/") == min(2, ALL)
