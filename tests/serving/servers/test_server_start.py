"""Tests of the options of several servers."""

from __future__ import annotations

import os
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

import twisted_appserver
from twisted_appserver import ConfigurationError, make_service
from twisted_appserver.core.application import Application
from twisted_appserver.errors import OptionError
from twisted_appserver.serving.servers import server_start
from twisted_appserver.serving.servers.server_start import count_servers, folder_of, settings_of_servers
from twisted_appserver.settings import Settings, settings_from_texts


class OptionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(server_start, "available_cores", lambda: 4)

    def refused(self, **options: Any) -> str:
        return str(self.assertRaises(OptionError, count_servers, Settings(**options)))

    def test_one_server_is_the_default(self) -> None:
        self.assertEqual(count_servers(Settings()), 1)

    def test_auto_starts_one_for_each_available_core(self) -> None:
        self.assertEqual(count_servers(settings_from_texts({"servers": "auto"})), 4)
        self.assertEqual(count_servers(settings_from_texts({"servers": "3"})), 3)

    def test_other_values_are_refused(self) -> None:
        for value in ("0", "-1", "1.5", "many"):
            error = self.assertRaises(ConfigurationError, settings_from_texts, {"servers": value})
            self.assertRegex(str(error), r"^--servers must be (an integer or auto|at least 1), not ")

    def test_sqlite_is_refused_with_what_to_write_instead(self) -> None:
        said = self.refused(servers=2, store="sqlite:jobs.db")
        self.assertIn("--servers 2 and --store sqlite: exclude each other", said)
        self.assertIn("--store postgresql://USER@HOST/DATABASE", said)
        self.assertIn("--servers auto (4 cores)", self.refused(servers="auto", store="sqlite:jobs.db"))

    def test_sqlite_is_accepted_where_auto_means_one(self) -> None:
        self.patch(server_start, "available_cores", lambda: 1)
        self.assertEqual(count_servers(Settings(servers="auto", store="sqlite:jobs.db")), 1)

    def test_each_server_would_start_a_cluster_of_its_own(self) -> None:
        self.assertIn("--scheduler", self.refused(servers=2, server_type="cluster"))
        given = Settings(servers=2, server_type="cluster", scheduler="tcp://localhost:8786")
        self.assertEqual(count_servers(given), 2)

    def test_standard_streams_cannot_be_shared(self) -> None:
        self.assertIn("stdio: exclude each other", self.refused(servers=2, listen=("stdio:",)))

    def test_windows_is_refused(self) -> None:
        with patch("sys.platform", "win32"):
            self.assertIn("Windows", self.refused(servers=2))

    def test_service_in_another_program_has_no_servers(self) -> None:
        error = self.assertRaises(ConfigurationError, make_service, (), servers=2)
        self.assertIn("servers", str(error))


class FolderTests(SynchronousTestCase):
    def test_folder_of_a_file_or_a_module_is_found_without_importing_it(self) -> None:
        self.assertEqual(folder_of(Application(file="/srv/shop/app.py")), "/srv/shop")
        folder = os.path.dirname(twisted_appserver.__file__)
        self.assertEqual(folder_of(Application(module="twisted_appserver.example")), folder)


class SettingsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(server_start, "available_cores", lambda: 4)

    def test_servers_share_the_cores_for_their_workers(self) -> None:
        for servers, workers in ((2, 2), (3, 1), (8, 1)):
            made = settings_of_servers(Settings(server_type="forked", servers=servers), servers)
            self.assertEqual((made.servers, made.workers), (servers, workers))

    def test_given_number_of_workers_is_for_each_server(self) -> None:
        made = settings_of_servers(Settings(server_type="forked", servers=2, workers=5), 2)
        self.assertEqual(made.workers, 5)
