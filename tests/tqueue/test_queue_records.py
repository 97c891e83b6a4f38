"""The checks of L{tests.support.queue_records} and L{tests.support.queue_rules} find what disagrees."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from tests.support.queue_records import Records, RecordsDisagree
from tests.support.queue_rules import check_groups, check_keys, check_pauses


def records(*lines: str) -> Records:
    """
    Read lines of one process. Two lines are abbreviated: C{put NAME TIME GROUP KEY} tries and adds within a
    second, and C{got NAME DELIVERY TIME} asks at that time and gets the task a tenth of a second later.
    """
    found = Records()
    for line in lines:
        what, name, *words = line.split()
        if what == "put":
            at, *more = words
            found.enter("p", "try", name, at, *more)
            found.enter("p", "ack", name, str(float(at) + 1), f"id-{name}")
        elif what == "got":
            number, at = words
            found.enter("c", "got", name, number, at, str(float(at) + 0.1), f"id-{name}")
        else:
            found.enter("c", what, name, *words)
    return found


class RecordsTestCase(SynchronousTestCase):
    def disagree(self, why: str, check: object, *arguments: object) -> None:
        """Check that a check fails for this reason."""
        assert callable(check)
        error = self.assertRaises(RecordsDisagree, check, *arguments, Counter[str]())
        self.assertIn(why, str(error))


class DeliveryTests(RecordsTestCase):
    def test_good_records_agree(self) -> None:
        counts = Counter[str]()
        records("put p.1 0", "got p.1 1 2", "got p.1 2 4.1", "done p.1 2 5", "ended p.1 2 6 -").check(counts)
        self.assertEqual((counts["acknowledged"], counts["delivered again"]), (1, 1))

    def test_lost_and_unknown_tasks_are_found(self) -> None:
        self.disagree("are lost", records("put p.1 0").check)
        self.disagree("not put", records("got p.1 1 2", "done p.1 1 3").check)
        refused = records("try p.1 0", "refused p.1 1", "got p.1 1 2", "done p.1 1 3")
        self.disagree("not put", refused.check)

    def test_task_that_is_not_done_is_found(self) -> None:
        self.disagree("not done", records("put p.1 0", "got p.1 1 2", "fail p.1 1 3 0.0").check)
        self.disagree("not done", records("put p.1 0", "got p.1 1 2", "done p.1 1 3", "got p.1 2 9").check)

    def test_delivery_before_the_end_of_a_lease_is_found(self) -> None:
        self.disagree("too early", records("put p.1 0", "got p.1 1 2", "got p.1 2 3", "done p.1 2 4").check)

    def test_delivery_after_the_end_is_found(self) -> None:
        self.disagree(
            "after its end",
            records(
                "put p.1 0", "got p.1 1 2", "done p.1 1 3", "ended p.1 1 4 -", "got p.1 2 9", "done p.1 2 9"
            ).check,
        )


class GroupTests(RecordsTestCase):
    def test_next_task_may_begin_when_the_one_before_ends(self) -> None:
        counts = Counter[str]()
        lines = (
            "put p.1 0 g -", "put p.2 0 g -", "got p.1 1 2", "fail p.1 1 3 0.0", "got p.1 2 4",
            "bury p.1 2 5", "got p.2 1 5", "done p.2 1 6",
        )  # fmt: skip
        check_groups(records(*lines), 1, counts)
        self.assertEqual((counts["groups"], counts["in groups"]), (1, 2))

    def test_wrong_order_is_found(self) -> None:
        one, other = "put p.1 0 g -", "put p.2 0 g -"
        wrong = records(one, other, "got p.2 1 2", "done p.2 1 3", "got p.1 1 4", "done p.1 1 5")
        self.disagree("p.2 of g was handed out", check_groups, wrong, 1)
        wrong = records(one, "put q.1 5 g -", "got q.1 1 6", "done q.1 1 7", "got p.1 1 8", "done p.1 1 9")
        self.disagree("q.1 of g was handed out", check_groups, wrong, 1)

    def test_order_of_puts_at_the_same_time_is_unknown(self) -> None:
        right = records(
            "put p.1 0 g -", "put q.1 0 g -", "got q.1 1 6", "done q.1 1 7", "got p.1 1 8", "done p.1 1 9"
        )
        check_groups(right, 1, Counter())

    def test_too_many_at_once_are_found(self) -> None:
        puts = [f"put {name}.1 0 g -" for name in "pqr"]
        gets = [f"got {name}.1 1 2" for name in "pqr"]
        ends = [f"done {name}.1 1 3" for name in "pqr"]
        self.disagree("3 tasks of g", check_groups, records(*puts, *gets, *ends), 2)
        check_groups(records(*puts, *gets, *ends), 3, Counter())

    def test_task_that_rests_is_under_way(self) -> None:
        """So is one whose lease has run out."""
        for between in ("fail p.1 1 3 1.0", "lost p.1 1 3"):
            wrong = records(
                "put p.1 0 g -", "put q.1 0 g -", "got p.1 1 2", between, "got q.1 1 3", "done q.1 1 4",
                "got p.1 2 5", "done p.1 2 6",
            )  # fmt: skip
            self.disagree("2 tasks of g", check_groups, wrong, 1)


class KeyTests(RecordsTestCase):
    def test_key_may_be_used_again(self) -> None:
        counts = Counter[str]()
        right = records(
            "put p.1 0 - k", "got p.1 1 2", "done p.1 1 3", "ended p.1 1 5 -", "put p.2 3 - k", "got p.2 1 6",
            "bury p.2 1 7", "try p.3 4.5 - k", "exists p.3 6 id-p.1",
        )  # fmt: skip
        check_keys(right, counts)
        self.assertEqual((counts["with unique keys"], counts["existing"]), (2, 1))

    def test_two_tasks_with_a_key_are_found(self) -> None:
        wrong = records(
            "put p.1 0 - k", "put p.2 0 - k", "got p.1 1 2", "done p.1 1 3", "got p.2 1 4", "done p.2 1 5"
        )
        self.disagree("at the same time", check_keys, wrong)

    def test_put_that_adds_nothing_without_reason_is_found(self) -> None:
        first = "put p.1 0 - k", "got p.1 1 2", "done p.1 1 3", "ended p.1 1 4 -"
        for wrong in ("try p.2 5 - k", "try p.2 2 - other"):
            self.disagree("not added", check_keys, records(*first, wrong, "exists p.2 6 id-p.1"))
        unknown = records(*first, "try p.2 2 - k", "exists p.2 3 id-?")
        self.disagree("not added", check_keys, unknown)


class PauseTests(RecordsTestCase):
    def failing(self, acknowledged: bool, at: float) -> Records:
        ended = ("ended p.1 1 3.1 1.5",) if acknowledged else ()
        return records(
            "put p.1 0", "got p.1 1 2", "fail p.1 1 3 1.5", *ended, f"got p.1 2 {at}", "done p.1 2 9"
        )

    def test_task_comes_after_its_pause_or_its_lease(self) -> None:
        counts = Counter[str]()
        check_pauses(self.failing(True, 4.5), [], counts)
        check_pauses(self.failing(False, 4.0), [], counts)
        self.assertEqual(counts["pauses"], 2)

    def test_task_that_comes_too_early_is_found(self) -> None:
        self.disagree("before its pause", check_pauses, self.failing(True, 4.2), [])
        self.disagree("before its pause", check_pauses, self.failing(False, 3.8), [])

    def test_clock_that_is_set_may_end_a_pause(self) -> None:
        counts = Counter[str]()
        check_pauses(self.failing(True, 4.0), [(1.0, 1.1), (3.5, 3.6)], counts)
        self.assertEqual(counts["pauses with a clock set"], 1)
        self.disagree("before its pause", check_pauses, self.failing(True, 4.0), [(2.0, 2.9), (4.2, 4.3)])

    def test_wrong_answer_is_found(self) -> None:
        wrong = records(
            "put p.1 0", "got p.1 1 2", "fail p.1 1 3 0.3", "ended p.1 1 3 0.6", "got p.1 2 5", "done p.1 2 6"
        )
        self.disagree("another pause", check_pauses, wrong, [])
