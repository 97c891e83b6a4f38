"""
Protections taken out, one at a time, in a copy of the project: for each a test must fail that passes otherwise.

C{python -m tests.faults.mutations}: ends with status 1 if a test does not notice.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = 150  # for one test


class Mutation(NamedTuple):
    """In this file, this text, which stands there once, becomes that one; and this test must fail."""

    file: str
    text: str
    instead: str
    test: str


MUTATIONS = (
    Mutation("core/wrapping.py", "        kind = _kind(function, kind)", "        pass",
             "core.test_wrapping.EverywhereTests.test_context_manager_surrounds_the_whole_call"),
    Mutation("core/wrapping.py", "        own.bind(*positional, **dict.fromkeys(named))", "        pass",
             "core.test_wrapping.ErrorTests.test_decorator_that_takes_other_arguments_is_refused"),
    Mutation("core/upload.py", "SEPARATOR.split(filename)[-1]", "filename",
             "core.test_upload.UploadTests.test_file_name_has_no_folders"),
    Mutation("core/arguments.py", '            raise HTTPError(422, f"{name} must not be a file")', "            return True",
             "core.test_upload.ParameterTests.test_wrong_values_get_422_with_the_name"),
    Mutation("executors/processes/worker_streams.py", " and number not in self._closing", "",
             "executors.test_worker_streams.StuckTests.test_generator_that_ends_while_the_server_looks_is_not_stuck"),
    Mutation("core/python_logging.py", "                logger.handlers[position] = new\n", "",
             "serving.test_logs.ServerTests.test_records_of_logging_keep_their_level_name_and_request"),
    Mutation("serving/logs.py", "            return FileLogObserver(file, json_line)\n        return FileLogObserver(file, lambda event: _escape_json(json_line(event)))", "            return FileLogObserver(file, json_line)\n        return FileLogObserver(file, json_line)",
             "serving.test_logs.FormatTests.test_characters_that_a_file_cannot_encode_are_escaped"),
    Mutation("core/invalid_json.py", "    if lone := _lone_surrogate(body):", '    if lone := "":',
             "core.test_request_data.JSONTests.test_detail_says_what_is_wrong_and_where"),
    Mutation("core/request_data.py", "            if not any_type:  # curl labels every body as a form\n                raise\n",
             "            raise\n", "core.test_conversions.RawBodyTests.test_binary_body_labelled_as_a_form_reaches_the_function"),
    Mutation("core/conversions/limits.py", "    raise TypeError(f\"{metadata!r} is not supported;", "    return None and (f\"{metadata!r} is",
             "core.test_conversions.LimitTests.test_unsupported_limit_is_refused_at_start_up"),
    Mutation("core/conversions/pydantic_models.py", "            text = NUMBER.sub(_keep_digits, text)", "            pass",
             "core.test_conversions.PydanticTests.test_pydantic_model_is_validated"),
    Mutation("core/perform.py", "    except BaseException as error:  # sys.exit()", "    except OSError as error:  #",
             "executors.test_executors.TableTests.test_thread_executor_answers_every_case"),
    Mutation("core/perform.py", "    reply = context.run(_perform, call)\n", "    reply = _perform(call)\n",
             "core.test_contexts.CallTests.test_nothing_carries_over"),
    Mutation("executors/stream.py", "            self.moved = self.ended = self._grant = bool", "            pass",
             "test_leaks.LeakTests.test_finished_calls_leave_nothing_in_a_resource"),
    Mutation("core/json_encoding.py", "        if packed.find(FLOAT) >= 0 and", "        if False and",
             "executors.test_executors.TableTests.test_thread_executor_answers_every_case"),
    Mutation("core/json_encoding.py", "    (NotJSON, _refuse),\n", "", "core.test_values.ExecutorTests.test_values_in_threads"),
    Mutation("core/json_encoding.py", "        _check_keys(body)\n", "", "executors.test_executors.TableTests.test_thread_executor_answers_every_case"),
    Mutation("core/json_encoding.py", '    return body.rfind(b"null") >= 0 or', "    return", "core.test_values.ExecutorTests.test_values_in_threads"),
    Mutation("core/headers.py", "        if not TOKEN.fullmatch(name) or not VALUE.fullmatch(value):", "        if False:",
             "core.test_headers.SendableTests.test_line_breaks_cannot_be_injected"),
    Mutation("core/perform.py", "    if call is forked_child.forked_by:\n        forked_child.exit_child()\n", "",
             "core.test_perform.ResultTests.test_forked_child_ends_where_its_function_returns"),
    Mutation("core/streaming.py", "                _exit_forked_child()\n", "",
             "works_with.test_works_with.WorksWithTests.test_forked_in_generator_on_threads"),
    Mutation("core/perform.py", "        except BaseException as wrong:", "        except (TypeError, ValueError) as wrong:",
             "executors.test_executors.TableTests.test_thread_executor_answers_every_case"),
    Mutation("core/headers.py", " > MAX_CACHED:", " > 10**9:",
             "core.test_headers.SendableTests.test_large_headers_are_not_cached"),
    Mutation("tqueue/client/connections.py", "            connection.reset()\n", "",
             "tqueue.test_client.QueueTests.test_interrupted_get_gets_nothing"),
    Mutation("http/current_call.py", " or found.end() > MAX_TARGET", "", "http.test_connection_limits.ConductTests.test_limits_of_path_and_headers_are_exact"),
    Mutation("executors/processes/executor.py", "                self.ended(pending, HTTPError(502,",
             "                self.requeue([pending]) or (HTTPError(502,", "executors.test_processes.ProcessTests.test_function_that_ends_its_process_gets_502"),
    Mutation("executors/processes/executor.py", "            self.requeue(rest)\n        worker.streams", "        worker.streams",
             "executors.test_processes.ProcessTests.test_killed_idle_worker_fails_no_call"),
    Mutation("executors/processes/pool.py", "            self._schedule(pause, self._respawn)",
             "            pass", "executors.test_processes.ProcessTests.test_killed_idle_worker_fails_no_call"),
    Mutation("executors/processes/pool.py", "        if len(staying) < self._size and", "        if True and",
             "serving.test_life.ReplacementTests.test_old_worker_that_dies_during_a_reload_is_not_replaced"),
    Mutation("executors/processes/assigned_calls.py", "        return bool(self.calls) and self.calls[0] is pending",
             "        return self.running is pending", "serving.test_life.StuckTests.test_worker_frozen_before_a_call_is_replaced_at_the_time_limit"),
    Mutation("executors/processes/assigned_calls.py", "                begun = self.running is not None", "                begun = True",
             "serving.test_life.StuckTests.test_calls_of_a_frozen_worker_move_to_a_free_one"),
    Mutation("executors/processes/worker_process.py", "        if reclaimed and self.assigned.running is None and not", "        if False and not",
             "serving.test_life.StuckTests.test_calls_of_a_frozen_worker_move_to_a_free_one"),
    Mutation("executors/processes/pool.py", "        if len(staying) < self._size and self._spawn(wanted) is None:",
             "        if len(staying) < self._size and not self._spawn(wanted) and False:",
             "serving.test_life.ReplacementTests.test_worker_starts_as_soon_as_descriptors_are_free"),
    Mutation("executors/processes/worker_process.py", "            self._set_timer(seconds, self._kill_late)", "            pass",
             "serving.test_life.StuckTests"),
    Mutation("executors/processes/worker_process.py", "            self._set_timer(LAST_FRAMES_TIMEOUT, self._stop_reading)",
             "            pass", "serving.test_life.StuckTests.test_death_of_a_worker_that_forked_is_noticed"),
    Mutation("executors/processes/worker_main.py", "    os.dup2(2, 1)\n", "", "executors.test_executors.TableTests.test_process_executor_answers_every_case"),
    Mutation("executors/processes/worker_process.py", '            self.kill("its call took too long, or was cancelled")',
             "            pass", "executors.test_processes.ProcessTests.test_late_call_gets_504_and_its_worker_is_replaced"),
    Mutation("executors/threads.py", "        if self._running and self.unready():", "        if False:",
             "serving.test_life.LostThreadsTests.test_service_is_unready_and_logs_where_all_threads_hang"),
    Mutation("executors/threads.py", "            self._waiting.remove(pending)\n            return", "            return",
             "executors.test_threads.ThreadTests.test_call_that_is_cancelled_before_it_begins_is_never_performed"),
    Mutation("executors/threads.py", "        with suppress(OSError):  # Without", "        with suppress(Empty):  #",
             "executors.test_threads.ThreadTests.test_threads_serve_without_free_descriptors"),
    Mutation("executors/threads.py", "self._came_back.get(timeout=HOLD)", "self._came_back.get()",
             "executors.test_threads.ThreadTests.test_slow_call_of_a_quick_function_delays_no_other"),
    Mutation("executors/threads.py", "        if self._waiting:  # behind", "        if False:  #",
             "executors.test_threads.ThreadTests.test_slow_call_of_a_quick_function_delays_no_other"),
    Mutation("http/epoll_reader.py", "                    except Exception:  # each", "                    except OSError:  #",
             "http.test_epoll_reader.EpollReaderTests.test_error_in_a_protocol_closes_only_its_connection"),
    Mutation("http/epoll_reader.py", "            if event == EPOLLIN:", "            if event:", "http.test_epoll_reader.EpollReaderTests.test_reset_connection_ends_alone"),
    Mutation("http/site.py", "        if not self._application.dispatcher.in_flight:", "        if True:",
             "http.test_epoll_reader.EpollReaderTests.test_reactor_stays_awake_only_while_no_call_is_running"),
    Mutation("http/epoll_reader.py", "            self._rests = RESTS", "            self._rests = 0",
             "http.test_epoll_reader.EpollReaderTests.test_reactor_stays_awake_for_a_moment_unless_that_was_in_vain"),
    Mutation("dispatch/dispatcher.py", "        return model.handler.router is self.router and", "        return",
             "http.test_connection.AgainTests.test_repeated_request_uses_a_table_that_was_reloaded"),
    Mutation("dispatch/dispatcher.py", " and (guard is None or guard.decisions_reusable)", "",
             "http.test_connection.AgainTests.test_repeated_request_must_authenticate_once_credentials_are_required"),
    Mutation("dispatch/dispatcher.py", "dict(model.groups) if handler.call_name else model.groups", "model.groups",
             "http.test_connection.AgainTests.test_changes_to_a_call_do_not_reach_later_ones"),
    Mutation("dispatch/dispatcher.py", "arrived + timeout if timeout else 0.0, arrived,\n", "0.0, arrived,\n",
             "http.test_connection.AgainTests.test_changes_to_a_call_do_not_reach_later_ones"),
    Mutation("executors/parked_generator.py", "            self._credits -= cost(data)", "            pass",
             "executors.test_streams.StreamTests.test_nothing_is_made_while_nobody_reads"),
    Mutation("executors/parked_generator.py", "    return 1 + len(data) // UNIT", "    return 1",
             "executors.test_parked_generators.ParkedTests.test_only_one_large_part_is_made_ahead"),
    Mutation("executors/parked_generator.py", "            self.parked = self._credits <= 0 and not self.dropped",
             "            self.parked = False", "executors.test_parked_generators.ParkedTests.test_unread_streams_occupy_nothing"),
    Mutation("executors/stream.py", "            drop()\n", "            pass\n", "executors.test_parked_generators.ParkedTests"),
    Mutation("executors/stream.py", "        if self._number % WINDOW == 0 or perf_counter() - self._since > SHARE:",
             "        if self._number % 200_000 == 0:", "executors.test_parked_generators.ReactorTests.test_generator_on_the_reactor_yields_to_other_work"),
    Mutation("executors/processes/worker_process.py", "            return False\n        self.assigned.pause()",
             "            return False\n        return False\n        self.assigned.pause()",
             "executors.test_parked_generators.WorkerTests.test_late_call_behind_a_generator_does_not_end_it"),
    Mutation("executors/processes/worker_streams.py", '            self._kill("its generator did not end when it was closed")',
             "            pass", "executors.test_parked_generators.WorkerTests.test_worker_of_a_hanging_finally_is_replaced"),
    Mutation("executors/processes/worker_process.py", "        if not (self.assigned.calls or self.streams.open):",
             "        if not self.assigned.calls:", "executors.test_parked_generators.WorkerTests.test_reloaded_worker_lives_until_its_generators_end"),
    Mutation("executors/processes/worker_process.py", "        if self.assigned.calls or not self.was_ready:",
             "        if self.assigned.calls or not self.ready:", "executors.test_parked_generators.WorkerTests.test_stop_closes_generators_of_replaced_workers"),
    Mutation("executors/parked_generator.py", "            resumed = self.parked and self._credits > 0",
             "            resumed = False", "executors.test_parked_generators.ParkedTests.test_unread_streams_occupy_nothing"),
    Mutation("http/response_writer.py", "        if failure:\n", "        if False:\n",
             "executors.test_streams.FrontTests.test_failed_stream_has_no_last_chunk"),
    Mutation("dispatch/calls_in_flight.py", "            limit.add(pending)\n            stream.moved", "            stream.moved",
             "dispatch.test_dispatcher.TimeTests.test_stream_that_begins_during_submit_has_a_limit_for_its_next_part"),
    Mutation("dispatch/dispatcher.py", "        if pending.limit is not None and not pending.called:",
             "        if pending.limit is not None:",
             "dispatch.test_dispatcher.TimeTests.test_call_that_ends_during_submit_has_no_limit"),
    Mutation("dispatch/calls_in_flight.py", "        if pending.limit is not None and pending.limit is not limit:", "        if False:",
             "access.test_credentials.GuardTests.test_limit_of_the_route_applies_after_the_check"),
    Mutation("dispatch/calls_in_flight.py", "            pending.stream.cut(", "            str(", "executors.test_streams.StreamTests.test_time_limit_applies_to_each_part"),
    Mutation("jobs/job.py", "        self._dispatcher.cancel(pending, kill=True)", "        self._dispatcher.cancel(pending)",
             "jobs.test_jobs.ServerTests.test_cancelled_job_ends"),
    Mutation("jobs/job.py", "        if failure and reply.body.error is not None:", "        if False:",
             "jobs.test_jobs.MemoryTests.test_http_error_after_an_item_is_kept_and_not_logged"),
    Mutation("executors/processes/frames.py", "                _check_error(frame.error)", "                pass",
             "executors.test_frames.MalformedTests.test_invalid_errors_of_generators_are_rejected"),
    Mutation("jobs/registry.py", "        if wanted > self._most_bytes:", "        if False:", "jobs.test_jobs.MemoryTests.test_bytes_of_all_results_are_limited"),
    Mutation("jobs/registry.py", "        if len(self._jobs) >= self._most:", "        if False:",
             "jobs.test_jobs.MemoryTests.test_number_of_jobs_is_limited"),
    Mutation("dispatch/dispatcher.py", "        if executor.pending >= self.max_pending:", "        if False:",
             "serving.test_service.ServeTests.test_too_many_waiting_calls_get_503_with_retry_after"),
    Mutation("dispatch/retry_after.py", "        rate = (ended - before) / (now - since)", "        rate = 1.0",
             "serving.test_life.RefusalsTests.test_retry_after_follows_the_measured_rate"),
    Mutation("http/site.py", "                port.stopReading()", "                pass",
             "http.test_connection.SocketTests.test_connections_beyond_the_limit_wait_until_one_is_closed"),
    Mutation("http/connection.py", "            self.setTimeout(self.header_timeout)", "            pass",
             "executors.test_shortage.ShortageTests.test_slow_headers_are_cut_at_the_deadline"),
    Mutation("http/request_parser.py", "        if self._size > MAX_HEAD or", "        if",
             "http.test_connection.RefusedTests.test_invalid_request_gets_its_status_and_closes_the_connection"),
    Mutation("http/request_parser.py", "        if len(self._target) > MAX_TARGET:", "        if False:",
             "http.test_connection.RefusedTests.test_invalid_request_gets_its_status_and_closes_the_connection"),
    Mutation("http/request_parser.py", '            if self._http10 or coding.lower() != b"chunked":', "            if self._http10:",
             "http.test_connection.RefusedTests.test_invalid_request_gets_its_status_and_closes_the_connection"),
    Mutation("http/base_connection.py", "        self._half_closed = True\n        self.finish()\n        if self._busy:", "        self.transport.abortConnection()\n        if False:",
             "http.test_half_close.AnsweredTests.test_half_closed_client_still_gets_its_responses_from_threads"),
    Mutation("http/epoll_reader.py", "            self._register(transport, 0)", "            self._reactor.callLater(0, bool)", "http.test_half_close.GoneTests.test_call_of_a_lost_client_is_cancelled_in_every_service"),
    Mutation("http/epoll_reader.py", "            _keep_alive(transport.socket)", "            pass", "http.test_half_close.GoneTests.test_keepalive_probes_find_a_half_closed_client_that_is_gone"),
    Mutation("serving/reloader.py", "        self._site.forget()\n", "", "serving.test_reload_memory.ReloadTests.test_reload_frees_the_previous_code"),
    Mutation("admin/openapi.py", "weakref.ref(router)", "lambda: router",
             "serving.test_reload_memory.ReloadTests.test_reload_frees_the_previous_code"),
    Mutation("http/base_connection.py", "        if grown > 0 and unfinished.held > unfinished.limit:", "        if False:",
             "http.test_unfinished_requests.MemoryTests.test_bodies_beyond_the_limit_of_all_connections_get_503"),
    Mutation("http/connection.py", "                self._check_parsed_head()", "                pass",
             "http.test_unfinished_requests.HeadTests.test_client_without_the_token_cannot_send_a_body"),
    Mutation("http/request_parser.py", "        piece, begin = data[begin:end], end", "        end = begin + PIECE\n        piece, begin = data[begin:end], end",
             "http.test_unfinished_requests.MemoryTests.test_small_waiting_requests_take_little_more_than_their_bytes"),
    Mutation("http/connection.py", "        self._checking = True", "        pass", "http.test_unfinished_requests.PasswordTests.test_body_is_read_once_the_password_was_right"),
    Mutation("http/connection.py", "        elif self._parser.unfinished:\n", "        elif False:\n",
             "http.test_unfinished_requests.StallTests.test_body_that_stalls_gets_408"),
    Mutation("http/request_parser.py", "            self.body += data", "            self.body += data\n"
             "            self.__dict__.setdefault('pieces', []).append(data)",
             "http.test_unfinished_requests.MemoryTests.test_body_in_tiny_chunks_takes_little_more_than_its_bytes"),
    Mutation("http/connection.py", "        while not (self._handlingRequest or self._waitingForTransport or self._closing):", "        while not (self._handlingRequest or self._closing):",
             "http.test_connection.SocketTests.test_client_that_does_not_read_delays_its_further_requests"),
    Mutation("http/base_connection.py", "        self.finishing = True\n", "", "executors.test_shortage.StopTests.test_sigterm_loses_no_request_in_threads"),
    Mutation("serving/service.py", "        await drained\n", "", "serving.test_command.ScriptTests.test_sigterm_finishes_and_answers_running_calls"),
    Mutation("serving/server_process.py", "        exit_handler.exit_within(seconds)", "        pass", "serving.test_life.ServerTests.test_hanging_thread_does_not_keep_the_server_from_exiting"),
    Mutation("executors/processes/worker_main.py", "    watch(inbound)\n", "", "serving.test_life.ServerTests.test_workers_end_when_the_server_is_killed"),
    Mutation("executors/processes/pool.py", "                worker.retire()\n        self._executor.adopt", "                pass\n"
             "        self._executor.adopt", "serving.test_life.ReplacementTests.test_reload_replaces_all_workers_and_waiting_calls_go_to_new_ones"),
    Mutation("core/application.py", "            sys.modules.update(before)\n            raise", "            sys.exit(1)",
             "serving.test_life.ServerTests.test_sighup_serves_new_code_without_failing_requests"),
    Mutation("executors/processes/pool.py", "            if not worker.was_ready and (not worker.killed_from_outside or self._failures > MAX_KILLED):",
             "            if True:", "serving.test_life.ReplacementTests.test_new_workers_killed_before_they_are_ready_do_not_stop_a_reload"),
    Mutation("executors/processes/pool.py", "            if worker.ready and worker.memory() > self._max_rss:",
             "            if False:", "serving.test_life.ReplacementTests.test_worker_above_max_rss_is_replaced_without_failing_calls"),
    Mutation("executors/processes/worker_process.py", "        elif self.max_requests and assigned.answered == self.max_requests:",
             "        elif False:", "serving.test_life.ReplacementTests.test_worker_is_replaced_after_max_requests_without_failing_calls"),
    Mutation("core/regex_safety.py", "        if any(map(self._exponential, self._loops)):", "        if False:",
             "core.test_regex_safety.SlownessTests.test_slow_patterns_are_reported"),
    Mutation("core/regex_safety.py", "        degree = self._degree()", "        degree = 0",
             "core.test_pattern_compiler.TableTests.test_slow_pattern_is_reported_with_advice"),
    Mutation("core/regex_safety.py", " >= 16 and self._has_too_many_ways() ", " < 0 ", "core.test_regex_safety.SlownessTests.test_slow_patterns_are_reported"),
    Mutation("access/request_guard.py", "        if origin and origin not in (", "        if b'' in (",
             "access.test_request_guard.OriginTests.test_other_origins_get_403"),
    Mutation("access/request_guard.py", "        if found is None or found[1].lower().removesuffix(b\".\") not in self._hosts:",
             "        if found is None:", "access.test_request_guard.HostTests.test_other_hosts_get_421"),
    Mutation("access/credentials.py", "compare_digest(digest, self._token)", "digest == self._token",
             "access.test_credentials.CredentialsTests.test_tokens_are_compared_in_constant_time"),
    Mutation("access/request_guard.py", '        user = "" if credentials is None else', '        user = "" if True else',
             "access.test_credentials.CommandTests.test_token_and_password_work_and_no_secret_is_logged"),
    Mutation("access/request_guard.py", "        if credentials is self.credentials:", "        if True:",
             "access.test_credentials.GuardTests.test_password_checked_during_a_replacement_must_match_the_new_ones"),
    Mutation("access/credentials.py", "        elif self._checks[client] >= MAX_CHECKS_PER_CLIENT:", "        elif False:",
             "access.test_credentials.CredentialsTests.test_guessing_client_does_not_lock_others_out"),
    Mutation("access/credentials.py", "            self._remembered[digest] = (result, monotonic())", "            pass",
             "access.test_credentials.GuardTests.test_checked_once_whatever_the_headers"),
    Mutation("access/private_files.py", "        exposed = mode & (OTHERS | GROUP)", "        exposed = mode & OTHERS",
             "access.test_credentials.TokenFileTests.test_unusable_token_file_is_refused"),
    Mutation("serving/reloader.py", "            self.load_credentials()\n        except", "            pass\n        except",
             "access.test_secrets.ReloadTests.test_reload_replaces_token_and_passwords_at_once"),
    Mutation("serving/endpoints.py", '        return f"{text}:mode={MODE}"', "        return text",
             "access.test_secrets.SocketTests.test_unix_socket_is_for_its_user_and_group"),
    Mutation("serving/endpoints.py", "            self._check(_interface(endpoint))", "            pass",
             "access.test_credentials.ListeningTests.test_nothing_listens_where_the_address_shows_that_it_is_open"),
    Mutation("serving/endpoints.py", "        if not (self._may_be_public or", "        if False and (self._may_be_public or",
             "access.test_credentials.CommandTests.test_public_endpoint_needs_authentication_or_insecure"),
    Mutation("access/proxies.py", "        if not self._is_trusted(call.client):\n            return replace(", "        if False:\n            return replace(",
             "access.test_credentials.ProxiesTests.test_client_is_the_last_address_that_is_no_proxy"),
    Mutation("serving/access_log.py", '    return value.encode("unicode_escape").decode().replace(\'"\', \'\\\\"\')',
             "    return value", "test_testing.AccessLogTests.test_client_cannot_forge_a_line"),
    Mutation("queue/model.py", "        return size <= 0 or len(self.ready) + len(self.delayed) + self.reserved < size",
             "        return True", "queue.test_broker"),
    Mutation("queue/postgresql/transaction.sql", "BEGIN; SELECT pg_advisory_xact_lock({lock_class}, n) FROM", "BEGIN; SELECT FROM",
             "queue.test_stores.PostgreSQLTests.test_requests_for_locked_queue_share_one_transaction"),
    Mutation("queue/postgresql/frequent_requests.py", "            queue.bounds.lowest_number = number", "            pass",
             "queue.test_stores.PostgreSQLTests.test_cost_does_not_grow_with_deleted_tasks"),
    Mutation("queue/postgresql/frequent_requests.py", "            queue.bounds.no_expiry_before = time", "            pass",
             "queue.test_stores.PostgreSQLTests.test_cost_does_not_grow_with_deleted_tasks"),
    Mutation("queue/postgresql/perform_requests.sql", "ELSIF maxsize > 0 THEN", "ELSIF false THEN",
             "queue.test_stores.PostgreSQLTests.test_all_cases_on_one_server"),
    Mutation("queue/postgresql/perform_requests.sql", "AND t.state + 0 = 2", "AND t.state = 2",
             "queue.test_stores.PostgreSQLTests.test_cost_does_not_grow_with_deleted_tasks"),
    Mutation("core/events.py", "        return () if self.empty or self._has_ids else (Event(id=END_ID),)", "        return ()",
             "core.test_events.ServerTests.test_events_from_threads"),
    Mutation("dispatch/keep_alive.py", "            beat.stop()\n        else:", "            pass\n        else:",
             "core.test_events.KeepAliveTests.test_comments_end_although_the_function_goes_on"),
    Mutation("dispatch/calls_in_flight.py", "            keep_alive(self._reactor, stream)", "            pass",
             "core.test_events.KeepAliveTests.test_comment_is_sent_every_15_seconds"),
    Mutation("admin/figures.py", ' if user in ("", name)]', "]", "admin.test_admin.ServiceTests.test_users_see_only_their_own_errors"),
    Mutation("executors/processes/frames.py", "                _check_replies(frame)\n", "                pass\n",
             "executors.test_processes.TamperingTests.test_invalid_replies_are_never_sent"),
    Mutation("executors/processes/frames.py", "            if length > self._max_length:", "            if False:",
             "executors.test_processes.TamperingTests.test_invalid_frames_kill_the_worker"),
    Mutation("executors/processes/worker_streams.py", " and frame.data:", ":", "executors.test_processes.TamperingTests.test_empty_parts_are_left_out"),
    Mutation("dispatch/time_limits.py", "            self._timer = None\n            self._set()", "            self._timer = None",
             "dispatch.test_dispatcher.TimeTests.test_each_call_has_its_own_limit_and_one_timer_serves_all"),
    Mutation("http/connection.py", "            if self._half_closed:\n                self._call.probe()\n", "",
             "tqueue.test_wire.ArticleTests.test_waiting_client_that_disconnects_receives_no_task"),
    Mutation("queue/local/expiry.py", "        if now - alarm > LATE:", "        if False:",
             "tqueue.test_outages.GraceTests.test_lease_that_ended_while_the_process_was_stopped_lasts_longer"),
    Mutation("queue/model.py", "                task.lease = now + max(task.span, GRACE)",
             "                task.lease = min(1.0, now)", "tqueue.test_outages.StopTests.test_lease_outlasts_a_stopped_server_on_sqlite"),
    Mutation("queue/postgresql/perform_requests.sql", "    IF leases_end IS NOT TRUE THEN", "    leases_end := true;\n    IF false THEN",
             "tqueue.test_outages.DatabaseTests.test_no_lease_ends_while_no_server_is_alive"),
    Mutation("queue/clock.py", "        return offset + monotonic()", "        return time()",
             "tqueue.test_outages.ClockTests.test_jump_of_the_wall_clock_ends_no_lease_in_memory"),
    Mutation("queue/postgresql/broker.py", "        if self.store.watchdog.abort_if_late():", "        if False:",
             "tqueue.test_outages.DatabaseTests.test_frozen_database_process_is_replaced"),
    Mutation("admin/probes.py", "        await self._service.check()\n", "",
             "tqueue.test_outages.ReadyTests.test_server_is_ready_only_while_its_database_works"),
    Mutation("queue/postgresql/broker.py", '        if waiters == "gone":\n            self.store.ask',
             '        if False:\n            self.store.ask',
             "tqueue.test_outages.DatabaseTests.test_forged_notification_of_a_deletion_ends_no_wait"),
    Mutation("queue/local/sqlite_journal.py", "            check_file(self.path)\n", "",
             "tqueue.test_files.ForeignTests.test_database_of_another_application_is_refused_unchanged"),
    Mutation("queue/postgresql/connection.py", "            refuse_shared(connection, connect)\n", "",
             "tqueue.test_outages.PoolerTests.test_pooler_that_shares_connections_is_refused"),
    Mutation("tqueue/wire.py", '    table += [(verb, ("POST",))', '    table += [(verb, methods)',
             "tqueue.test_wire.ArticleTests.test_changes_require_post"),
    Mutation("tqueue/wire.py", "        return number if same else 0", "        return number",
             "tqueue.test_wire.ArticleTests.test_ids_cannot_be_guessed"),
    Mutation("queue/local/broker.py", "        if key and (known := self._repeated.find(queue, lane, key, body)):",
             "        if False:", "tqueue.test_wire.ArticleTests.test_kick_and_purge_can_be_repeated_with_their_key"),
    Mutation("queue/local/repeated_requests.py", " or found.until <= self._reactor.seconds()", "",
             "queue.test_stores.StoreTests.test_all_cases_on_sqlite"),
    Mutation("queue/postgresql/session.py", " or not isinstance(error, database.psycopg.Error)\n", "\n",
             "queue.test_stores.PostgreSQLTests.test_bug_after_commit_repeats_nothing"),
    Mutation("queue/postgresql/broker.py", ' and not request.found_again\n', "\n",
             "queue.test_stores.PostgreSQLTests.test_cancelled_repeated_get_leaves_task_with_its_key"),
    Mutation("queue/postgresql/database.py", "                return True\n            except self.psycopg.Error",
             "                return False\n            except self.psycopg.Error",
             "queue.test_stores.PostgreSQLTests.test_broken_commit_is_repeated_only_if_not_committed"),
    Mutation("executors/child_processes.py", "pthread_sigmask(signal.SIG_BLOCK, _forking.handled)",
             "pthread_sigmask(signal.SIG_BLOCK, ())", "executors.test_child_processes.SignalTests.test_signal_ends_a_child_at_once"),
    Mutation("executors/child_processes.py", "        signal.signal(number, signal.SIG_DFL)", "        pass",
             "executors.test_child_processes.SignalTests.test_forked_child_has_default_signal_handlers"),
    Mutation("executors/child_processes.py", "os.dup2(null, number, inheritable=False)", "pass",
             "executors.test_child_processes.InheritanceTests.test_port_of_a_killed_server_is_free_while_a_child_lives"),
    Mutation("executors/processes/worker_main.py", "        if self._signals.changed:", "        if False:",
             "executors.test_child_processes.SignalTests.test_handlers_timers_and_masks_are_reset_before_the_next_call"),
    Mutation("executors/mounted_resources.py", " and not self._streaming and self._credits > 0:", " and not self._streaming:",
             "http.test_mounted_resources.UnreadFileTests.test_a_file_is_read_only_as_fast_as_its_client"),
    Mutation("http/app_resource.py", "        await drained\n", "",
             "serving.test_embedded.StopTests.test_sigterm_finishes_calls_of_an_embedded_resource"),
    Mutation("executors/processes/head_start.py", 'sys.executable, "-P", "-m"', 'sys.executable, "-m"',
             "serving.test_start.ShadowTests.test_file_named_like_an_imported_module_does_no_harm"),
    Mutation("executors/processes/worker_process.py", "            return self._output.last + shadowing_advice", '            return ""  #',
             "serving.test_start.ShadowTests.test_last_line_of_a_worker_that_cannot_start_is_reported"),
    Mutation("executors/processes/head_start.py", "        atexit.register(self.stop)", "        pass",
             "serving.test_start.HeadStartTests.test_failed_start_leaves_no_workers_and_no_files"),
    Mutation("serving/tap.py", 'addSystemEventTrigger("after", "shutdown", exit_handler.take_signal, self._reactor)',
             'addSystemEventTrigger("after", "shutdown", int)', "serving.test_process_exit.AtExitTests.test_atexit_functions_run_at_both_signals"),
    Mutation("serving/process_exit.py", "            atexit._run_exitfuncs()", "            pass",
             "serving.test_process_exit.AtExitTests.test_atexit_functions_run_though_functions_hang"),
    Mutation("serving/tap.py", "            remove_pidfile(self._twistd)", "            pass",
             "serving.test_process_exit.DaemonTests.test_failed_start_in_the_foreground_leaves_no_pidfile"),
    Mutation("serving/daemon.py", "            os._exit(1)", "            pass",
             "serving.test_process_exit.DaemonTests.test_daemon_that_cannot_start_gets_one_line"),
    Mutation("tqueue/client/leases.py", "for task in reversed(self._leased) if task.owner is owner", "for task in self._leased if task.owner is owner",
             "tqueue.test_clients.QueueClientTests.test_task_done_finishes_the_task_that_was_received_last"),
    Mutation("tqueue/client/leases.py", "            if later and not final:", "            if False:",
             "tqueue.test_clients.QueueClientTests.test_failed_task_done_is_repeated_in_the_background"),
    Mutation("tqueue/client/leases.py", "            raise task.deny(verb)", "            task.deny(verb)",
             "tqueue.test_work.WorkTests.test_worker_frozen_for_longer_than_its_lease_counts_its_task_as_lost"),
    Mutation("tqueue/client/async_queue.py", "WRAPPED = (ResponseFailed, RequestTransmissionFailed, RequestGenerationFailed)",
             "WRAPPED = (ResponseFailed,)", "tqueue.test_clients.AsyncClientTests.test_put_that_is_reset_while_it_is_sent_is_repeated"),
    Mutation("tqueue/work.py", "        if os.getpid() != self._process:\n            leave()\n", "",
             "tqueue.test_work.WorkTests.test_child_of_a_task_ends_where_the_function_ends"),
    Mutation("tqueue/client/connections.py", "            connection.abandon()", "            pass",
             "tqueue.test_work.ForkTests.test_child_has_its_own_connections"),
)  # fmt: skip


def passes(folder: Path, test: str) -> bool:
    """Whether a test passes in a copy."""
    command = [sys.executable, "-c", "from twisted.scripts.trial import run; run()", f"tests.{test}"]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "SLOW_TESTS": "1"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def survives(mutation: Mutation) -> str:
    """What is wrong with the test of a mutation; empty if it notices."""
    skipped = shutil.ignore_patterns(".*", "_trial_temp*", "__pycache__", "build", "docs", "images")
    with tempfile.TemporaryDirectory(prefix="mutations-") as place:
        folder = Path(place, "copy")
        shutil.copytree(ROOT, folder, ignore=skipped)
        path = folder / "twisted_appserver" / mutation.file
        source = path.read_text()
        if source.count(mutation.text) != 1:
            return f"{mutation.file} has {mutation.text!r} {source.count(mutation.text)} times"
        path.write_text(source.replace(mutation.text, mutation.instead))
        return f"{mutation.test} does not notice" if passes(folder, mutation.test) else ""


def main(wanted: list[str]) -> int:
    """Try all, or those whose test or file has one of the words."""
    failed = 0
    for mutation in MUTATIONS:
        if wanted and not any(word in mutation.test or word in mutation.file for word in wanted):
            continue
        wrong = survives(mutation)
        failed += bool(wrong)
        print(
            f"{'WRONG ' + wrong if wrong else 'noticed'}: {mutation.file}: {mutation.text.strip()[:60]!r}",
            flush=True,
        )
    print(f"{failed} were not noticed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
