"""Tests of the number of cores that affinity and control groups allow."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver.available_cores import available_cores


class CoresTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.root = Path(self.mktemp())
        self.root.mkdir()
        self.patch(os, "sched_getaffinity", lambda _: set(range(8)))

    def cores(self, groups: str, **files: str) -> int:
        """
        Return the number of cores.

        @param files: the text of each file, by its path with C{__} for a slash and C{_DOT_} for a dot.
        """
        process = self.root / "groups"
        process.write_text(groups)
        for name, text in files.items():
            path = self.root / name.replace("__", "/").replace("_DOT_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return available_cores(process, self.root)

    def test_without_quota_every_core_of_the_affinity_counts(self) -> None:
        self.assertEqual(self.cores("0::/\n", cpu_DOT_max="max 100000\n"), 8)

    def test_quota_of_version_2_limits_the_cores(self) -> None:
        self.assertEqual(self.cores("0::/a/b\n", a__b__cpu_DOT_max="300000 100000\n"), 3)

    def test_quota_of_a_group_around_it_counts_too(self) -> None:
        files = {"a__b__cpu_DOT_max": "max 100000\n", "a__cpu_DOT_max": "200000 100000\n"}
        self.assertEqual(self.cores("0::/a/b\n", **files), 2)

    def test_part_of_a_core_counts_as_one(self) -> None:
        self.assertEqual(self.cores("0::/\n", cpu_DOT_max="10000 100000\n"), 1)
        self.assertEqual(self.cores("0::/\n", cpu_DOT_max="150000 100000\n"), 2)

    def test_quota_of_version_1_limits_the_cores(self) -> None:
        groups = "5:memory:/m\n4:cpu,cpuacct:/c\n0::/\n"
        files = {"cpu__c__cpu_DOT_cfs_quota_us": "400000\n", "cpu__c__cpu_DOT_cfs_period_us": "100000\n"}
        self.assertEqual(self.cores(groups, **files), 4)

    def test_path_on_the_host_does_not_hide_the_quota_of_a_container(self) -> None:
        files = {"cpu__cpu_DOT_cfs_quota_us": "500000\n", "cpu__cpu_DOT_cfs_period_us": "100000\n"}
        self.assertEqual(self.cores("4:cpu:/docker/123\n", **files), 5)

    def test_no_quota_of_version_1_is_minus_one(self) -> None:
        files = {"cpu__cpu_DOT_cfs_quota_us": "-1\n", "cpu__cpu_DOT_cfs_period_us": "100000\n"}
        self.assertEqual(self.cores("4:cpu:/\n", **files), 8)

    def test_system_without_control_groups_and_affinity_counts_its_processors(self) -> None:
        with patch.object(os, "sched_getaffinity", create=True), patch("os.cpu_count", lambda: 6):
            del os.sched_getaffinity
            self.assertEqual(available_cores(self.root / "missing", self.root), 6)
